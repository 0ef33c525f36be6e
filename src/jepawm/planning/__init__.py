"""Planners, all behind one protocol, and the objectives and rollouts that they minimise over."""

from jepawm.registry import Registry

PLANNERS = Registry(
    "planner",
    {
        "cem": "jepawm.planning.cem:CEM",
        "random_shooting": "jepawm.planning.random_shooting:RandomShooting",
    },
)
"""Planners by name; each is a frozen dataclass that is its own configuration."""

__all__ = ["PLANNERS"]
