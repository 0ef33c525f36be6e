"""One small file per environment: the experiment that trains a model for it."""

from jepawm.registry import Registry

RECIPES = Registry(
    "recipe",
    {
        "metaworld_reach": "jepawm.recipes.metaworld_reach:METAWORLD_REACH",
        "pointmaze": "jepawm.recipes.pointmaze:POINTMAZE",
        "wall": "jepawm.recipes.wall:WALL",
    },
)
"""Experiments by name."""

__all__ = ["RECIPES"]
