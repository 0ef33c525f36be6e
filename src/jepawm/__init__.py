"""Train joint-embedding predictive world models and plan with them."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for type checkers; at run time `__getattr__` imports on first use
    from jepawm.agent import PlanningAgent
    from jepawm.errors import UserError
    from jepawm.evaluation.evaluate import evaluate
    from jepawm.evaluation.results import Results
    from jepawm.experiment import Experiment
    from jepawm.hub import load
    from jepawm.models.world_model import JEPAWorldModel
    from jepawm.normalizer import Normalizer
    from jepawm.planning.cem import CEM
    from jepawm.planning.objectives import LatentDistance
    from jepawm.planning.random_shooting import RandomShooting
    from jepawm.types import Context, Latent, Observation, Plan, Task, Trajectory

__version__ = "0.2.0"

# Where each public name lives; `import jepawm` itself is quick.
_HOMES = {
    "CEM": "jepawm.planning.cem",
    "Context": "jepawm.types",
    "Experiment": "jepawm.experiment",
    "JEPAWorldModel": "jepawm.models.world_model",
    "Latent": "jepawm.types",
    "LatentDistance": "jepawm.planning.objectives",
    "Normalizer": "jepawm.normalizer",
    "Observation": "jepawm.types",
    "Plan": "jepawm.types",
    "PlanningAgent": "jepawm.agent",
    "RandomShooting": "jepawm.planning.random_shooting",
    "Results": "jepawm.evaluation.results",
    "Task": "jepawm.types",
    "Trajectory": "jepawm.types",
    "UserError": "jepawm.errors",
    "evaluate": "jepawm.evaluation.evaluate",
    "load": "jepawm.hub",
}

__all__ = [
    "CEM",
    "Context",
    "Experiment",
    "JEPAWorldModel",
    "Latent",
    "LatentDistance",
    "Normalizer",
    "Observation",
    "Plan",
    "PlanningAgent",
    "RandomShooting",
    "Results",
    "Task",
    "Trajectory",
    "UserError",
    "evaluate",
    "load",
]


def __getattr__(name: str) -> object:
    """Import a public name on first use."""
    if name == "hub":  # `jepawm.hub.load` without importing the subpackage first
        return import_module("jepawm.hub")
    if name not in _HOMES:
        raise AttributeError(f"module 'jepawm' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
