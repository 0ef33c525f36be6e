"""RoboCasa's counter-top pick and place as in the paper: every episode is one of a data set.

Written to the public interface of robosuite and RoboCasa (forks with the environment
`PnPCounterTop`), and never run: neither the forks nor their assets can be had offline.
"""

import importlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from jaxtyping import Float, UInt8

from jepawm.border import foreign, require_regular
from jepawm.envs.gymnasium.batch import GymnasiumBatch
from jepawm.envs.gymnasium.goals import Snapshot, flatten, picture
from jepawm.errors import UserError, missing_extra
from jepawm.types import Task

_CAMERA = "robot0_leftview"
_SIZE = 256
_SCALES = np.array([0.05] * 3 + [0.5] * 3 + [1.0])  # of the model's actions
_ROBOT_ACTIONS = 12  # of which the first 7 move arm and gripper, the rest stay 0
_SEGMENTS = {"reach": 0, "pick": 1, "place": 2}
_REACHED, _PLACED = 0.2, 0.15  # metres


@dataclass(frozen=True, kw_only=True, eq=False)
class Demonstration:
    """What an episode of the data set says about its scene."""

    model_xml: str
    """The kitchen, in MuJoCo's XML."""
    meta: dict[str, object]
    """RoboCasa's description of the episode (`ep_meta`)."""
    states: Float[np.ndarray, "T S"]
    """Flattened simulator states."""
    segments: np.ndarray
    """Sub-task of each step: 0 reach, 1 pick, 2 place."""
    object_end: Float[np.ndarray, " 3"]
    """Where the object is at the end, in metres."""


class RoboCasaEnv(gymnasium.Env[Float[np.ndarray, " S"], Float[np.ndarray, " 7"]]):
    """Replays start and goal of demonstrations; actions are 7 numbers in units of the data set."""

    metadata: ClassVar[dict[str, object]] = {"render_modes": ["rgb_array"], "render_fps": 20}  # pyright: ignore[reportIncompatibleVariableOverride]
    render_mode = "rgb_array"

    def __init__(self, path: str, subtask: str = "reach") -> None:
        """Take the HDF5 file of demonstrations and the sub-task: reach, pick or place."""
        if subtask not in _SEGMENTS:
            raise UserError(f"unknown sub-task {subtask!r} (known: {', '.join(_SEGMENTS)})")
        self.subtask = subtask
        self.demonstrations = read_demonstrations(Path(path), subtask=subtask)
        self._suite = _build()
        self._demo = self.demonstrations[0]
        self._lifted = False
        self.action_space = spaces.Box(-_SCALES.astype(np.float32), _SCALES.astype(np.float32))
        self.restore(0, at_end=False)
        self.observation_space = spaces.Box(-np.inf, np.inf, (len(self._vector()),), np.float64)

    def restore(self, number: int, *, at_end: bool) -> None:
        """Put the simulator into the first or the last state of a demonstration's sub-task."""
        self._demo = demo = self.demonstrations[number]
        steps = np.flatnonzero(demo.segments == _SEGMENTS[self.subtask])
        suite = self._suite
        suite.set_ep_meta(demo.meta)
        suite.reset()
        suite.reset_from_xml_string(suite.edit_model_xml(demo.model_xml))
        suite.sim.reset()
        suite.sim.set_state_from_flattened(demo.states[steps[-1 if at_end else 0]])
        suite.sim.forward()
        self._lifted = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, object] | None = None
    ) -> tuple[Float[np.ndarray, " S"], dict[str, object]]:
        """Start demonstration number `seed`, modulo how many there are."""
        super().reset(seed=seed)
        del options
        self.restore((seed or 0) % len(self.demonstrations), at_end=False)
        return self._vector(), {"success": self._success()}

    def step(
        self, action: Float[np.ndarray, " 7"]
    ) -> tuple[Float[np.ndarray, " S"], float, bool, bool, dict[str, object]]:
        """Apply one action; returns observation, reward, terminated, truncated, info."""
        full = np.zeros(_ROBOT_ACTIONS)
        full[:7] = action / _SCALES
        self._suite.step(full)
        success = self._success()
        return self._vector(), 0.0, False, False, {"success": success}

    def render(self) -> UInt8[np.ndarray, "height width 3"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return what the camera on the left sees, upright."""
        frame = self._suite.sim.render(width=_SIZE, height=_SIZE, camera_name=_CAMERA)
        return np.ascontiguousarray(frame[::-1])

    def _vector(self) -> Float[np.ndarray, " S"]:
        return np.asarray(self._suite.sim.get_state().flatten(), dtype=np.float64)

    def _success(self) -> bool:
        suite = self._suite
        place = np.array(suite.sim.data.body_xpos[suite.obj_body_id["obj"]])
        hand = np.array(suite.sim.data.site_xpos[suite.robots[0].eef_site_id["right"]])
        self._lifted |= bool(getattr(suite, "obj_up_once", False))
        if self.subtask == "reach":
            return bool(np.linalg.norm(hand - place) < _REACHED)
        if self.subtask == "pick":
            return self._lifted
        return bool(np.linalg.norm(place - self._demo.object_end) < _PLACED)


@dataclass(frozen=True, kw_only=True)
class DemonstrationGoals:
    """Starts and goals are the first and the last instant of a demonstration's sub-task."""

    def draw(self, env: gymnasium.Env, seed: int) -> Task:
        """Draw a demonstration."""
        number = float(seed % len(_robocasa(env).demonstrations))
        return Task(start=(number,), goal=(number,))

    def start(self, env: gymnasium.Env, task: Task) -> Float[np.ndarray, " S"]:
        """Put the simulator into the first state."""
        obs, _ = env.reset(seed=int(task.start[0]))
        return flatten(env, obs)

    def goal(self, env: gymnasium.Env, task: Task) -> Snapshot:
        """Put the simulator into the last state and look."""
        _robocasa(env).restore(int(task.goal[0]), at_end=True)
        vector = np.asarray(_robocasa(env)._vector())  # noqa: SLF001 - of the same module
        return Snapshot(picture=picture(env), vector=vector)

    def solved(
        self,
        vector: Float[np.ndarray, " S"],
        info: dict[str, object],
        *,
        start: Float[np.ndarray, " S"],
        goal: Float[np.ndarray, " S"],
    ) -> bool:
        """Return the environment's flag."""
        del vector, start, goal
        return bool(info.get("success", False))


def robocasa(name: str) -> partial[GymnasiumBatch]:
    """Return the builder of `robocasa:SUBTASK@FILE`, for example `robocasa:reach@demos_im256.hdf5`."""
    subtask, at, path = name.partition("@")
    if not at or not path:
        raise UserError(f"robocasa:{name} names no file; write robocasa:reach@FILE.hdf5")
    return partial(
        GymnasiumBatch, make=partial(RoboCasaEnv, path, subtask), goals=DemonstrationGoals()
    )


def read_demonstrations(path: Path, *, subtask: str) -> list[Demonstration]:
    """Read the demonstrations of a RoboCasa HDF5 file that contain a sub-task."""
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as error:
        raise missing_extra("HDF5", error, package="h5py", extra="data") from error
    require_regular(path, "give the path of the demonstrations")
    found = []
    what = (
        "file of RoboCasa demonstrations with data/*/states, meta_data_info and the attributes "
        "model_file and ep_meta"
    )
    with foreign(path, what), h5py.File(path, "r") as file:
        for demo in file["data"].values():
            info = demo["meta_data_info"]
            segments = np.asarray(info["current_task_segment"]).ravel().astype(int)
            if _SEGMENTS[subtask] in segments:
                found.append(
                    Demonstration(
                        model_xml=demo.attrs["model_file"],
                        meta=json.loads(demo.attrs["ep_meta"]),
                        states=np.asarray(demo["states"], dtype=np.float64),
                        segments=segments,
                        object_end=np.asarray(info["current_obj_pos"][-1], dtype=np.float64),
                    )
                )
    if not found:
        raise UserError(f"{path} holds no demonstration of {subtask}; choose another file")
    return found


def _robocasa(env: gymnasium.Env) -> RoboCasaEnv:
    if not isinstance(env.unwrapped, RoboCasaEnv):
        raise UserError(f"{type(env.unwrapped).__name__} has no demonstrations")
    return env.unwrapped


def _build() -> Any:  # noqa: ANN401 - robosuite has no types
    try:
        importlib.import_module("robocasa")  # registers its environments
        suite = importlib.import_module("robosuite")
    except ImportError as error:
        raise UserError(
            f"RoboCasa does not load ({error}); see docs/environments/others.md for what it needs"
        ) from error
    return suite.make(
        "PnPCounterTop",
        robots="PandaOmron",
        has_renderer=False,
        has_offscreen_renderer=True,
        use_camera_obs=False,
        ignore_done=True,
    )
