"""Starts and goals of PointMaze, drawn as the reference draws them."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jepawm.envs.pointmaze.dynamics import PAPER_PHYSICS, PointMazePhysics
from jepawm.errors import UserError
from jepawm.types import Task

_LOW, _HIGH = 0.5, 3.1  # of x and y
_BLOCK_LEFT, _BLOCK_RIGHT, _BLOCK_TOP = 1.1, 2.5, 2.5  # around the wall inside the U
_TOP_SPEED = 5.2262554  # of each axis
_FARTHEST = 3.6  # x and y inside the outer walls are between 0 and this


def sample_pointmaze_tasks(
    seed: int, *, num_tasks: int, physics: PointMazePhysics = PAPER_PHYSICS
) -> list[Task]:
    """Draw tasks with unrelated starts and goals; tasks that start solved are left out.

    The first tasks of a longer list are those of a shorter one with the same seed.
    """
    if seed < 0 or num_tasks < 1:
        raise UserError(
            f"seed = {seed}, num_tasks = {num_tasks}: a seed is at least 0 and there must be at "
            "least 1 task; change the number"
        )
    tasks: list[Task] = []
    draw = 0
    while len(tasks) < num_tasks:
        drawn_seed = int(np.random.SeedSequence((seed, draw)).generate_state(1)[0])
        draw += 1
        start, goal = start_goal(drawn_seed)
        if math.dist(start[:2], goal[:2]) >= physics.success_distance:
            tasks.append(Task(start=tuple(start.tolist()), goal=tuple(goal.tolist())))
    return tasks


def start_goal(seed: int) -> tuple[Float[np.ndarray, " 4"], Float[np.ndarray, " 4"]]:
    """Draw one start and one goal state, both in motion.

    The order of the draws is the reference's: x and y until they are in the U, then both
    velocities; first of the start, then of the goal. The seed goes into NumPy's legacy generator.
    """
    random = np.random.RandomState(seed)
    return _draw_state(random), _draw_state(random)


def pointmaze_states(states: Sequence[tuple[float, ...]], name: str) -> Float[np.ndarray, "B 4"]:
    """Collect exact states `[B, 4]` of tasks and check them; `name` is for messages."""
    for index, state in enumerate(states):
        if len(state) != 4 or not np.isfinite(state).all():
            raise UserError(
                f"{name} of task {index} is {tuple(state)}; give 4 finite numbers (x, y, velocity "
                "x, velocity y)"
            )
        if any(not 0.0 <= place <= _FARTHEST for place in state[:2]):
            raise UserError(
                f"{name} of task {index} is outside the maze: {tuple(state[:2])}; give x and y "
                f"between 0 and {_FARTHEST}"
            )
    return np.array(states, dtype=np.float64).reshape(-1, 4)


def _draw_state(random: np.random.RandomState) -> Float[np.ndarray, " 4"]:
    while True:
        x, y = random.uniform(_LOW, _HIGH), random.uniform(_LOW, _HIGH)
        if x <= _BLOCK_LEFT or x >= _BLOCK_RIGHT or y >= _BLOCK_TOP:
            break
    velocity = [random.uniform(-_TOP_SPEED, _TOP_SPEED) for _ in range(2)]
    return np.array([x, y, *velocity])
