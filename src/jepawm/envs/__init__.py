"""Environments and the names under which the command line finds them."""

from jepawm.registry import Registry

ENVIRONMENTS = Registry(
    "environment",
    {
        "wall": "jepawm.envs.wall:WallBatch",
        "pusht": "jepawm.envs.pusht:PushTBatch",
        "pointmaze": "jepawm.envs.pointmaze:PointMazeBatch",
    },
)
"""Classes that satisfy `protocols.BatchedEnv`, built with `image_size`."""
