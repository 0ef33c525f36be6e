"""Pictures of PointMaze from straight above, drawn by MuJoCo off screen.

The OpenGL backend is `$MUJOCO_GL` (egl, osmesa or glfw), without it egl, and glfw on macOS.
"""

import atexit
import importlib
import os
import sys
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from jepawm.envs.pointmaze_dynamics import (
    PAPER_PHYSICS,
    PointMazePhysics,
    compile_maze,
    import_mujoco,
)
from jepawm.errors import UserError

_BACKENDS = ("egl", "osmesa", "glfw")
_MAX_GEOMETRIES = 100


@dataclass(frozen=True, kw_only=True)
class PointMazeView:
    """How the maze is looked at; a change of any of these changes the pictures."""

    distance: float = 6.4
    """Height of the camera above the middle of the maze, in metres; its field of view is 45 degrees."""
    shadows: bool = False
    """Whether shadows are drawn."""
    reflections: bool = False
    """Whether reflections are drawn."""
    num_samples: int = 4
    """Samples per pixel (multisampling); 0 leaves edges jagged."""


DEFAULT_VIEW = PointMazeView()
"""The whole maze, cheap to draw."""


def render_pointmaze(
    states: Float[np.ndarray, "*b 4"],
    image_size: int,
    *,
    view: PointMazeView = DEFAULT_VIEW,
    physics: PointMazePhysics = PAPER_PHYSICS,
) -> UInt8[Tensor, "*b 3 height width"]:
    """Draw states `[*b, 4]`; x points to the right and y up.

    Returns uint8 images `[*b, 3, image_size, image_size]`; the target is not marked.

    Raises:
        UserError: if no OpenGL backend works.
    """
    flat = states.reshape(-1, states.shape[-1])
    frames = np.empty((len(flat), 3, image_size, image_size), dtype=np.uint8)
    if len(flat):
        renderer = _renderer(image_size, view, physics)
        for index, state in enumerate(flat):
            frames[index] = renderer.draw(state).transpose(2, 0, 1)
    return torch.from_numpy(frames.reshape(*states.shape[:-1], 3, image_size, image_size))


@cache
def _renderer(
    image_size: int, view: PointMazeView, physics: PointMazePhysics
) -> "_PointMazeRenderer":
    return _PointMazeRenderer(image_size, view, physics)


class _PointMazeRenderer:
    """An OpenGL context with the maze in it."""

    def __init__(self, image_size: int, view: PointMazeView, physics: PointMazePhysics) -> None:
        self._engine = import_mujoco()
        engine = self._engine
        self._model = compile_maze(physics)
        self._model.vis.quality.offsamples = view.num_samples
        self._model.vis.global_.offwidth = self._model.vis.global_.offheight = image_size
        self._data = engine.MjData(self._model)
        self._gl = _open_context(image_size)
        self._gl.make_current()
        self._context = engine.MjrContext(self._model, engine.mjtFontScale.mjFONTSCALE_100.value)
        atexit.register(self._close)  # before mujoco ends its display, which it registered earlier
        engine.mjr_setBuffer(engine.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._scene = engine.MjvScene(self._model, maxgeom=_MAX_GEOMETRIES)
        self._scene.flags[engine.mjtRndFlag.mjRND_SHADOW] = view.shadows
        self._scene.flags[engine.mjtRndFlag.mjRND_REFLECTION] = view.reflections
        self._options = engine.MjvOption()
        self._camera = engine.MjvCamera()
        middle = (len(physics.maze) + 1) / 2, (len(physics.maze[0]) + 1) / 2
        self._camera.lookat[:] = (*middle, 0.0)
        self._camera.distance = view.distance
        self._camera.azimuth, self._camera.elevation = 90.0, -90.0
        self._viewport = engine.MjrRect(0, 0, image_size, image_size)
        self._frame = np.empty((image_size, image_size, 3), dtype=np.uint8)

    def draw(self, state: Float[np.ndarray, " 4"]) -> UInt8[np.ndarray, "S S 3"]:
        """Draw one state; the next call overwrites the result."""
        engine = self._engine
        self._data.qpos[:] = state[:2]
        engine.mj_kinematics(self._model, self._data)
        engine.mjv_updateScene(
            self._model,
            self._data,
            self._options,
            None,
            self._camera,
            engine.mjtCatBit.mjCAT_ALL.value,
            self._scene,
        )
        self._gl.make_current()
        engine.mjr_render(self._viewport, self._scene, self._context)
        engine.mjr_readPixels(self._frame, None, self._viewport, self._context)
        return self._frame[::-1]  # OpenGL's rows begin at the bottom

    def _close(self) -> None:
        self._gl.make_current()
        self._context.free()
        self._gl.free()


def _open_context(image_size: int):  # noqa: ANN202 - mujoco's GLContext; mujoco may be missing
    """Open an OpenGL context of the chosen backend."""
    default = "glfw" if sys.platform == "darwin" else "egl"
    backend = os.environ.get("MUJOCO_GL", "").lower() or default
    if backend not in _BACKENDS:
        raise UserError(
            f"MUJOCO_GL={backend} cannot draw pictures; set it to one of {', '.join(_BACKENDS)}"
        )
    try:
        return importlib.import_module(f"mujoco.{backend}").GLContext(image_size, image_size)
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        raise UserError(
            f"PointMaze cannot draw its pictures: the OpenGL backend {backend} does not work "
            f"({type(error).__name__}: {error}); install it (Debian, Ubuntu: apt-get install "
            "libegl1 libgl1 libgl1-mesa-dri libosmesa6) or choose another: MUJOCO_GL=egl or "
            "MUJOCO_GL=osmesa"
        ) from error
