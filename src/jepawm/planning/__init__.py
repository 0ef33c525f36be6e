"""Planners, all behind one protocol, and the objectives and rollouts that they minimise over."""

from jepawm.registry import Registry, configuration

PLANNERS = Registry(
    "planner",
    {
        "adam": "jepawm.planning.gradient:Adam",
        "best_of": "jepawm.planning.best_of:BestOf",
        "cem": "jepawm.planning.cem:CEM",
        "cma": "jepawm.planning.ask_tell:CMAES",
        "gd": "jepawm.planning.gradient:GradientDescent",
        "hybrid": "jepawm.planning.hybrid:Hybrid",
        "icem": "jepawm.planning.icem:ICEM",
        "mppi": "jepawm.planning.mppi:MPPI",
        "nevergrad": "jepawm.planning.ask_tell:Nevergrad",
        "random_shooting": "jepawm.planning.random_shooting:RandomShooting",
        "reference_adam": "jepawm.planning.reference_gradient:ReferenceAdam",
        "reference_gd": "jepawm.planning.reference_gradient:ReferenceGD",
    },
    rule=configuration("plan", "needs_gradients"),
)
"""Planners by name; each is a frozen dataclass that is its own configuration."""

OBJECTIVES = Registry(
    "objective",
    {"latent_distance": "jepawm.planning.objectives:LatentDistance"},
    rule=configuration("__call__"),
)
"""Objectives by name; each is a frozen dataclass that is its own configuration."""

__all__ = ["OBJECTIVES", "PLANNERS"]
