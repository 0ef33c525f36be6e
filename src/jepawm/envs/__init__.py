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

POLICIES = Registry(
    "collection policy",
    {
        "pointmaze": "jepawm.envs.pointmaze_policy:RandomPointMaze",
        "pusht": "jepawm.envs.pusht_policy:PushTReplays",
        "wall": "jepawm.envs.wall_policy:RandomWall",
    },
)
"""How each environment is explored, by the name of the environment: classes that satisfy
`protocols.CollectionPolicy`, built with their settings."""
