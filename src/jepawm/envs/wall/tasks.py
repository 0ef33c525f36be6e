"""Starts and goals of the Wall environment, drawn as the JEPA-WM paper draws them."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jepawm.envs.wall.dynamics import DEFAULT_GEOMETRY, WallGeometry, WallLayout
from jepawm.errors import UserError
from jepawm.types import Task

DEFAULT_WALL_X = 32.0
DEFAULT_DOOR_Y = 30.0

Range = tuple[float, float]


def sample_wall_tasks(
    seed: int,
    *,
    num_tasks: int,
    wall_x: float = DEFAULT_WALL_X,
    door_y: float = DEFAULT_DOOR_Y,
    geometry: WallGeometry = DEFAULT_GEOMETRY,
) -> list[Task]:
    """Draw tasks with start and goal in different rooms; tasks that start solved are left out.

    The first tasks of a longer list are those of a shorter one with the same seed.
    """
    if seed < 0 or num_tasks < 1:
        raise UserError(
            f"seed = {seed}, num_tasks = {num_tasks}: a seed is at least 0 and there must be at "
            "least 1 task; change the number"
        )
    x_ranges, y_range = start_goal_ranges(wall_x, geometry=geometry)
    tasks: list[Task] = []
    draw = 0
    while len(tasks) < num_tasks:
        drawn_seed = int(np.random.SeedSequence((seed, draw)).generate_state(1)[0])
        draw += 1
        numbers = start_goal(drawn_seed, x_ranges=x_ranges, y_range=y_range)
        start_x, start_y, goal_x, goal_y = (float(number) for number in numbers)
        if math.hypot(start_x - goal_x, start_y - goal_y) < geometry.success_distance:
            continue
        parameters = {"wall_x": wall_x, "door_y": door_y}
        tasks.append(Task(start=(start_x, start_y), goal=(goal_x, goal_y), parameters=parameters))
    return tasks


def start_goal_ranges(
    wall_x: float = DEFAULT_WALL_X, *, geometry: WallGeometry = DEFAULT_GEOMETRY
) -> tuple[tuple[Range, Range], Range]:
    """Return where starts and goals are drawn: x in the left and in the right room, and y, in pixels.

    A dot keeps two of its standard deviations away from walls and border lines.
    """
    margin = 2 * geometry.dot_std
    low, high = geometry.low + margin, geometry.high - margin
    reach = geometry.wall_half_width + margin
    left, right = (low, wall_x - reach), (wall_x + reach, high)
    if left[0] >= left[1] or right[0] >= right[1]:
        raise UserError(
            f"wall_x = {wall_x} leaves a room without space for the dot; choose a value between "
            f"{low + reach:g} and {high - reach:g}"
        )
    return (left, right), (low, high)


def start_goal(
    seed: int, *, x_ranges: tuple[Range, Range], y_range: Range
) -> Float[np.ndarray, " 4"]:
    """Draw one start and goal: (start x, start y, goal x, goal y), in pixels.

    The order of the draws is the reference's: start x (left room), goal x (right room), start y,
    goal y, and a coin that exchanges the x's. The seed goes into NumPy's legacy generator.
    """
    random = np.random.RandomState(seed)
    start_x = random.uniform(*x_ranges[0])
    goal_x = random.uniform(*x_ranges[1])
    start_y = random.uniform(*y_range)
    goal_y = random.uniform(*y_range)
    if random.uniform() < 0.5:
        start_x, goal_x = goal_x, start_x
    return np.array([start_x, start_y, goal_x, goal_y])


def wall_layouts(tasks: Sequence[Task]) -> WallLayout:
    """Collect the layouts `[B]` of tasks; parameters that are not given have the paper's values."""
    for index, task in enumerate(tasks):
        unknown = sorted(set(task.parameters) - {"wall_x", "door_y"})
        if unknown:
            raise UserError(
                f"task {index} of the Wall environment has unknown parameters {unknown}; it knows "
                "wall_x and door_y"
            )
    wall_x = [task.parameters.get("wall_x", DEFAULT_WALL_X) for task in tasks]
    door_y = [task.parameters.get("door_y", DEFAULT_DOOR_Y) for task in tasks]
    return WallLayout(
        wall_x=np.array(wall_x, dtype=np.float64), door_y=np.array(door_y, dtype=np.float64)
    )


def wall_positions(
    positions: Sequence[tuple[float, ...]], name: str, *, geometry: WallGeometry = DEFAULT_GEOMETRY
) -> Float[np.ndarray, "B 2"]:
    """Collect exact positions `[B, 2]` of tasks and check them; `name` is for messages."""
    for index, position in enumerate(positions):
        # a comparison with NaN is False, so it is refused too
        if len(position) != 2 or not all(0 <= x <= geometry.world_size for x in position):
            raise UserError(
                f"{name} of task {index} is {tuple(position)}; give x and y between 0 and "
                f"{geometry.world_size}"
            )
    return np.array(positions, dtype=np.float64).reshape(-1, 2)
