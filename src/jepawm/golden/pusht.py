"""Golden checks of Push-T: motion, success, reward, random tasks and pictures."""

import re
from dataclasses import replace
from math import pi

import numpy as np

from jepawm.envs.pusht.dynamics import PushTPhysics, PushTWorld
from jepawm.envs.pusht.render import CANVAS, render_pusht
from jepawm.envs.pusht.shape import target_reward
from jepawm.envs.pusht.tasks import solved, start_goal
from jepawm.golden.case import Comparison, GoldenCase, GoldenError, compare, exact

_FLOAT64_ATOL = 1e-9  # of the README: a plain float64 implementation reproduces these states


def check_pusht_dynamics(case: GoldenCase) -> list[Comparison]:
    """Compare episodes, with their success flags and rewards, and random starts and goals."""
    physics = _physics(case)
    init, actions = case.array("init"), case.array("actions")
    states = _roll(init, actions.astype(np.float64), physics=physics)  # [E, T + 1, 7]
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
        [np.concatenate(start_goal(int(seed))) for seed in case.array("start_goal_seeds")]
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


def _physics(case: GoldenCase) -> PushTPhysics:
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
        raise GoldenError(f"{case.name}: success {key!r} = {value!r} is no number")
    return float(value)


def _roll(init: np.ndarray, actions: np.ndarray, *, physics: PushTPhysics) -> np.ndarray:
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
