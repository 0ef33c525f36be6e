"""Run one agent on a batch of tasks in lockstep."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from jaxtyping import Bool

from jepawm.agent import PlanningAgent
from jepawm.contracts import Agent, Env
from jepawm.evaluation.instructions import InstructedEnv
from jepawm.evaluation.motion import Motion, MotionWatch, join_motions
from jepawm.evaluation.readings import Reading
from jepawm.evaluation.rollouts import Recorder
from jepawm.protocol import Protocol
from jepawm.types import Task


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one agent's episodes."""

    at_end: Bool[np.ndarray, " B"]
    """Whether each task was at its goal after the last step."""
    at_any_time: Bool[np.ndarray, " B"]
    """Whether each task was at its goal after some step."""
    planning_seconds: float
    """Wall seconds in which the agent chose its actions, all tasks together."""
    num_dropped: int
    """Candidate plans whose cost was not finite."""
    motion: Motion
    """How the episodes went."""
    num_searched: int = 0
    """Plans that were searched because their proposals were poor."""

    def success(self, protocol: Protocol) -> Bool[np.ndarray, " B"]:
        """Return the success that the protocol counts."""
        return self.at_end if protocol.success == "end" else self.at_any_time

    def seconds_per_plan(self, protocol: Protocol) -> float:
        """Return the wall seconds of one plan of one task."""
        return self.planning_seconds / (len(self.at_end) * protocol.num_plans)


def join(outcomes: Sequence[Outcome]) -> Outcome:
    """Put the outcomes of batches of tasks together, in order."""
    return Outcome(
        at_end=np.concatenate([outcome.at_end for outcome in outcomes]),
        at_any_time=np.concatenate([outcome.at_any_time for outcome in outcomes]),
        planning_seconds=sum(outcome.planning_seconds for outcome in outcomes),
        num_dropped=sum(outcome.num_dropped for outcome in outcomes),
        motion=join_motions([outcome.motion for outcome in outcomes]),
        num_searched=sum(outcome.num_searched for outcome in outcomes),
    )


def run_episodes(
    env: Env,
    tasks: Sequence[Task],
    *,
    agent: Agent,
    protocol: Protocol,
    on_block: Callable[[], None] = lambda: None,
    recorder: Recorder | None = None,
) -> Outcome:
    """Run the agent from the start of each task to the end of the episode.

    `on_block` is called after each action block (for progress).
    """
    obs = env.reset(tasks)
    goal = env.goal_observation()
    if isinstance(env, InstructedEnv) and isinstance(agent, PlanningAgent):
        agent.reset(env.goal_text(), protocol.num_steps)
    else:
        agent.reset(goal, protocol.num_steps)
    watch = MotionWatch(env, obs)
    if recorder is not None:
        recorder.start(tasks, goal, frameskip=protocol.frameskip)
        recorder.record_step(obs, env)
    reading = Reading(env, protocol)
    held = np.zeros(len(tasks), dtype=np.bool_)
    at_any_time = np.zeros(len(tasks), dtype=np.bool_)
    planning_seconds = 0.0
    for _ in range(protocol.num_steps):
        started = perf_counter()
        block = agent.act(obs).cpu().numpy()  # [B, A]; waits for the device
        planning_seconds += perf_counter() - started
        if recorder is not None and isinstance(agent, PlanningAgent):
            recorder.record_plan(agent)
        for actions in np.split(block, protocol.frameskip, axis=1):  # [B, a]
            obs = env.step(actions)
            held = reading.step()
            at_any_time |= held
            watch.step(actions, obs, held=held)
            if recorder is not None:
                recorder.record_step(obs, env)
        on_block()
    outcome = Outcome(
        at_end=held,
        at_any_time=at_any_time,
        planning_seconds=planning_seconds,
        num_dropped=agent.num_dropped if isinstance(agent, PlanningAgent) else 0,
        motion=watch.finish(),
        num_searched=agent.num_searched if isinstance(agent, PlanningAgent) else 0,
    )
    if recorder is not None:
        recorder.finish(outcome.success(protocol), solved=outcome.at_any_time)
    return outcome
