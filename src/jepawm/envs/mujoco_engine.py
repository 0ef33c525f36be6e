"""MuJoCo and its off-screen pictures, for every environment that runs on it.

The OpenGL backend is `$MUJOCO_GL` (egl, osmesa or glfw), without it egl, and glfw on macOS.
"""

import atexit
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np
from jaxtyping import UInt8

from jepawm.errors import UserError, missing_extra

_BACKENDS = ("egl", "osmesa", "glfw")
_MAX_GEOMETRIES = 1000


def import_mujoco(environment: str, *, extra: str = "mujoco") -> ModuleType:
    """Import mujoco for an environment, whose name is for messages."""
    try:
        return importlib.import_module("mujoco")
    except ModuleNotFoundError as error:
        raise missing_extra(environment, error, package="mujoco", extra=extra) from error
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        raise UserError(
            f"mujoco does not load ({error}); if MUJOCO_GL is set, the OpenGL library that it "
            "names may be missing: unset it, or on Debian run: apt-get install libegl1 "
            "libgl1-mesa-dri libosmesa6"
        ) from error


class OffscreenRenderer:
    """An OpenGL context that draws one model, off screen."""

    def __init__(
        self,
        model,  # noqa: ANN001 - mujoco.MjModel; mujoco may be missing
        image_size: int,
        *,
        environment: str,
        num_samples: int,
        shadows: bool,
        reflections: bool,
    ) -> None:
        """Take the model, the side of the pictures in pixels and what costs time."""
        self._engine = engine = import_mujoco(environment)
        self._model = model
        model.vis.quality.offsamples = num_samples
        model.vis.global_.offwidth = model.vis.global_.offheight = image_size
        self._gl = _open_context(image_size, environment)
        self._gl.make_current()
        self._context = engine.MjrContext(model, engine.mjtFontScale.mjFONTSCALE_100.value)
        atexit.register(self._close)  # before mujoco ends its display, which it registered earlier
        engine.mjr_setBuffer(engine.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._scene = engine.MjvScene(model, maxgeom=_MAX_GEOMETRIES)
        self._scene.flags[engine.mjtRndFlag.mjRND_SHADOW] = shadows
        self._scene.flags[engine.mjtRndFlag.mjRND_REFLECTION] = reflections
        self._options = engine.MjvOption()
        self._viewport = engine.MjrRect(0, 0, image_size, image_size)
        self._frame = np.empty((image_size, image_size, 3), dtype=np.uint8)

    def draw(self, data, camera) -> UInt8[np.ndarray, "size size 3"]:  # noqa: ANN001 - mujoco's
        """Draw data (mujoco.MjData, positions computed) as a camera (mujoco.MjvCamera) sees them.

        The first row is the bottom of the picture, as in OpenGL. The next call overwrites the
        result.
        """
        engine = self._engine
        everything = engine.mjtCatBit.mjCAT_ALL.value
        engine.mjv_updateScene(
            self._model, data, self._options, None, camera, everything, self._scene
        )
        self._gl.make_current()
        engine.mjr_render(self._viewport, self._scene, self._context)
        engine.mjr_readPixels(self._frame, None, self._viewport, self._context)
        return self._frame

    def _close(self) -> None:
        self._gl.make_current()
        self._context.free()
        self._gl.free()


def default_backend() -> str:
    """Return the OpenGL backend where `MUJOCO_GL` names none."""
    return "glfw" if sys.platform == "darwin" else "egl"


def no_backend(environment: str, backend: str, *, error: Exception) -> UserError:
    """Return what to say where an OpenGL backend does not draw."""
    return UserError(
        f"{environment} cannot draw its pictures: the OpenGL backend {backend} does not work "
        f"({type(error).__name__}: {error}); install it (Debian, Ubuntu: apt-get install "
        "libegl1 libgl1 libgl1-mesa-dri libosmesa6) or choose another: MUJOCO_GL=egl or "
        "MUJOCO_GL=osmesa"
    )


@contextmanager
def drawing_others(environment: str) -> Iterator[None]:
    """Let MuJoCo environments of others draw by our default backend, if nobody chose another.

    Gymnasium's try glfw first, which needs a display and says so only by a crash.
    """
    fatal = import_mujoco(environment).FatalError
    chosen = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = chosen or default_backend()
    try:
        yield
    except (ImportError, AttributeError, RuntimeError, OSError, fatal) as error:
        raise no_backend(environment, os.environ["MUJOCO_GL"], error=error) from error
    finally:
        if chosen is None:
            del os.environ["MUJOCO_GL"]
        else:
            os.environ["MUJOCO_GL"] = chosen


def _open_context(image_size: int, environment: str):  # noqa: ANN202 - mujoco's GLContext
    """Open an OpenGL context of the chosen backend."""
    backend = os.environ.get("MUJOCO_GL", "").lower() or default_backend()
    if backend not in _BACKENDS:
        raise UserError(
            f"MUJOCO_GL={backend} cannot draw pictures; set it to one of {', '.join(_BACKENDS)}"
        )
    try:
        return importlib.import_module(f"mujoco.{backend}").GLContext(image_size, image_size)
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        raise no_backend(environment, backend, error=error) from error
