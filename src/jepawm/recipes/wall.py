"""Wall: one learned token for the whole image, trained in minutes on two CPU cores."""

from dataclasses import replace

from jepawm.recipes.small import SMALL

WALL = replace(SMALL, name="wall", env="wall")
"""The position of the dot tells all (no velocity)."""
