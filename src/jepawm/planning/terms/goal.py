"""The distance to the goal under the name that it has in a sum: `GoalDistance() + 0.2 * Reward()`."""

from jepawm.planning.objectives import LatentDistance

GoalDistance = LatentDistance
"""The same class."""

__all__ = ["GoalDistance"]
