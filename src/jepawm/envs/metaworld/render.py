"""Pictures of Metaworld from its camera `corner2`, moved closer and turned upright as in the paper."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, UInt8

from jepawm.envs.metaworld.simulator import MetaworldSimulator, Scene
from jepawm.envs.mujoco_engine import OffscreenRenderer, import_mujoco

_CAMERA = "corner2"


@dataclass(frozen=True, kw_only=True)
class MetaworldView:
    """How the table is looked at; a change of any of these changes the pictures."""

    position: tuple[float, float, float] = (0.75, 0.075, 0.7)
    """Place of the camera, in metres; its direction and its 60 degrees are Metaworld's."""
    supersampling: int = 2
    """Pixels drawn for each pixel of the picture, along each side; their mean is the pixel."""
    shadows: bool = False
    """Whether shadows are drawn, which takes ten times as long."""
    num_samples: int = 0
    """OpenGL's samples per pixel (multisampling), which cost more than supersampling."""


DEFAULT_VIEW = MetaworldView()
"""The paper's camera, cheap to draw."""


def draw_metaworld(
    task: str,
    scene: Scene,
    *,
    state: Float[np.ndarray, " S"],
    image_size: int,
    view: MetaworldView = DEFAULT_VIEW,
) -> UInt8[np.ndarray, "size size 3"]:
    """Draw one state of a task; the goal is a small red ball, as Metaworld draws it."""
    return _renderer(task, image_size, view).draw(scene, state)


@cache
def _renderer(task: str, image_size: int, view: MetaworldView) -> "_MetaworldRenderer":
    return _MetaworldRenderer(task, image_size, view)


class _MetaworldRenderer:
    """A task of its own, its camera, and what draws them."""

    def __init__(self, task: str, image_size: int, view: MetaworldView) -> None:
        self._engine = engine = import_mujoco("Metaworld", extra="metaworld")
        self._simulator = MetaworldSimulator(task)
        model = self._simulator.model
        camera = engine.mj_name2id(model, engine.mjtObj.mjOBJ_CAMERA.value, _CAMERA)
        model.cam_pos[camera] = view.position
        self._camera = engine.MjvCamera()
        self._camera.type = engine.mjtCamera.mjCAMERA_FIXED.value
        self._camera.fixedcamid = camera
        self._factor = view.supersampling
        self._size = image_size
        self._renderer = OffscreenRenderer(
            model,
            image_size * view.supersampling,
            environment="Metaworld",
            num_samples=view.num_samples,
            shadows=view.shadows,
            reflections=False,
        )

    def draw(
        self, scene: Scene, state: Float[np.ndarray, " S"]
    ) -> UInt8[np.ndarray, "size size 3"]:
        """Draw one state."""
        simulator, engine = self._simulator, self._engine
        simulator.pose(scene, state)
        engine.mj_kinematics(simulator.model, simulator.data)
        engine.mj_camlight(simulator.model, simulator.data)
        frame = self._renderer.draw(simulator.data, self._camera)
        # corner2 hangs upside down, so OpenGL's order of the rows is the upright one
        size, factor = self._size, self._factor
        blocks = frame.reshape(size, factor, size, factor, 3).sum((1, 3), dtype=np.uint32)
        return ((blocks + factor**2 // 2) // factor**2).astype(np.uint8)
