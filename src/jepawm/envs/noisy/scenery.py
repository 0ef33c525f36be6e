"""What disturbs a camera: discs that move across the picture, and light that changes.

Everything is a function of a seed and of time, so pictures repeat whatever was asked for before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

_NUM_DISCS = 4
_RADIUS = (0.05, 0.1)  # of a disc, in sides of the picture
_SPEED = (0.004, 0.02)  # of a disc, in sides of the picture for each environment step
_EDGE = 0.015  # over which a disc fades out, in sides of the picture
_PERIOD = (15.0, 60.0)  # of the light, in environment steps
_BRIGHTNESS, _TINT, _SHADE = 0.25, 0.1, 0.15  # largest changes of the light, at strength 1
_LATEST = 10_000.0  # when the picture of a goal was taken at the latest, in environment steps


@dataclass(frozen=True, kw_only=True, eq=False)
class Scenery:
    """What disturbs the pictures of `B` copies; `M` discs each."""

    start: Float[np.ndarray, "B M 2"]
    """Where discs are at time 0: across and down, in sides of the picture."""
    velocity: Float[np.ndarray, "B M 2"]
    """How they move, in sides of the picture for each environment step."""
    radius: Float[np.ndarray, "B M"]
    """Their radius, in sides of the picture."""
    color: Float[np.ndarray, "B M 3"]
    """Their colour, 0 to 255."""
    rate: Float[np.ndarray, "B 5"]
    """How fast the light changes, in radians for each environment step: its brightness, the tint of
    red, green and blue, the direction of the shade."""
    phase: Float[np.ndarray, "B 5"]
    """Where these cycles are at time 0, in radians."""
    goal_time: Float[np.ndarray, " B"]
    """When the pictures of the goals are taken, in environment steps: long before or after."""


def draw_scenery(seeds: Sequence[int]) -> Scenery:
    """Draw what disturbs the pictures of each copy; a copy depends on its own seed alone."""
    drawn = [_draw(np.random.default_rng([seed, 0])) for seed in seeds]
    names = Scenery.__dataclass_fields__
    return Scenery(**{name: np.stack([one[name] for one in drawn]) for name in names})


def disturb_pictures(
    pixels: UInt8[np.ndarray, "B 3 height width"],
    scenery: Scenery,
    *,
    time: Float[np.ndarray, " B"],
    strength: float,
) -> UInt8[np.ndarray, "B 3 height width"]:
    """Return the pictures `[B, 3, Hpx, Wpx]` as they look at `time` `[B]`, in environment steps.

    `strength` 0 leaves them as they are; at 1 discs are opaque and the light changes most.
    """
    height, width = pixels.shape[-2:]
    down, across = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    seen = pixels.astype(np.float64)
    for disc in range(scenery.radius.shape[1]):
        place = _bounce(scenery.start[:, disc] + scenery.velocity[:, disc] * time[:, None])
        square = (across - place[:, :1])[:, None] ** 2 + (down - place[:, 1:])[:, :, None] ** 2
        inside = (scenery.radius[:, disc, None, None] - np.sqrt(square)) / _EDGE + 0.5
        cover = strength * inside.clip(0.0, 1.0)[:, None]  # [B, 1, Hpx, Wpx]
        seen += cover * (scenery.color[:, disc, :, None, None] - seen)
    seen *= 1.0 + strength * _light(scenery, time, down, across)
    return np.rint(seen).clip(0, 255).astype(np.uint8)


def _draw(generator: np.random.Generator) -> dict[str, np.ndarray]:
    angle = generator.uniform(0.0, 2 * np.pi, _NUM_DISCS)
    speed = generator.uniform(*_SPEED, (_NUM_DISCS, 1))
    return {
        "start": generator.uniform(0.0, 2.0, (_NUM_DISCS, 2)),
        "velocity": speed * np.stack([np.cos(angle), np.sin(angle)], axis=-1),
        "radius": generator.uniform(*_RADIUS, _NUM_DISCS),
        "color": generator.uniform(0.0, 255.0, (_NUM_DISCS, 3)),
        "rate": 2 * np.pi / generator.uniform(*_PERIOD, 5),
        "phase": generator.uniform(0.0, 2 * np.pi, 5),
        "goal_time": generator.uniform(0.0, _LATEST, ()),
    }


def _bounce(path: Float[np.ndarray, "B 2"]) -> Float[np.ndarray, "B 2"]:
    """Fold straight paths into the picture: they turn round at its borders."""
    return 1.0 - np.abs(1.0 - path % 2.0)


def _light(
    scenery: Scenery,
    time: Float[np.ndarray, " B"],
    down: Float[np.ndarray, " height"],
    across: Float[np.ndarray, " width"],
) -> Float[np.ndarray, "B 3 height width"]:
    """Return the change of the light, as a fraction of what is seen."""
    cycle = scenery.rate * time[:, None] + scenery.phase  # [B, 5]
    waves = np.sin(cycle)
    color = _BRIGHTNESS * waves[:, :1] + _TINT * waves[:, 1:4]  # [B, 3]
    rows = np.sin(cycle[:, 4:]) * (2 * down - 1)  # [B, Hpx]
    columns = np.cos(cycle[:, 4:]) * (2 * across - 1)  # [B, Wpx]
    shade = _SHADE * (rows[:, :, None] + columns[:, None])  # [B, Hpx, Wpx]
    return color[:, :, None, None] + shade[:, None]
