"""Environments and the names under which the command line finds them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from jepawm.errors import UserError, plain_text
from jepawm.registry import Registry, configuration, function, function_or

if TYPE_CHECKING:  # at run time it is not needed: lists of names do not wait for torch
    from jepawm.contracts import Env

RECORDINGS = "recordings"
"""Stands for an environment where there are recordings and no simulator."""

ENVIRONMENTS = Registry(
    "environment",
    {
        "wall": "jepawm.envs.wall.env:WallBatch",
        "pusht": "jepawm.envs.pusht.env:PushTBatch",
        "pointmaze": "jepawm.envs.pointmaze.env:PointMazeBatch",
        "metaworld_reach": "jepawm.envs.metaworld.env:metaworld_reach",
        "metaworld_reach_wall": "jepawm.envs.metaworld.env:metaworld_reach_wall",
        "metaworld:TASK": "jepawm.envs.metaworld.env:metaworld",
        "gym:ID": "jepawm.envs.gymnasium.batch:gym",
        "robocasa:SUBTASK@FILE": "jepawm.envs.gymnasium.robocasa:robocasa",
        "robosuite:TASK": "jepawm.envs.gymnasium.robosuite:robosuite",
        "ogbench:ID": "jepawm.envs.gymnasium.batch:ogbench",
        "lewm:TASK": "jepawm.envs.gymnasium.lewm:lewm",
        "noisy:ENV@STRENGTH": "jepawm.envs.noisy.env:noisy",
    },
    rule=function,
    wrappers=("noisy",),
)
"""What builds a `contracts.Env` (mostly a `Simulator`) from `image_size`; families such as `metaworld:TASK` too."""

POLICIES = Registry(
    "collection_policy",
    {
        "gym:ID": "jepawm.envs.gymnasium.policy:gym",
        "metaworld_reach": "jepawm.envs.metaworld.policy:MetaworldExplorer",
        "metaworld_reach_wall": "jepawm.envs.metaworld.policy:reach_wall",
        "pointmaze": "jepawm.envs.pointmaze.policy:RandomPointMaze",
        "ogbench:ID": "jepawm.envs.gymnasium.policy:ogbench",
        "pusht": "jepawm.envs.pusht.policy:PushTReplays",
        "random": "jepawm.envs.gymnasium.policy:RandomActions",
        "wall": "jepawm.envs.wall.policy:RandomWall",
    },
    rule=function_or(configuration("script")),
)
"""How each environment is explored, by the name of the environment: classes that satisfy
`contracts.CollectionPolicy`, built with their settings, or functions that return one."""


def build_env(name: str, *, image_size: int) -> "Env":
    """Build the environment called `name`, whose images have `image_size` pixels to a side."""
    build = cast("Callable[..., Env]", ENVIRONMENTS.get(name))
    return build(image_size=image_size)


def split_noisy(member: str) -> tuple[str, float]:
    """Split `ENV@STRENGTH`, what follows `noisy:` in a name, into the environment and a number."""
    name, at, text = member.rpartition("@")
    try:
        strength = float(text) if at and name else None
    except ValueError:
        strength = None
    if strength is None or not 0.0 <= strength <= 1.0:
        raise UserError(
            f"environment {plain_text(f'noisy:{member}')!r} names no environment and strength; "
            "write noisy:wall@0.5, with a strength from 0 (no noise) to 1"
        )
    if name.partition(":")[0] == "noisy":
        raise UserError(
            f"environment {plain_text(f'noisy:{member}')!r} is noisy twice; give one strength"
        )
    return name, strength


def without_noise(name: str) -> str:
    """Return the name of the environment that is made noisy; others stay as they are."""
    family, _, member = name.partition(":")
    return split_noisy(member)[0] if family == "noisy" and member else name
