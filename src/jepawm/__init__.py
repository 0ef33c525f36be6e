"""Train joint-embedding predictive world models and plan with them."""

from importlib import import_module
from typing import TYPE_CHECKING

from jepawm.gym_ids import register_with_gymnasium

if TYPE_CHECKING:  # for type checkers; at run time `__getattr__` imports on first use
    from jepawm.agent import AgentConfig, PlanningAgent
    from jepawm.api import register, train
    from jepawm.collection import collect
    from jepawm.contracts import Env, Script, Simulator
    from jepawm.controller import Controller
    from jepawm.envs.noisy.env import make_noisy
    from jepawm.errors import UserError
    from jepawm.evaluation.evaluate import evaluate
    from jepawm.evaluation.results import Results
    from jepawm.experiment import DataConfig, Experiment
    from jepawm.hub import load
    from jepawm.models.encoders import EncoderConfig
    from jepawm.models.frozen.encoder import FrozenEncoderConfig, SmallViTConfig, TimmEncoderConfig
    from jepawm.models.predictor import PredictorConfig
    from jepawm.models.world_model import JEPAWorldModel
    from jepawm.normalizer import Normalizer
    from jepawm.planning.ask_tell import CMAES, Nevergrad
    from jepawm.planning.cem import CEM
    from jepawm.planning.gradient import Adam, GradientDescent
    from jepawm.planning.hybrid import Hybrid
    from jepawm.planning.icem import ICEM
    from jepawm.planning.mppi import MPPI
    from jepawm.planning.objectives import LatentDistance
    from jepawm.planning.random_shooting import RandomShooting
    from jepawm.planning.terms.actions import ActionSize, Smoothness
    from jepawm.planning.terms.composition import WeightedSum
    from jepawm.planning.terms.crop import Crop
    from jepawm.planning.terms.goal import GoalDistance
    from jepawm.planning.terms.reward import Reward
    from jepawm.planning.terms.sequence import InSequence
    from jepawm.planning.terms.states import KeepOut, StateGoal
    from jepawm.planning.terms.steps import Discounted, Terminal
    from jepawm.planning.terms.text import TextDistance
    from jepawm.protocol import Protocol
    from jepawm.real_time import ControllerConfig
    from jepawm.recipes.metaworld_reach import METAWORLD_REACH
    from jepawm.recipes.metaworld_reach_wall import METAWORLD_REACH_WALL
    from jepawm.recipes.paper_size import (
        DINO_WM_DROID,
        DINO_WM_METAWORLD,
        DINO_WM_POINTMAZE,
        DINO_WM_PUSHT,
        DINO_WM_WALL,
        JEPA_WM_DROID,
        JEPA_WM_METAWORLD,
        JEPA_WM_POINTMAZE,
        JEPA_WM_PUSHT,
        JEPA_WM_WALL,
        VJEPA2_AC_DROID,
    )
    from jepawm.recipes.pointmaze import POINTMAZE
    from jepawm.recipes.pusht import PUSHT
    from jepawm.recipes.robot import ROBOT
    from jepawm.recipes.wall import WALL
    from jepawm.runs.serve.client import RemotePlans
    from jepawm.texts import Text
    from jepawm.types import Context, Latent, Observation, Plan, Task, Trajectory

__version__ = "0.2.0"

# Where each public name lives; `import jepawm` itself is quick.
_HOMES = {
    "ActionSize": "jepawm.planning.terms.actions",
    "Adam": "jepawm.planning.gradient",
    "AgentConfig": "jepawm.agent",
    "CEM": "jepawm.planning.cem",
    "CMAES": "jepawm.planning.ask_tell",
    "Context": "jepawm.types",
    "Controller": "jepawm.controller",
    "ControllerConfig": "jepawm.real_time",
    "Crop": "jepawm.planning.terms.crop",
    "DINO_WM_DROID": "jepawm.recipes.paper_size",
    "DINO_WM_METAWORLD": "jepawm.recipes.paper_size",
    "DINO_WM_POINTMAZE": "jepawm.recipes.paper_size",
    "DINO_WM_PUSHT": "jepawm.recipes.paper_size",
    "DINO_WM_WALL": "jepawm.recipes.paper_size",
    "DataConfig": "jepawm.experiment",
    "Discounted": "jepawm.planning.terms.steps",
    "EncoderConfig": "jepawm.models.encoders",
    "Env": "jepawm.contracts",
    "Experiment": "jepawm.experiment",
    "FrozenEncoderConfig": "jepawm.models.frozen.encoder",
    "GoalDistance": "jepawm.planning.terms.goal",
    "GradientDescent": "jepawm.planning.gradient",
    "Hybrid": "jepawm.planning.hybrid",
    "ICEM": "jepawm.planning.icem",
    "InSequence": "jepawm.planning.terms.sequence",
    "JEPAWorldModel": "jepawm.models.world_model",
    "JEPA_WM_DROID": "jepawm.recipes.paper_size",
    "JEPA_WM_METAWORLD": "jepawm.recipes.paper_size",
    "JEPA_WM_POINTMAZE": "jepawm.recipes.paper_size",
    "JEPA_WM_PUSHT": "jepawm.recipes.paper_size",
    "JEPA_WM_WALL": "jepawm.recipes.paper_size",
    "KeepOut": "jepawm.planning.terms.states",
    "Latent": "jepawm.types",
    "LatentDistance": "jepawm.planning.objectives",
    "METAWORLD_REACH": "jepawm.recipes.metaworld_reach",
    "METAWORLD_REACH_WALL": "jepawm.recipes.metaworld_reach_wall",
    "MPPI": "jepawm.planning.mppi",
    "Nevergrad": "jepawm.planning.ask_tell",
    "Normalizer": "jepawm.normalizer",
    "Observation": "jepawm.types",
    "POINTMAZE": "jepawm.recipes.pointmaze",
    "PUSHT": "jepawm.recipes.pusht",
    "Plan": "jepawm.types",
    "PlanningAgent": "jepawm.agent",
    "PredictorConfig": "jepawm.models.predictor",
    "Protocol": "jepawm.protocol",
    "ROBOT": "jepawm.recipes.robot",
    "RandomShooting": "jepawm.planning.random_shooting",
    "RemotePlans": "jepawm.runs.serve.client",
    "Results": "jepawm.evaluation.results",
    "Reward": "jepawm.planning.terms.reward",
    "Script": "jepawm.contracts",
    "Simulator": "jepawm.contracts",
    "SmallViTConfig": "jepawm.models.frozen.encoder",
    "Smoothness": "jepawm.planning.terms.actions",
    "StateGoal": "jepawm.planning.terms.states",
    "Task": "jepawm.types",
    "Terminal": "jepawm.planning.terms.steps",
    "Text": "jepawm.texts",
    "TextDistance": "jepawm.planning.terms.text",
    "TimmEncoderConfig": "jepawm.models.frozen.encoder",
    "Trajectory": "jepawm.types",
    "UserError": "jepawm.errors",
    "VJEPA2_AC_DROID": "jepawm.recipes.paper_size",
    "WALL": "jepawm.recipes.wall",
    "WeightedSum": "jepawm.planning.terms.composition",
    "collect": "jepawm.collection",
    "evaluate": "jepawm.evaluation.evaluate",
    "load": "jepawm.hub",
    "make_noisy": "jepawm.envs.noisy.env",
    "register": "jepawm.api",
    "train": "jepawm.api",
}

__all__ = [
    "CEM",
    "CMAES",
    "DINO_WM_DROID",
    "DINO_WM_METAWORLD",
    "DINO_WM_POINTMAZE",
    "DINO_WM_PUSHT",
    "DINO_WM_WALL",
    "ICEM",
    "JEPA_WM_DROID",
    "JEPA_WM_METAWORLD",
    "JEPA_WM_POINTMAZE",
    "JEPA_WM_PUSHT",
    "JEPA_WM_WALL",
    "METAWORLD_REACH",
    "METAWORLD_REACH_WALL",
    "MPPI",
    "POINTMAZE",
    "PUSHT",
    "ROBOT",
    "VJEPA2_AC_DROID",
    "WALL",
    "ActionSize",
    "Adam",
    "AgentConfig",
    "Context",
    "Controller",
    "ControllerConfig",
    "Crop",
    "DataConfig",
    "Discounted",
    "EncoderConfig",
    "Env",
    "Experiment",
    "FrozenEncoderConfig",
    "GoalDistance",
    "GradientDescent",
    "Hybrid",
    "InSequence",
    "JEPAWorldModel",
    "KeepOut",
    "Latent",
    "LatentDistance",
    "Nevergrad",
    "Normalizer",
    "Observation",
    "Plan",
    "PlanningAgent",
    "PredictorConfig",
    "Protocol",
    "RandomShooting",
    "RemotePlans",
    "Results",
    "Reward",
    "Script",
    "Simulator",
    "SmallViTConfig",
    "Smoothness",
    "StateGoal",
    "Task",
    "Terminal",
    "Text",
    "TextDistance",
    "TimmEncoderConfig",
    "Trajectory",
    "UserError",
    "WeightedSum",
    "collect",
    "evaluate",
    "load",
    "make_noisy",
    "register",
    "train",
]


register_with_gymnasium()


def __getattr__(name: str) -> object:
    """Import a public name on first use."""
    if name == "hub":  # `jepawm.hub.load` without importing the subpackage first
        return import_module("jepawm.hub")
    if name not in _HOMES:
        raise AttributeError(f"module 'jepawm' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
