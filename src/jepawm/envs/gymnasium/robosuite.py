"""Reach, pick and place in robosuite, as a Gymnasium environment with a scripted expert.

Written for robosuite 1.5 and mujoco 3.3.0. robosuite needs numpy 1.26, so it lives in a virtual
environment of its own, see docs/environments/others.md.
"""

import importlib
from functools import partial
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from jaxtyping import Float, UInt8

from jepawm.envs.gymnasium.batch import GymnasiumBatch
from jepawm.envs.gymnasium.goals import ExpertGoals
from jepawm.errors import UserError

_TASKS = {"reach": "Lift", "pick": "Lift", "place": "PickPlaceCan"}
_CAMERAS = {"Lift": "agentview", "PickPlaceCan": "agentview"}
_NEAR = 0.04  # metres between hand and object that count as reached
_ALIGNED, _LEVEL = 0.015, 0.01  # metres, beside and above the object before the gripper closes
_UP = np.array([0.0, 0.0, 0.1])  # metres above the object on the way to it
_STEP = 0.05  # metres that an action of 1 asks for
_SIZE = 256
_ACTION_DIM = 7
_OPEN, _CLOSED = -1.0, 1.0


class RobosuiteEnv(gymnasium.Env[Float[np.ndarray, " S"], Float[np.ndarray, " 7"]]):
    """A Panda arm: actions are changes of the hand's place and turn and the gripper, -1 to 1.

    Observations are the joints, the hand and the object; `info["success"]` is: the hand within 4 cm
    of the cube (reach), robosuite's own flag (pick: the cube lifted 4 cm; place: the can in its bin).
    """

    metadata: ClassVar[dict[str, object]] = {"render_modes": ["rgb_array"], "render_fps": 20}  # pyright: ignore[reportIncompatibleVariableOverride]
    render_mode = "rgb_array"

    def __init__(self, task: str = "reach") -> None:
        """Build `reach`, `pick` or `place`."""
        if task not in _TASKS:
            raise UserError(f"unknown robosuite task {task!r} (known: {', '.join(_TASKS)})")
        self.task = task
        self._suite = _build(_TASKS[task])
        self._camera = _CAMERAS[_TASKS[task]]
        self._obs = self._suite.reset()
        low, high = self._suite.action_spec
        self.action_space = spaces.Box(low.astype(np.float32), high.astype(np.float32))
        size = len(self._vector())
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, object] | None = None
    ) -> tuple[Float[np.ndarray, " S"], dict[str, object]]:
        """Place robot and object as the seed says."""
        super().reset(seed=seed)
        del options
        if seed is not None:  # one generator is shared by all samplers of robosuite
            fresh = np.random.default_rng(seed)
            self._suite.rng.bit_generator.state = fresh.bit_generator.state
        self._obs = self._suite.reset()
        return self._vector(), {"success": self._success()}

    def step(
        self, action: Float[np.ndarray, " 7"]
    ) -> tuple[Float[np.ndarray, " S"], float, bool, bool, dict[str, object]]:
        """Apply one action; returns observation, reward, terminated, truncated, info."""
        self._obs, reward, _, _ = self._suite.step(np.asarray(action, dtype=np.float64))
        return self._vector(), float(reward), False, False, {"success": self._success()}

    def render(self) -> UInt8[np.ndarray, "height width 3"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return what the camera sees, upright."""
        frame = self._suite.sim.render(width=_SIZE, height=_SIZE, camera_name=self._camera)
        return np.ascontiguousarray(frame[::-1])

    def expert_action(self) -> Float[np.ndarray, " 7"]:
        """Return what brings the hand to the object, lifts it and drops it over its bin."""
        hand, thing = self._obs["robot0_eef_pos"], self._object()
        action = np.zeros(_ACTION_DIM)
        if self.task == "reach":
            target, action[-1] = thing, _OPEN
        elif self.task == "place" and self._success():
            target, action[-1] = hand + _UP, _OPEN
        elif self._grasped():
            target, action[-1] = self._carry(hand, thing)
        elif np.linalg.norm((thing - hand)[:2]) > _ALIGNED:
            target, action[-1] = thing + _UP, _OPEN
        else:
            target, closed = thing, abs(thing[2] - hand[2]) < _LEVEL
            action[-1] = _CLOSED if closed else _OPEN
        action[:3] = ((target - hand) / _STEP).clip(-1.0, 1.0)
        return action

    def close(self) -> None:
        """End robosuite's simulation."""
        self._suite.close()

    def _carry(
        self, hand: Float[np.ndarray, " 3"], thing: Float[np.ndarray, " 3"]
    ) -> tuple[Float[np.ndarray, " 3"], float]:
        """Return where to bring a grasped object, and the gripper's command."""
        if self.task == "pick":
            return hand + _UP, _CLOSED
        place = self._suite.target_bin_placements[self._suite.object_id]
        height = place[2] + 2 * _UP[2]
        if np.linalg.norm((place - thing)[:2]) < _ALIGNED:
            return hand + _UP, _OPEN
        if thing[2] < height - _LEVEL:
            return np.array([hand[0], hand[1], height + _LEVEL]), _CLOSED
        return np.array([place[0], place[1], hand[2]]), _CLOSED

    def _object(self) -> Float[np.ndarray, " 3"]:
        return self._obs["cube_pos" if _TASKS[self.task] == "Lift" else "Can_pos"]

    def _grasped(self) -> bool:
        suite = self._suite
        thing = suite.cube if _TASKS[self.task] == "Lift" else suite.objects[suite.object_id]
        return bool(suite._check_grasp(suite.robots[0].gripper, thing))  # noqa: SLF001

    def _success(self) -> bool:
        if self.task == "reach":
            offset = self._obs["robot0_eef_pos"] - self._object()
            return bool(np.linalg.norm(offset) < _NEAR)
        return bool(self._suite._check_success())  # noqa: SLF001 - there is no public one

    def _vector(self) -> Float[np.ndarray, " S"]:
        parts = self._obs["robot0_proprio-state"], self._obs["object-state"]
        return np.concatenate(parts).astype(np.float64)


def robosuite(task: str) -> partial[GymnasiumBatch]:
    """Return the builder of `robosuite:reach`, `robosuite:pick` or `robosuite:place`."""
    return partial(GymnasiumBatch, make=partial(RobosuiteEnv, task), goals=ExpertGoals())


def _build(name: str) -> Any:  # noqa: ANN401 - robosuite has no types
    try:
        suite = importlib.import_module("robosuite")
    except ImportError as error:
        raise UserError(
            f"robosuite does not load ({error}); it needs a virtual environment of its own, see "
            "docs/environments/others.md"
        ) from error
    return suite.make(
        name,
        robots="Panda",
        has_renderer=False,
        has_offscreen_renderer=True,
        use_camera_obs=False,
        use_object_obs=True,
        hard_reset=False,
        ignore_done=True,
        seed=0,
    )
