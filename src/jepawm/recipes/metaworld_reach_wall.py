"""Metaworld reach-wall: as `reach`, with a low wall between the hand and the goal."""

from dataclasses import replace

from jepawm.envs.metaworld.policy import reach_wall
from jepawm.recipes.metaworld_reach import METAWORLD_REACH

METAWORLD_REACH_WALL = replace(
    METAWORLD_REACH,
    name="metaworld_reach_wall",
    env="metaworld_reach_wall",
    data=replace(METAWORLD_REACH.data, policy=reach_wall()),
)
"""The wall is low and the goal behind it: the way leads over it, and plans of 30 steps see that far."""
