"""Environments and the names under which the command line finds them."""

from jepawm.registry import Registry

RECORDINGS = "recordings"
"""Stands for an environment where there are recordings and no simulator."""

ENVIRONMENTS = Registry(
    "environment",
    {
        "wall": "jepawm.envs.wall:WallBatch",
        "pusht": "jepawm.envs.pusht:PushTBatch",
        "pointmaze": "jepawm.envs.pointmaze:PointMazeBatch",
        "metaworld_reach": "jepawm.envs.metaworld:metaworld_reach",
        "metaworld_reach_wall": "jepawm.envs.metaworld:metaworld_reach_wall",
        "metaworld:TASK": "jepawm.envs.metaworld:metaworld",
        "gym:ID": "jepawm.envs.gymnasium_batch:gym",
        "robocasa:SUBTASK@FILE": "jepawm.envs.robocasa_env:robocasa",
        "robosuite:TASK": "jepawm.envs.robosuite_env:robosuite",
        "ogbench:ID": "jepawm.envs.gymnasium_batch:ogbench",
    },
)
"""What builds a `protocols.BatchedEnv` from `image_size`; families such as `metaworld:TASK` too."""

POLICIES = Registry(
    "collection policy",
    {
        "metaworld_reach": "jepawm.envs.metaworld_policy:MetaworldExplorer",
        "pointmaze": "jepawm.envs.pointmaze_policy:RandomPointMaze",
        "pusht": "jepawm.envs.pusht_policy:PushTReplays",
        "wall": "jepawm.envs.wall_policy:RandomWall",
    },
)
"""How each environment is explored, by the name of the environment: classes that satisfy
`protocols.CollectionPolicy`, built with their settings."""
