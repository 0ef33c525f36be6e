"""Golden checks of the environments: moves, contacts, pictures, starts and goals."""

import re
from collections.abc import Sequence
from dataclasses import replace
from math import pi

import numpy as np

from jepawm.envs.mujoco_engine import import_mujoco
from jepawm.envs.pointmaze.dynamics import PointMazePhysics, PointMazeSimulator
from jepawm.envs.pointmaze.tasks import start_goal as pointmaze_start_goal
from jepawm.envs.pusht.dynamics import PushTPhysics, PushTWorld
from jepawm.envs.pusht.render import CANVAS, render_pusht
from jepawm.envs.pusht.shape import target_reward
from jepawm.envs.pusht.tasks import solved
from jepawm.envs.pusht.tasks import start_goal as pusht_start_goal
from jepawm.envs.wall.dynamics import WallGeometry, WallLayout, wall_rollout, wall_step
from jepawm.envs.wall.render import render_wall
from jepawm.envs.wall.tasks import Range
from jepawm.envs.wall.tasks import start_goal as wall_start_goal
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
        wall_start_goal(int(seed), x_ranges=(left, right), y_range=y_range)
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


_FLOAT64_ATOL = 1e-9  # of the README: a plain float64 implementation reproduces these states


def check_pusht_dynamics(case: GoldenCase) -> list[Comparison]:
    """Compare episodes, with their success flags and rewards, and random starts and goals."""
    physics = _pusht_physics(case)
    init, actions = case.array("init"), case.array("actions")
    states = _roll_pusht(init, actions.astype(np.float64), physics=physics)  # [E, T + 1, 7]
    wrapped = states.copy()
    wrapped[..., 4] %= 2 * pi
    goal = case.array("goal").astype(np.float64)[:, None]
    distance = np.linalg.norm(wrapped[:, 1:] - goal, axis=-1)
    poses = states[:, 1:, 2:5].reshape(-1, 3)
    reward = np.array([target_reward(pose) for pose in poses]).reshape(actions.shape[:2])
    expected = case.array("states64")
    without_angle = [0, 1, 2, 3, 5, 6]
    places = states[..., without_angle], expected[..., without_angle]
    drawn = np.stack(
        [np.concatenate(pusht_start_goal(int(seed))) for seed in case.array("start_goal_seeds")]
    )
    return [
        compare("states", *places, atol=case.atol, rtol=case.rtol),
        compare("wrapped_angle", *_angles(case, states), atol=_angle_atol(case), rtol=0.0),
        compare("angle", states[..., 4], expected[..., 4], atol=_angle_atol(case), rtol=0.0),
        compare(
            "states_float64_actions",
            states,
            case.array("states_float64_actions"),
            atol=_FLOAT64_ATOL,
            rtol=0.0,
        ),
        compare("state_dist", distance, case.array("state_dist"), atol=case.atol, rtol=case.rtol),
        exact("success", solved(wrapped[:, 1:], goal, physics=physics), case.array("success")),
        compare(
            "reward", reward, case.array("reward"), atol=case.allowance("reward_atol"), rtol=0.0
        ),
        compare("start_goal", drawn, case.array("start_goal"), atol=_FLOAT64_ATOL, rtol=0.0),
    ]


def check_pusht_frames(case: GoldenCase) -> list[Comparison]:
    """Compare pictures; a part of each picture's pixels may differ, where contacts are marked.

    The ratio that counts is the share of pixels beyond `max_level`, of what is allowed.
    """
    canvas, size = case.option("canvas", int), case.option("render_size", int)
    if canvas != CANVAS:
        raise GoldenError(f"{case.name}: canvas is {canvas}, only {CANVAS} is known")
    world = PushTWorld(replace(PushTPhysics(), window=canvas))
    level, share = (
        case.allowance("max_level"),
        case.allowance("fraction_of_pixels_allowed_to_differ"),
    )
    comparisons: list[Comparison] = []
    for index, (state, shown) in enumerate(
        zip(case.array("frame_state"), case.array("with_target"), strict=True)
    ):
        world.reset(state)
        settled = world.state()
        frame = render_pusht(settled, size, with_target=bool(shown)).permute(1, 2, 0).numpy()
        expected = case.array("frames")[index]
        if frame.shape != expected.shape:
            raise GoldenError(f"{case.name}: frames are {expected.shape}, not {frame.shape}")
        error = np.abs(frame.astype(int) - expected.astype(int)).max(-1)
        differing = float((error > level).mean())
        excess = differing / share if share > 0 else (0.0 if differing == 0.0 else np.inf)
        comparisons.append(
            Comparison(name=f"frame_{index}", max_error=float(error.max()), excess=excess)
        )
    return comparisons


def _pusht_physics(case: GoldenCase) -> PushTPhysics:
    if not case.option("relative", bool):
        raise GoldenError(f"{case.name}: only relative actions are known")
    success = case.option("success", dict)
    return PushTPhysics(
        window=case.option("window", int),
        action_scale=case.option("action_scale", float),
        stiffness=case.option("k_p", float),
        damping=case.option("k_v", float),
        simulation_hz=case.option("sim_hz", int),
        control_hz=case.option("control_hz", int),
        success_distance=_number(case, success, key="xy4_norm_below"),
        success_angle=_number(case, success, key="wrapped_angle_below"),
    )


def _number(case: GoldenCase, options: dict[str, object], *, key: str) -> float:
    """Read a number, or a fraction of pi such as "pi/9"."""
    value = options.get(key)
    fraction = re.fullmatch(r"pi/(\d+(?:\.\d+)?)", value) if isinstance(value, str) else None
    if fraction:
        return pi / float(fraction[1])
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise GoldenError(f"{case.name}: success {key!r} = {value!r} is not a number")
    return float(value)


def _roll_pusht(init: np.ndarray, actions: np.ndarray, *, physics: PushTPhysics) -> np.ndarray:
    world = PushTWorld(physics)
    states = np.empty((*actions.shape[:1], actions.shape[1] + 1, 7))
    for episode in range(len(init)):
        world.reset(init[episode])
        states[episode, 0] = world.state()
        for t, action in enumerate(actions[episode]):
            world.step(action)
            states[episode, t + 1] = world.state()
    return states


def _angles(case: GoldenCase, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return differences of the wrapped angles, wrapped again, and zeros."""
    turned = states[..., 4] - case.array("states")[..., 4].astype(np.float64)
    return (turned + pi) % (2 * pi) - pi, np.zeros_like(turned)


def _angle_atol(case: GoldenCase) -> float:
    return case.allowance("angle_atol")


_DRAW_ATOL = 1e-12  # random numbers, not simulated ones


def check_pointmaze_dynamics(case: GoldenCase) -> list[Comparison]:
    """Compare episodes with old and with new contacts, success flags, and random starts and goals.

    Until the first contact the file's stricter tolerance counts.
    """
    physics = _pointmaze_physics(case)
    init, actions = case.array("init"), case.array("actions").astype(np.float64)
    states = _roll_pointmaze(init, actions, physics=physics)  # [E, T + 1, 4]
    newer = _roll_pointmaze(init, actions, physics=replace(physics, old_contacts=False))
    expected = case.array("states")
    contacts = case.array("wall_contacts_per_step")
    free = np.concatenate([np.zeros((len(init), 1)), contacts.cumsum(1)], axis=1) == 0
    goal = case.array("goal")[:, None]
    distance = np.linalg.norm(states[:, 1:] - goal, axis=-1)
    near = np.linalg.norm(states[:, 1:, :2] - goal[..., :2], axis=-1) < physics.success_distance
    drawn = [
        np.concatenate(pointmaze_start_goal(int(seed))) for seed in case.array("start_goal_seeds")
    ]
    tolerances = {"atol": case.atol, "rtol": case.rtol}
    return [
        compare("states", states, expected, **tolerances),
        compare(
            "before_first_contact",
            states[free],
            expected[free],
            atol=case.allowance("before_first_contact_atol"),
            rtol=0.0,
        ),
        compare(
            "states_engine3_default", newer, case.array("states_engine3_default"), **tolerances
        ),
        exact("wall_contacts_per_step", _contacts(states, actions, physics=physics), contacts),
        compare("state_dist", distance, case.array("state_dist"), **tolerances),
        exact("success", near, case.array("success")),
        compare("start_goal", np.stack(drawn), case.array("start_goal"), atol=_DRAW_ATOL, rtol=0.0),
    ]


def _pointmaze_physics(case: GoldenCase) -> PointMazePhysics:
    integrator = case.option("integrator", str)
    if integrator != "Euler":
        raise GoldenError(f"{case.name}: integrator {integrator!r} is not Euler")
    base, half_size, friction = (
        _three(case, key) for key in ("particle_base", "wall_half_size", "friction")
    )
    return PointMazePhysics(
        maze=tuple(str(row) for row in case.option("maze", list)),
        particle_base=base,
        particle_radius=case.option("particle_radius", float),
        wall_half_size=half_size,
        ground_z=case.option("ground_plane_z", float),
        density=case.option("density", float),
        gear=case.option("gear", float),
        friction=friction,
        contact_dimensions=case.option("condim", int),
        margin=case.option("margin_per_geom_old_rule", float),
        gravity=case.option("gravity", float),
        timestep=case.option("timestep", float),
        frame_skip=case.option("frame_skip", int),
        solver_iterations=case.option("solver_iterations", int),
        action_clip=case.option("action_clip", float),
        velocity_clip=case.option("velocity_clip", float),
        success_distance=case.option("success_xy_distance", float),
    )


def _three(case: GoldenCase, key: str) -> tuple[float, float, float]:
    numbers = case.option(key, list)
    if len(numbers) != 3:
        raise GoldenError(f"{case.name}: {key} = {numbers!r} is not three numbers")
    return float(numbers[0]), float(numbers[1]), float(numbers[2])


def _roll_pointmaze(
    init: np.ndarray, actions: np.ndarray, *, physics: PointMazePhysics
) -> np.ndarray:
    simulator = PointMazeSimulator(physics)
    path = [init.astype(np.float64)]
    for t in range(actions.shape[1]):
        path.append(simulator.step(path[-1], actions[:, t]))
    return np.stack(path, axis=1)


def _contacts(states: np.ndarray, actions: np.ndarray, *, physics: PointMazePhysics) -> np.ndarray:
    """Count the contacts with walls in the engine steps of each action, from known states."""
    engine = import_mujoco("PointMaze")
    model = PointMazeSimulator(physics).model
    data = engine.MjData(model)
    counts = np.zeros(actions.shape[:2], dtype=np.int64)
    for episode, t in np.ndindex(*counts.shape):
        engine.mj_resetData(model, data)
        data.qpos[:] = states[episode, t, :2]
        data.qvel[:] = states[episode, t, 2:].clip(-physics.velocity_clip, physics.velocity_clip)
        data.ctrl[:] = actions[episode, t].clip(-physics.action_clip, physics.action_clip)
        for _ in range(physics.frame_skip):
            engine.mj_step(model, data)
            counts[episode, t] += data.ncon
    return counts
