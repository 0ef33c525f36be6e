"""Environments and the names under which the command line finds them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from jepawm.registry import Registry, configuration, function

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
    },
    rule=function,
)
"""What builds a `contracts.Env` (mostly a `Simulator`) from `image_size`; families such as `metaworld:TASK` too."""

POLICIES = Registry(
    "collection_policy",
    {
        "metaworld_reach": "jepawm.envs.metaworld.policy:MetaworldExplorer",
        "pointmaze": "jepawm.envs.pointmaze.policy:RandomPointMaze",
        "pusht": "jepawm.envs.pusht.policy:PushTReplays",
        "wall": "jepawm.envs.wall.policy:RandomWall",
    },
    rule=configuration("script"),
)
"""How each environment is explored, by the name of the environment: classes that satisfy
`contracts.CollectionPolicy`, built with their settings."""


def build_env(name: str, *, image_size: int) -> "Env":
    """Build the environment called `name`, whose images have `image_size` pixels to a side."""
    build = cast("Callable[..., Env]", ENVIRONMENTS.get(name))
    return build(image_size=image_size)
