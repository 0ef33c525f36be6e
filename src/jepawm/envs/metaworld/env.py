"""Metaworld: a robot arm at a table. Many copies of one task step in lockstep."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float

from jepawm.envs.metaworld.render import DEFAULT_VIEW, MetaworldView, draw_metaworld
from jepawm.envs.metaworld.simulator import ACTION_DIM, MetaworldSimulator, Moment, Scene
from jepawm.errors import UserError
from jepawm.types import Observation, Task

_EXPERT_STEPS = 100
_PROPRIO_DIM = 4


class MetaworldBatch:
    """Step `B` copies of a Metaworld task; proprioception is hand x, y, z (m) and gripper opening.

    Satisfies `contracts.Simulator`. A state is all that MuJoCo needs to continue bit for bit. There
    are no copies before the first `reset`.
    """

    action_dim = ACTION_DIM
    proprio_dim = _PROPRIO_DIM
    place_columns: tuple[int, ...] = (0, 1, 2)  # of the hand
    state_to_pixel = None

    def __init__(
        self,
        image_size: int = 64,
        *,
        task: str = "reach",
        view: MetaworldView = DEFAULT_VIEW,
        num_threads: int = 2,
    ) -> None:
        """Take the side of the images in pixels (the paper's is 224) and Metaworld's task.

        `num_threads` work on `simulate`; the result does not depend on them.
        """
        if image_size < 1 or num_threads < 1 or view.supersampling < 1:
            raise UserError(
                f"image_size = {image_size}, num_threads = {num_threads}, supersampling = "
                f"{view.supersampling}; give at least 1 for each"
            )
        self.image_size = image_size
        self.task = task
        self.view = view
        self.num_threads = num_threads
        self._simulators = [MetaworldSimulator(task)]  # `simulate` adds one for each thread
        self.state_dim = self._simulators[0].state_dim
        self._scenes: list[Scene] = []
        self._goals: list[np.ndarray] = []
        self._moments: list[Moment] = []

    def sample_tasks(self, seed: int, *, num_tasks: int) -> list[Task]:
        """Draw tasks; the same seed gives the same list, none starts solved.

        An episode starts after the reset and one idle step; the goal is where the scripted expert
        is 100 steps after the reset, whether or not it has succeeded by then.
        """
        if seed < 0 or num_tasks < 1:
            raise UserError(
                f"seed = {seed}, num_tasks = {num_tasks}: a seed is at least 0 and there must be "
                "at least 1 task; change the number"
            )
        tasks: list[Task] = []
        draw = 0
        while len(tasks) < num_tasks:
            drawn_seed = int(np.random.SeedSequence((seed, draw)).generate_state(1)[0])
            draw += 1
            scene = self._simulator.arrange(self._simulator.draw_layout(drawn_seed))
            start = self._simulator.step(scene, scene.start, action=np.zeros(ACTION_DIM))
            if not start.success:
                _, end = self._simulator.expert(scene, noise=np.zeros((_EXPERT_STEPS, ACTION_DIM)))
                tasks.append(metaworld_task(scene.layout, start=start.state, goal=end.state))
        return tasks

    def reset(self, tasks: Sequence[Task]) -> Observation:
        """Put copy i into the start of task i; returns observations `[B]`."""
        if not tasks:
            raise UserError("there are no tasks to reset Metaworld to; give at least 1")
        for index, task in enumerate(tasks):
            self._check_task(task, index)
        self._scenes = [self._simulator.arrange(_layout(task)) for task in tasks]
        self._goals = [np.array(task.goal) for task in tasks]
        self._moments = self._look([np.array(task.start) for task in tasks])
        return self._observe(self._moments)

    def goal_observation(self) -> Observation:
        """Return observations `[B]` of the goals of the current tasks."""
        return self._observe(self._look(self._goals))

    def step(self, actions: Float[np.ndarray, "B a"]) -> Observation:
        """Apply one action `[B, 4]` to each copy; returns observations `[B]`."""
        self._check_actions(actions, num_axes=2)
        self._moments = [
            self._simulator.step(scene, moment.state, action=action)
            for scene, moment, action in zip(
                self._scenes, self._moments, actions.astype(np.float64), strict=True
            )
        ]
        return self._observe(self._moments)

    def states(self) -> Float[np.ndarray, "B S"]:
        """Return the exact states `[B, S]`."""
        states = [moment.state for moment in self._moments]
        return np.array(states).reshape(-1, self.state_dim)

    def success(self) -> Bool[np.ndarray, " B"]:
        """Return Metaworld's success flag of each copy."""
        return np.array([moment.success for moment in self._moments], dtype=np.bool_)

    def simulate(self, actions: Float[np.ndarray, "B K T a"]) -> Float[np.ndarray, "B K T S"]:
        """Return the states `[B, K, T, S]` that actions would lead to; changes nothing."""
        self._check_actions(actions, num_axes=4)
        batch, num_candidates = actions.shape[:2]
        states = np.empty((*actions.shape[:3], self.state_dim))
        while len(self._simulators) < self.num_threads:
            self._simulators.append(MetaworldSimulator(self.task))

        def work(thread: int) -> None:
            for job in range(thread, batch * num_candidates, self.num_threads):
                b, k = divmod(job, num_candidates)
                states[b, k] = self._simulators[thread].simulate(
                    self._scenes[b],
                    self._moments[b].state,
                    actions=actions[b, k].astype(np.float64),
                )

        with ThreadPoolExecutor(self.num_threads) as pool:
            list(pool.map(work, range(self.num_threads)))  # raises what a thread raised
        return states

    def goal_distance(self, states: Float[np.ndarray, "B K S"]) -> Float[np.ndarray, "B K"]:
        """Return the square `[B, K]` of Metaworld's distance to the goal, in square metres."""
        return np.array(
            [
                [self._simulator.observe(scene, state).distance ** 2 for state in candidates]
                for scene, candidates in zip(self._scenes, states, strict=True)
            ]
        ).reshape(states.shape[:2])

    @property
    def _simulator(self) -> MetaworldSimulator:
        return self._simulators[0]

    def _look(self, states: Sequence[np.ndarray]) -> list[Moment]:
        pairs = zip(self._scenes, states, strict=True)
        return [self._simulator.observe(scene, state) for scene, state in pairs]

    def _observe(self, moments: Sequence[Moment]) -> Observation:
        size = self.image_size
        pixels = np.empty((len(moments), 3, size, size), dtype=np.uint8)
        for index, (scene, moment) in enumerate(zip(self._scenes, moments, strict=True)):
            frame = draw_metaworld(
                self.task, scene, state=moment.state, image_size=size, view=self.view
            )
            pixels[index] = frame.transpose(2, 0, 1)
        proprio = np.array([moment.obs[:_PROPRIO_DIM] for moment in moments], dtype=np.float32)
        return Observation(pixels=torch.from_numpy(pixels), proprio=torch.from_numpy(proprio))

    def _check_task(self, task: Task, index: int) -> None:
        names = [_layout_name(number) for number in range(self._simulator.layout_dim)]
        if sorted(task.parameters) != sorted(names):
            raise UserError(
                f"task {index} has the parameters {sorted(task.parameters)}; Metaworld's "
                f"{self.task} has {names}"
            )
        numbers = (*task.start, *task.goal, *task.parameters.values())
        fits = len(task.start) == len(task.goal) == self.state_dim
        if not fits or not np.isfinite(numbers).all():
            raise UserError(
                f"task {index} is no task of Metaworld's {self.task}: start and goal are states of "
                f"{self.state_dim} finite numbers; take it from sample_tasks"
            )

    def _check_actions(self, actions: np.ndarray, *, num_axes: int) -> None:
        batch = len(self._scenes)
        if actions.ndim != num_axes or len(actions) != batch or actions.shape[-1] != ACTION_DIM:
            raise UserError(
                f"actions have shape {actions.shape}, but there are {batch} copies of Metaworld "
                "and an action has 4 numbers; reset(tasks) sets the number of copies"
            )
        if not np.isfinite(actions).all():
            raise UserError("actions for Metaworld are not finite; check the policy")


def metaworld_reach(image_size: int = 64) -> MetaworldBatch:
    """Build the task that the paper calls MW-Reach."""
    return MetaworldBatch(image_size, task="reach")


def metaworld_reach_wall(image_size: int = 64) -> MetaworldBatch:
    """Build the task that the paper calls MW-Reach-Wall."""
    return MetaworldBatch(image_size, task="reach-wall")


def metaworld(task: str) -> Callable[..., MetaworldBatch]:
    """Return the builder of any task: the environment `metaworld:TASK`."""
    return partial(MetaworldBatch, task=task)  # can be sent to other processes


def metaworld_task(
    layout: Float[np.ndarray, " R"],
    *,
    start: Float[np.ndarray, " S"],
    goal: Float[np.ndarray, " S"],
) -> Task:
    """Write a layout and two states as a task."""
    parameters = {_layout_name(number): float(value) for number, value in enumerate(layout)}
    return Task(start=tuple(start.tolist()), goal=tuple(goal.tolist()), parameters=parameters)


def _layout_name(number: int) -> str:
    return f"layout_{number}"


def _layout(task: Task) -> Float[np.ndarray, " R"]:
    names = [_layout_name(number) for number in range(len(task.parameters))]
    return np.array([task.parameters[name] for name in names])
