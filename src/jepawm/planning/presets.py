"""Planners with settings that are known to do well, by name; docs/plan.md has the figures."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from jepawm.errors import UserError
from jepawm.proposals import VerifyConfig

if TYPE_CHECKING:  # at run time each preset imports its own: help lists names without torch
    from jepawm.contracts import Planner


def find_preset(name: str, *, frameskip: int, verify: VerifyConfig | None = None) -> "Planner":
    """Return the planner of the preset called `name` for blocks of `frameskip` actions.

    `verify` is what `propose` does with plans, where a proposer has its own settings.
    """
    if name not in _PRESETS:
        raise UserError(f"unknown preset {name!r} (known: {', '.join(preset_names())})")
    return _PRESETS[name](frameskip, verify or VerifyConfig())


def preset_names() -> list[str]:
    """List the presets."""
    return list(_PRESETS)


def _paper(_frameskip: int, _verify: VerifyConfig) -> "Planner":
    from jepawm.planning.cem import CEM

    return CEM()


def _direct(_frameskip: int, _verify: VerifyConfig) -> "Planner":
    from jepawm.planning.best_of import BestOf

    return BestOf(num_proposals=1, verify=False)


def _propose(_frameskip: int, verify: VerifyConfig) -> "Planner":
    from jepawm.planning.best_of import BestOf

    return BestOf(
        num_proposals=verify.num_proposals,
        num_refined=verify.num_refined,
        refine_above=verify.refine_above,
        refiner=replace(BestOf().refiner, num_iterations=verify.num_iterations),
        poor_above=verify.poor_above,
    )


def _fast(_frameskip: int, _verify: VerifyConfig) -> "Planner":
    from jepawm.planning.gradient import FAST

    return FAST


def _hybrid(frameskip: int, _verify: VerifyConfig) -> "Planner":
    from jepawm.planning.gradient import GradientDescent
    from jepawm.planning.hybrid import Hybrid
    from jepawm.planning.icem import ICEM

    return Hybrid(
        sampler=ICEM(num_samples=128, num_iterations=4, init_std=0.5, action_repeat=frameskip),
        refiner=GradientDescent(init_std=0.3),
    )


_PRESETS: dict[str, Callable[[int, VerifyConfig], "Planner"]] = {
    "paper": _paper,
    "direct": _direct,
    "propose": _propose,
    "fast": _fast,
    "hybrid": _hybrid,
}
