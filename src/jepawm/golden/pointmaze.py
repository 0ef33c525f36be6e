"""Golden checks of PointMaze: motion, contacts, success and random tasks."""

from dataclasses import replace

import numpy as np

from jepawm.envs.mujoco_engine import import_mujoco
from jepawm.envs.pointmaze.dynamics import PointMazePhysics, PointMazeSimulator
from jepawm.envs.pointmaze.tasks import start_goal
from jepawm.golden.case import Comparison, GoldenCase, GoldenError, compare, exact

_DRAW_ATOL = 1e-12  # random numbers, not simulated ones


def check_pointmaze_dynamics(case: GoldenCase) -> list[Comparison]:
    """Compare episodes with old and with new contacts, success flags, and random starts and goals.

    Until the first contact the file's stricter tolerance counts.
    """
    physics = _physics(case)
    init, actions = case.array("init"), case.array("actions").astype(np.float64)
    states = _roll(init, actions, physics=physics)  # [E, T + 1, 4]
    newer = _roll(init, actions, physics=replace(physics, old_contacts=False))
    expected = case.array("states")
    contacts = case.array("wall_contacts_per_step")
    free = np.concatenate([np.zeros((len(init), 1)), contacts.cumsum(1)], axis=1) == 0
    goal = case.array("goal")[:, None]
    distance = np.linalg.norm(states[:, 1:] - goal, axis=-1)
    near = np.linalg.norm(states[:, 1:, :2] - goal[..., :2], axis=-1) < physics.success_distance
    drawn = [np.concatenate(start_goal(int(seed))) for seed in case.array("start_goal_seeds")]
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


def _physics(case: GoldenCase) -> PointMazePhysics:
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


def _roll(init: np.ndarray, actions: np.ndarray, *, physics: PointMazePhysics) -> np.ndarray:
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
