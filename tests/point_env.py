"""Environments that people write: a point on a plane, and what may go wrong with one.

Registered at import: `gym:point_env:Point-v0` finds it.
"""

import gymnasium
import numpy as np
from gymnasium import spaces


class Point(gymnasium.Env):
    """A point that moves by its actions."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None):
        self.render_mode = render_mode
        self.observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = spaces.Box(-0.1, 0.1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-0.8, 0.8, 2).astype(np.float32)
        return self.position.copy(), {}

    def step(self, action):
        self.position = np.clip(self.position + action, -1, 1).astype(np.float32)
        return self.position.copy(), 0.0, False, False, {}

    def render(self):
        frame = np.full((32, 32, 3), 255, np.uint8)
        x, y = ((self.position + 1) / 2 * 28).astype(int)
        frame[y : y + 4, x : x + 4] = (200, 30, 30)
        return frame


class Short(Point):
    """Its episodes end where the point has gone far to the right."""

    def step(self, action):
        obs, reward, _, _, info = super().step(action)
        return obs, reward, bool(obs[0] > 0.5), False, info


class OneStep(Point):
    """The first step ends the episode."""

    def step(self, action):
        return (*super().step(action)[:2], True, False, {})


class Still(Point):
    """Actions change nothing."""

    def step(self, action):
        return self.position.copy(), 0.0, False, False, {}


class Broken(Point):
    """Raises when it moves."""

    def step(self, action):
        raise ValueError("motor 3 is not calibrated")


class BrokenStart(Point):
    """Raises when it starts."""

    def reset(self, *, seed=None, options=None):
        raise RuntimeError("no connection to the arm")


class FourValues(Point):
    """Steps as before Gymnasium 0.26."""

    def step(self, action):
        return super().step(action)[0], 0.0, False, {}


class NoSeed(Point):
    """Resets as before Gymnasium 0.26."""

    def reset(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().reset()[0]


class OldGym:
    """No Gymnasium environment at all."""

    observation_space = spaces.Box(-1, 1, (2,))
    action_space = spaces.Box(-1, 1, (2,))
    metadata: dict = {}  # noqa: RUF012
    spec = None

    def reset(self):
        return np.zeros(2)


class NoRender(Point):
    """Draws nothing."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def render(self):
        raise NotImplementedError


class Unseeded(Point):
    """Starts anywhere, whatever the seed."""

    count = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        Unseeded.count += 1
        self.position = np.full(2, Unseeded.count / 1000, np.float32)
        return self.position.copy(), {}


class Drawing(Point):
    """Draws in some other way."""

    def __init__(self, render_mode: str | None = None, how: str = "floats"):
        super().__init__(render_mode)
        self.how = how

    def render(self):
        frame = super().render()
        return {
            "floats": frame / 255.0,
            "floats of levels": frame.astype(np.float32),
            "rgba": np.concatenate([frame, frame[..., :1]], axis=-1),
            "grey": frame[..., 0],
            "list": [frame],
            "none": None,
            "deep": frame.astype(np.uint16) * 257,
            "whole numbers": frame.astype(np.int64),
        }[self.how]


class TextObservations(Point):
    """Observes a text."""

    def __init__(self, render_mode: str | None = None):
        super().__init__(render_mode)
        self.observation_space = spaces.Sequence(spaces.Box(-1, 1, (2,)))

    def reset(self, *, seed=None, options=None):
        return (super().reset(seed=seed)[0],), {}


for _kind in list(globals().values()):
    if isinstance(_kind, type) and _kind.__module__ == __name__:
        gymnasium.register(f"{_kind.__name__}-v0", entry_point=_kind, max_episode_steps=40)
