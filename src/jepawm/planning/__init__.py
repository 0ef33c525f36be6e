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
    {
        "latent_distance": "jepawm.planning.objectives:LatentDistance",
        "goal": "jepawm.planning.objectives:LatentDistance",
        "action_size": "jepawm.planning.terms.actions:ActionSize",
        "crop": "jepawm.planning.terms.crop:Crop",
        "discounted": "jepawm.planning.terms.steps:Discounted",
        "in_sequence": "jepawm.planning.terms.sequence:InSequence",
        "keep_out": "jepawm.planning.terms.states:KeepOut",
        "reward": "jepawm.planning.terms.reward:Reward",
        "smoothness": "jepawm.planning.terms.actions:Smoothness",
        "state_goal": "jepawm.planning.terms.states:StateGoal",
        "terminal": "jepawm.planning.terms.steps:Terminal",
        "text": "jepawm.planning.terms.text:TextDistance",
        "weighted_sum": "jepawm.planning.terms.composition:WeightedSum",
    },
    rule=configuration("__call__"),
)
"""Objectives by name; each is a frozen dataclass that is its own configuration."""

__all__ = ["OBJECTIVES", "PLANNERS"]
