"""Golden checks of the Wall environment: moves, pictures, starts and goals."""

from collections.abc import Sequence

import numpy as np

from jepawm.envs.wall.dynamics import WallGeometry, WallLayout, wall_rollout, wall_step
from jepawm.envs.wall.render import render_wall
from jepawm.envs.wall.tasks import Range, start_goal
from jepawm.golden.case import Comparison, GoldenCase, GoldenError, compare, exact


def check_wall_dynamics(case: GoldenCase) -> list[Comparison]:
    """Compare single moves, and rollouts with their distances and successes.

    Moves along an axis, where the reference divides by zero, only have to be finite.
    """
    geometry = WallGeometry(
        world_size=case.option("img_size", int),
        border=case.option("border", int),
        wall_width=case.option("wall_width", int),
        door_half_height=case.option("door_half_height", float),
        step_scale=case.option("step_scale", float),
        success_distance=case.option("success_distance", float),
    )
    positions = case.array("position").astype(np.float64)
    actions = case.array("action").astype(np.float64)
    moved = wall_step(positions, actions, layout=_layouts(case.array("layout")), geometry=geometry)
    compared = ~case.array("axis_aligned")
    unobstructed = positions + geometry.step_scale * actions
    collided = (moved != unobstructed).any(-1)
    expected = case.array("next_position")
    finite = np.isfinite(moved).all(-1)
    return [
        compare(
            "next_position", moved[compared], expected[compared], atol=case.atol, rtol=case.rtol
        ),
        exact("collided", collided[compared], case.array("collided")[compared]),
        exact("finite", finite, np.ones_like(finite)),
        *_check_rollouts(case, geometry),
    ]


def check_wall_frames(case: GoldenCase) -> list[Comparison]:
    """Compare native and resized pictures, in levels of 255."""
    native, resized = case.option("img_size", int), case.option("resize", int)
    geometry = WallGeometry(world_size=native, dot_std=case.option("dot_std", float))
    positions = case.array("position").astype(np.float64)
    layout = _layouts(case.array("layout"))
    comparisons: list[Comparison] = []
    for size in dict.fromkeys((native, resized)):
        frames = render_wall(positions, size, layout=layout, geometry=geometry)
        comparisons.append(
            compare(
                f"frame_{size}",
                frames.permute(0, 2, 3, 1),  # stored as [F, S, S, 3]
                case.array(f"frame_{size}"),
                atol=case.allowance(f"frame_{size}_max_level"),
                rtol=0.0,
            )
        )
    return comparisons


def check_wall_start_goal(case: GoldenCase) -> list[Comparison]:
    """Compare starts and goals drawn from seeds."""
    x_ranges = case.option("x_ranges", list)
    if len(x_ranges) != 2:
        raise GoldenError(f"{case.name}: x_ranges has {len(x_ranges)} entries, not one per room")
    left, right = (_range(case, one) for one in x_ranges)
    y_range = _range(case, case.option("y_range", list))
    drawn = [
        start_goal(int(seed), x_ranges=(left, right), y_range=y_range)
        for seed in case.array("seeds")
    ]
    expected = case.array("start_goal")
    return [compare("start_goal", np.stack(drawn), expected, atol=case.atol, rtol=case.rtol)]


def _check_rollouts(case: GoldenCase, geometry: WallGeometry) -> list[Comparison]:
    """Compare episodes that start at `rollout_init`, with the layout in `hyper`."""
    layout = WallLayout.fixed(case.option("wall_x", float), case.option("door_y", float))
    starts = case.array("rollout_init").astype(np.float64)
    actions = case.array("rollout_actions").astype(np.float64)
    states = wall_rollout(starts, actions, layout=layout, geometry=geometry)  # [E, T, 2]
    distance = np.linalg.norm(states - case.array("rollout_goal")[:, None], axis=-1)
    path = np.concatenate([starts[:, None], states], axis=1)  # [E, T + 1, 2]
    success = distance < geometry.success_distance
    tolerances = {"atol": case.atol, "rtol": case.rtol}
    return [
        compare("rollout_positions", path, case.array("rollout_positions"), **tolerances),
        compare("rollout_state_dist", distance, case.array("rollout_state_dist"), **tolerances),
        exact("rollout_success", success, case.array("rollout_success")),
    ]


def _layouts(rows: np.ndarray) -> WallLayout:
    """Read rows of (wall x, door y)."""
    numbers = rows.astype(np.float64)
    return WallLayout(wall_x=numbers[:, 0], door_y=numbers[:, 1])


def _range(case: GoldenCase, numbers: object) -> Range:
    if not isinstance(numbers, Sequence) or len(numbers) != 2:
        raise GoldenError(f"{case.name}: {numbers!r} is not a range (low, high)")
    return float(numbers[0]), float(numbers[1])
