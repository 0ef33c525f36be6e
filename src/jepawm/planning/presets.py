"""Planners with settings that are known to do well, by name; docs/plan.md has the figures."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from jepawm.errors import UserError

if TYPE_CHECKING:  # at run time each preset imports its own: help lists names without torch
    from jepawm.contracts import Planner


def find_preset(name: str, *, frameskip: int) -> "Planner":
    """Return the planner of the preset called `name` for blocks of `frameskip` actions."""
    if name not in _PRESETS:
        raise UserError(f"unknown preset {name!r} (known: {', '.join(preset_names())})")
    return _PRESETS[name](frameskip)


def preset_names() -> list[str]:
    """List the presets."""
    return list(_PRESETS)


def _paper(_frameskip: int) -> "Planner":
    from jepawm.planning.cem import CEM

    return CEM()


def _fast(_frameskip: int) -> "Planner":
    from jepawm.planning.gradient import FAST

    return FAST


def _direct(_frameskip: int) -> "Planner":
    from jepawm.planning.best_of import BestOf

    return BestOf(num_proposals=1, verify=False)


def _propose(_frameskip: int) -> "Planner":
    from jepawm.planning.best_of import BestOf

    return BestOf(num_proposals=4, num_refined=2, refine_above=0.01, poor_above=0.5)


def _hybrid(frameskip: int) -> "Planner":
    from jepawm.planning.gradient import GradientDescent
    from jepawm.planning.hybrid import Hybrid
    from jepawm.planning.icem import ICEM

    return Hybrid(
        sampler=ICEM(num_samples=128, num_iterations=4, init_std=0.5, action_repeat=frameskip),
        refiner=GradientDescent(init_std=0.3),
    )


_PRESETS: dict[str, Callable[[int], "Planner"]] = {
    "paper": _paper,
    "direct": _direct,
    "propose": _propose,
    "fast": _fast,
    "hybrid": _hybrid,
}
