"""Measure what an agent earns: the true reward of its episodes, beside agents without a model."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Protocol as Contract

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.agent import PlanningAgent
from jepawm.contracts import Agent, CollectionPolicy, KnowsRewards, Script, Simulator
from jepawm.evaluation.baselines import DoNothing, Oracle, RandomActions, oracle_planner
from jepawm.evaluation.metrics import Difference, mean_interval
from jepawm.evaluation.results import MODEL, Part, describe, difference_json, versions
from jepawm.evaluation.seeds import reseed
from jepawm.normalizer import Normalizer
from jepawm.planning.terms.composition import needs_goal
from jepawm.protocol import Protocol, Split, hash_tasks
from jepawm.records import JsonValue
from jepawm.types import Observation, Task


class RewardedSimulator(Simulator, KnowsRewards, Contract):
    """A simulator that knows rewards of its states."""


@dataclass(frozen=True, kw_only=True)
class ReturnRow:
    """What one agent earned."""

    reward: Difference
    """Mean true reward of an environment step over all episodes, and its 95 % interval."""
    model_minus: Difference | None = None
    """That of the model minus that of this row on the same tasks; None in the model's own row."""


@dataclass(frozen=True, kw_only=True)
class ReturnResults:
    """The content of `returns.json`."""

    env: str
    """Name of the environment."""
    reward: str
    """Name of the true reward."""
    protocol: Protocol
    """Rules of the episodes."""
    num_tasks: int
    """Number of episodes."""
    seed: int
    """Seed of tasks and of all random numbers."""
    split: str
    """`test` or `val`."""
    tasks_sha256: str
    """Hash of the tasks."""
    rows: Mapping[str, ReturnRow]
    """Every row by its name: `do_nothing`, `random`, `behaviour` where there is a policy, `oracle`,
    `model`."""
    part_of_oracle: float
    """What the model earns above random actions, as a part of what the oracle earns above them."""
    seconds_per_plan: float
    """Wall seconds of the model's agent for one plan of one task."""
    planner: Part
    """Planner of the model."""
    oracle_planner: Part
    """Planner of the oracle."""
    objective: Part
    """What plans minimise."""

    def to_json(self) -> dict[str, JsonValue]:
        """Return the content of `returns.json`."""
        return {
            "env": self.env,
            "reward": self.reward,
            "protocol": asdict(self.protocol),
            "episodes": self.num_tasks,
            "seed": self.seed,
            "split": self.split,
            "tasks_sha256": self.tasks_sha256,
            "mean_reward": {
                name: {"mean": row.reward.difference, "ci95": list(row.reward.ci95)}
                for name, row in self.rows.items()
            },
            "model_minus": {
                name: difference_json(row.model_minus)
                for name, row in self.rows.items()
                if row.model_minus is not None
            },
            "part_of_oracle": self.part_of_oracle,
            "seconds_per_plan": self.seconds_per_plan,
            "planner": self.planner.to_json(),
            "oracle_planner": self.oracle_planner.to_json(),
            "objective": self.objective.to_json(),
            "versions": versions(),
        }


class Behaviour:
    """Do what the data's policy would: its commands, from wherever the task starts."""

    def __init__(self, env: Simulator, script: Script, *, frameskip: int) -> None:
        """Take the simulator, a script with an episode for each task, and the length of a block."""
        self._env, self._script, self._frameskip = env, script, frameskip
        self._step = self._first = 0

    def start(self, first: int) -> None:
        """Begin with the episode `first` of the script, and those that follow it."""
        self._first = first

    def reset(
        self,
        goal: Observation | None,  # noqa: ARG002 (the protocol's arguments)
        num_steps: int | None = None,  # noqa: ARG002
    ) -> None:
        """Start an episode; goals do not matter."""
        self._step = 0

    def act(self, obs: Observation) -> Float[Tensor, "B A"]:
        """Return blocks `[B, A]`; where commands depend on the state, all of a block on its start."""
        size = obs.batch_shape[0]
        commands = self._script.commands[self._first : self._first + size]
        block = []
        for step in range(self._step, self._step + self._frameskip):
            wanted = np.stack([rows[min(step, len(rows) - 1)] for rows in commands])
            if self._script.feedback is not None:
                wanted = self._script.feedback(self._env.states(), wanted)
            block.append(wanted)
        self._step += self._frameskip
        return torch.from_numpy(np.concatenate(block, axis=1).astype(np.float32))


def evaluate_returns(
    env: RewardedSimulator,
    agent: PlanningAgent,
    *,
    reward: str,
    tasks: Sequence[Task],
    env_name: str,
    behaviour: Script | None,
    seed: int = 0,
    split: Split = "test",
    tasks_per_batch: int = 16,
) -> ReturnResults:
    """Run an agent beside doing nothing, random actions, the data's policy and the oracle.

    Args:
        env: the environment.
        agent: what plans with the world model and a learned reward.
        reward: name of the true reward, which the oracle plans on and all are measured by.
        tasks: starts of the episodes; goals play no part.
        env_name: name of the environment in the results.
        behaviour: script of the data's policy, an episode for each task; None: no such row.
        seed: seed of all random numbers.
        split: split of the tasks, for the record.
        tasks_per_batch: tasks that run in lockstep.
    """
    rules, normalizer = agent.protocol, agent.normalizer
    agents: dict[str, Agent] = {
        "do_nothing": DoNothing(action_dim=rules.frameskip * env.action_dim),
        "random": RandomActions(normalizer=normalizer, frameskip=rules.frameskip),
    }
    if behaviour is not None:
        agents["behaviour"] = Behaviour(env, behaviour, frameskip=rules.frameskip)
    agents["oracle"] = _oracle(env, agent, reward=reward, normalizer=normalizer)
    agents[MODEL] = agent
    earned, seconds = {}, 0.0
    for name, one in agents.items():
        parts = []
        for first in range(0, len(tasks), tasks_per_batch):
            batch = tasks[first : first + tasks_per_batch]
            reseed(one, name, seed=seed, tasks=range(first, first + len(batch)))
            if isinstance(one, Behaviour):
                one.start(first)
            found, took = run_rewarded(env, batch, agent=one, protocol=rules, reward=reward)
            parts.append(found)
            seconds += took if name == MODEL else 0.0
        earned[name] = np.concatenate(parts)
    above = {name: float(each.mean() - earned["random"].mean()) for name, each in earned.items()}
    return ReturnResults(
        env=env_name,
        reward=reward,
        protocol=rules,
        num_tasks=len(tasks),
        seed=seed,
        split=split,
        tasks_sha256=hash_tasks(tasks),
        rows={
            name: ReturnRow(
                reward=mean_interval(each),
                model_minus=None if name == MODEL else mean_interval(earned[MODEL] - each),
            )
            for name, each in earned.items()
        },
        part_of_oracle=above[MODEL] / above["oracle"] if above["oracle"] else 0.0,
        seconds_per_plan=seconds / (len(tasks) * rules.num_plans),
        planner=describe(agent.planner),
        oracle_planner=describe(oracle_planner(agent.planner)),
        objective=describe(agent.objective),
    )


def run_rewarded(
    env: RewardedSimulator,
    tasks: Sequence[Task],
    *,
    agent: Agent,
    protocol: Protocol,
    reward: str,
) -> tuple[Float[np.ndarray, " B"], float]:
    """Run an agent on tasks; returns the mean true reward of a step `[B]`, and its wall seconds."""
    obs = env.reset(tasks)
    wants = isinstance(agent, PlanningAgent) and needs_goal(agent.objective)
    agent.reset(env.goal_observation() if wants else None, protocol.num_steps)
    earned, seconds = np.zeros(len(tasks)), 0.0
    for _ in range(protocol.num_steps):
        began = perf_counter()
        block = agent.act(obs).cpu().numpy()  # [B, A]
        seconds += perf_counter() - began
        for actions in np.split(block, protocol.frameskip, axis=1):
            obs = env.step(actions)
            earned += env.reward(reward, env.states())
    return earned / protocol.max_env_steps, seconds


def draw_behaviour(
    policy: CollectionPolicy, *, num_tasks: int, protocol: Protocol, seed: int, data_root: Path
) -> Script:
    """Draw what the data's policy does in as many episodes of the protocol's length."""
    return policy.script(
        np.random.default_rng([seed, 1]),
        num_episodes=num_tasks,
        num_steps=protocol.max_env_steps,
        data_root=data_root,
    )


def _oracle(
    env: RewardedSimulator, agent: PlanningAgent, *, reward: str, normalizer: Normalizer
) -> Oracle:
    def cost(states: Float[np.ndarray, "B K T S"]) -> Float[np.ndarray, "B K"]:
        return -env.reward(reward, states).sum(-1)

    return Oracle(
        env,
        planner=agent.planner,
        normalizer=normalizer,
        protocol=agent.protocol,
        config=agent.config,
        cost=cost,
    )
