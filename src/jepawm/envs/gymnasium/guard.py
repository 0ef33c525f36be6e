"""What other people's Gymnasium environments raise or return, turned into messages."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from jaxtyping import Float, UInt8

from jepawm.envs.mujoco_engine import drawing_others
from jepawm.errors import UserError
from jepawm.registry import others_code

_OLD = "Gymnasium's reset takes a seed and returns two values, its step returns five"


class Guarded(gymnasium.Wrapper):
    """An environment whose faults are messages that name it and the line."""

    def __init__(self, env: gymnasium.Env) -> None:
        """Take the environment."""
        super().__init__(env)
        self._name = name_of(env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[object, dict[str, Any]]:
        """Reset it."""
        with others_code(f"reset of the environment {self._name!r} ({_OLD})"):
            obs, info = self.env.reset(seed=seed, options=options)
        return obs, info

    def step(self, action: object) -> tuple[object, float, bool, bool, dict[str, Any]]:
        """Apply one action."""
        with others_code(f"step of the environment {self._name!r} ({_OLD})"):
            obs, reward, terminated, truncated, info = self.env.step(action)
        return obs, float(reward), terminated, truncated, info

    def render(self) -> Any:  # noqa: ANN401 - whatever it draws
        """Draw it."""
        try:
            with others_code(f"render of the environment {self._name!r}"):
                return self._draw()
        except UserError as error:
            if isinstance(error.__cause__, gymnasium.error.DependencyNotInstalled):
                text = f"{self._name} cannot draw its pictures: {error.__cause__}"
                raise UserError(text) from error.__cause__
            raise

    def _draw(self) -> object:
        if not any("mujoco" in kind.__module__ for kind in type(self.env.unwrapped).__mro__):
            return self.env.render()
        with drawing_others(self._name):
            return self.env.render()


def name_of(env: gymnasium.Env) -> str:
    """Return how messages call an environment."""
    return env.spec.id if env.spec is not None else type(env.unwrapped).__name__


def make_guarded(make: Callable[[], gymnasium.Env]) -> Guarded:
    """Make an environment that draws; everything that keeps it from it is one message."""
    with others_code("making the environment"):
        env = make()
    if not isinstance(env, gymnasium.Env):
        raise UserError(
            f"{type(env).__name__} is no gymnasium.Env ({_OLD}); derive it from gymnasium.Env"
        )
    return Guarded(env)


def flatten(env: gymnasium.Env, obs: object) -> Float[np.ndarray, " S"]:
    """Return an observation as numbers `[S]`, float64."""
    space = env.observation_space
    if not space.is_np_flattenable:
        raise UserError(
            f"observations of {name_of(env)} are of the kind {space}, no rows of numbers; wrap the "
            "environment so that it observes a Box (gymnasium.ObservationWrapper)"
        )
    with others_code(f"an observation of {name_of(env)} does not fit its observation_space"):
        return np.asarray(spaces.flatten(space, obs), dtype=np.float64).ravel()


def picture(env: gymnasium.Env) -> UInt8[np.ndarray, "height width 3"]:
    """Return what the environment renders, levels from 0 to 255."""
    name, frame = name_of(env), env.render()
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[-1] != 3:
        shape = frame.shape if isinstance(frame, np.ndarray) else type(frame).__name__
        raise UserError(
            f"{name} renders {shape}, no rgb_array of height x width x 3; choose one that does"
        )
    whole = frame.dtype.kind in "iu" and frame.size and frame.min() >= 0 and frame.max() <= 255
    if not whole:
        raise UserError(
            f"{name} renders {frame.dtype} pictures from {frame.min():g} to {frame.max():g}; let "
            "render() return uint8, levels from 0 to 255"
        )
    return frame.astype(np.uint8, copy=False)
