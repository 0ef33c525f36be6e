"""Tasks in words: an environment whose goals are sentences, and what is compared on them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from jepawm.agent import PlanningAgent
from jepawm.captions import Captions, CaptionSplit, Instruction, Place
from jepawm.contracts import Simulator
from jepawm.protocol import KnowsWalls
from jepawm.texts import Text
from jepawm.types import Observation, Task

_NUMBER = "instruction"
"""Parameter of a task that says which instruction is its goal."""


def draw_instructions(
    captions: Captions, tasks: Sequence[Task], *, split: CaptionSplit, seed: int
) -> tuple[list[Task], list[Instruction]]:
    """Return tasks with the same starts and an instruction each, in whose place none of them starts.

    The goal of a task becomes the middle of the place; the same seed draws the same instructions.
    """
    starts = np.array([task.start for task in tasks], dtype=np.float64)
    generator = np.random.default_rng([seed, 2])
    drawn = captions.instructions(starts, split, generator=generator)
    told = [
        replace(
            task,
            goal=one.place.middle_from(task.start),
            parameters={**task.parameters, _NUMBER: float(number)},
        )
        for number, (task, one) in enumerate(zip(tasks, drawn, strict=True))
    ]
    return told, drawn


def swap(instructions: Sequence[Instruction]) -> list[str]:
    """Return for each task the text of another one, whose place lies apart from its own if it can.

    It is the first such one in the second half of the list, counted on from the task.
    """
    count, texts = len(instructions), []
    for number, own in enumerate(instructions):
        order = [instructions[(number + count // 2 + more) % count] for more in range(count)]
        others = [one for one in order if one.place != own.place] or order
        apart = [one for one in others if not _overlap(one.place, own.place)] or others
        texts.append(apart[0].text)
    return texts


def _overlap(first: Place, second: Place) -> bool:
    """Return whether two places of the same numbers share a state."""
    sides = zip(first.low, first.high, second.low, second.high, strict=True)
    return all(low < other_high and other_low < high for low, high, other_low, other_high in sides)


class InstructedEnv:
    """A simulator whose goals are instructions: success is that the sentence holds.

    Satisfies `contracts.Simulator`. The oracle's cost is the distance to the place.
    """

    def __init__(self, env: Simulator, instructions: Sequence[Instruction]) -> None:
        """Take the simulator and the instructions that tasks of `draw_instructions` name."""
        self._env = env
        self._instructions = instructions
        self.numbers: list[int] = []
        """Which instructions the current tasks have."""
        self.action_dim, self.proprio_dim = env.action_dim, env.proprio_dim
        self.state_dim, self.state_to_pixel = env.state_dim, env.state_to_pixel
        if isinstance(env, KnowsWalls):
            self.tunnels = env.tunnels

    def goal_text(self) -> Text:
        """Return the sentences of the current tasks."""
        return Text([self._instructions[number].text for number in self.numbers])

    def sample_tasks(self, seed: int, *, num_tasks: int) -> list[Task]:
        """Draw tasks of the simulator, without instructions."""
        return self._env.sample_tasks(seed, num_tasks=num_tasks)

    def reset(self, tasks: Sequence[Task]) -> Observation:
        """Put copy i into the start of task i; returns observations `[B]`."""
        self.numbers = [int(task.parameters[_NUMBER]) for task in tasks]
        plain = [
            {name: value for name, value in task.parameters.items() if name != _NUMBER}
            for task in tasks
        ]
        return self._env.reset(
            [
                replace(task, parameters=parameters)
                for task, parameters in zip(tasks, plain, strict=True)
            ]
        )

    def goal_observation(self) -> Observation:
        """Return observations `[B]` of the middles of the places; for showing alone."""
        return self._env.goal_observation()

    def step(self, actions: Float[np.ndarray, "B a"]) -> Observation:
        """Apply one environment action to each copy; returns observations `[B]`."""
        return self._env.step(actions)

    def success(self) -> Bool[np.ndarray, " B"]:
        """Return for each copy whether its sentence holds now."""
        pairs = zip(self._places(), self._env.states(), strict=True)
        return np.array([bool(place.holds(state)) for place, state in pairs])

    def states(self) -> Float[np.ndarray, "B S"]:
        """Return the exact states `[B, S]`."""
        return self._env.states()

    def simulate(self, actions: Float[np.ndarray, "B K T a"]) -> Float[np.ndarray, "B K T S"]:
        """Step true dynamics from the current states without changing them."""
        return self._env.simulate(actions)

    def goal_distance(self, states: Float[np.ndarray, "B K S"]) -> Float[np.ndarray, "B K"]:
        """Return the squared distances `[B, K]` of states to the places."""
        pairs = zip(self._places(), states, strict=True)
        return np.stack([place.distance(some) for place, some in pairs])

    def _places(self) -> list[Place]:
        return [self._instructions[number].place for number in self.numbers]


class Misled:
    """An agent that is told what another task wants: what it reaches of its own is chance."""

    def __init__(self, agent: PlanningAgent, env: InstructedEnv, *, texts: Sequence[str]) -> None:
        """Take the agent, the environment, and for each instruction the text in its place."""
        self._agent, self._env, self._texts = agent, env, texts

    def reseed(self, seed: int) -> None:
        """Start the random numbers of the planner anew."""
        self._agent.reseed(seed)

    def reseed_tasks(self, seeds: Sequence[int]) -> None:
        """Start the random numbers of the planner anew, for each task."""
        self._agent.reseed_tasks(seeds)

    def reset(
        self,
        goal: Observation | None,  # noqa: ARG002 (the protocol's first argument)
        num_steps: int | None = None,
    ) -> None:
        """Start an episode with the texts of other tasks."""
        texts = [self._texts[number] for number in self._env.numbers]
        self._agent.reset(Text(texts), num_steps)

    def act(self, obs: Observation) -> Float[Tensor, "B A"]:
        """Return the next action blocks `[B, A]`."""
        return self._agent.act(obs)
