"""Pictures of PointMaze from straight above, drawn by MuJoCo off screen."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from jepawm.envs.mujoco_engine import OffscreenRenderer, import_mujoco
from jepawm.envs.pointmaze.dynamics import PAPER_PHYSICS, PointMazePhysics, compile_maze


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
    """The maze, a camera above it, and what draws them."""

    def __init__(self, image_size: int, view: PointMazeView, physics: PointMazePhysics) -> None:
        self._engine = import_mujoco("PointMaze")
        self._model = compile_maze(physics)
        self._data = self._engine.MjData(self._model)
        self._renderer = OffscreenRenderer(
            self._model,
            image_size,
            environment="PointMaze",
            num_samples=view.num_samples,
            shadows=view.shadows,
            reflections=view.reflections,
        )
        self._camera = self._engine.MjvCamera()
        middle = (len(physics.maze) + 1) / 2, (len(physics.maze[0]) + 1) / 2
        self._camera.lookat[:] = (*middle, 0.0)
        self._camera.distance = view.distance
        self._camera.azimuth, self._camera.elevation = 90.0, -90.0

    def draw(self, state: Float[np.ndarray, " 4"]) -> UInt8[np.ndarray, "S S 3"]:
        """Draw one state; the next call overwrites the result."""
        self._data.qpos[:] = state[:2]
        self._engine.mj_kinematics(self._model, self._data)
        return self._renderer.draw(self._data, self._camera)[::-1]
