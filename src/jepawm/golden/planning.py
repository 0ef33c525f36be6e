"""Golden checks of the planning objective and of the cross-entropy method."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.agent import plan_length
from jepawm.contracts import Bounds, CostFn
from jepawm.golden.case import Comparison, GoldenCase, GoldenError, compare, exact
from jepawm.planning.cem import CEM, CEMStep
from jepawm.planning.objectives import LatentDistance, Metric, Reduction
from jepawm.types import Latent

Name = TypeVar("Name", bound=str)

_METRICS: dict[str, Metric] = {"L2": "l2", "L1": "l1", "repr_sim": "cos"}
_REDUCTIONS: dict[str, Reduction] = {"terminal": "terminal", "sum": "sum"}


def check_objectives(case: GoldenCase) -> list[Comparison]:
    """Compare costs named `<metric>/<alpha..., or visual_only>/<terminal or sum>`."""
    encodings = _as_candidates(case, "encodings")  # [B, 1, T]
    goals = _as_goals(case, "target", count=encodings.batch_shape[0])  # [B]
    actions = torch.zeros(*encodings.batch_shape, 1)
    comparisons: list[Comparison] = []
    for key in sorted(name for name in case.arrays if name.count("/") == 2):
        metric, weight, reduction = key.split("/")
        with_proprio = weight != "visual_only"
        objective = LatentDistance(
            metric=_choice(case, _METRICS, metric),
            reduction=_choice(case, _REDUCTIONS, reduction),
            proprio_weight=_weight(case, weight) if with_proprio else 0.0,
        )
        predicted = encodings if with_proprio else replace(encodings, proprio=None)
        goal = goals if with_proprio else replace(goals, proprio=None)
        got = objective(predicted, goal, actions)[:, 0]
        comparisons.append(compare(key, got, case.tensor(key), atol=case.atol, rtol=case.rtol))
    return comparisons


def check_cem(case: GoldenCase) -> list[Comparison]:
    """Repeat every iteration with the file's own noise, each from the one before."""
    planner = CEM(
        num_samples=case.option("num_samples", int),
        num_elites=case.option("num_elites", int),
        num_iterations=case.option("iterations", int),
        init_std=case.option("var_scale", float),
        momentum_mean=case.option("momentum_mean", float),
        momentum_std=case.option("momentum_std", float),
    )
    noise = case.tensor("noise").transpose(1, 2)  # [I, K, H, A]
    length = plan_length(case.option("horizon", int), case.optional("steps_left", int))
    width = case.option("action_dim", int)
    if noise.shape != (planner.num_iterations, planner.num_samples, length, width):
        raise GoldenError(f"{case.name}: noise {tuple(noise.shape)} does not fit the settings")
    cost, bounds = _cem_cost(case), _cem_bounds(case, width)
    state = planner.start(noise.new_zeros(1, length, width))
    comparisons: list[Comparison] = []
    for iteration, draws in enumerate(noise):
        step = planner.step(state, draws[None], cost=cost, bounds=bounds)
        state = step.state
        comparisons += _compare_step(case, iteration, step)
    returned = case.tensor("returned_actions")
    got = state.mean[0, : returned.shape[0]]
    comparisons.append(compare("returned_actions", got, returned, atol=case.atol, rtol=case.rtol))
    return comparisons


def _compare_step(case: GoldenCase, iteration: int, step: CEMStep) -> list[Comparison]:
    elite_cost = step.cost[0][step.elites[0]]
    found = {
        "samples": step.samples[0].transpose(0, 1),  # [H, K, A]
        "cost": step.cost[0],
        "mean": step.state.mean[0],
        "std": step.state.std[0],
        "best_cost": step.cost.amin(1)[0],
        "elite_cost_mean": elite_cost.mean(),
        "elite_cost_std": elite_cost.std(),
    }
    comparisons = [
        compare(
            f"{key}[{iteration}]",
            got,
            case.array(key)[iteration],
            atol=case.atol,
            rtol=case.rtol,
        )
        for key, got in found.items()
    ]
    elites = case.array("elite_indices_sorted")[iteration]
    comparisons.append(
        exact(f"elite_indices_sorted[{iteration}]", step.elites[0].sort().values, elites)
    )
    return comparisons


def _cem_cost(case: GoldenCase) -> CostFn:
    """Return the file's cost: the distance of the last state of a linear system to the goal."""
    start, goal, mixing = (case.tensor(name) for name in ("start", "goal", "mixing"))
    decay = case.option("state_decay", float)
    objective = LatentDistance(
        metric=_choice(case, _METRICS, case.option("objective", str)), proprio_weight=0.0
    )

    def cost(actions: Float[Tensor, "B K H A"]) -> Float[Tensor, "B K"]:
        state = start[:, None]  # [1, 1, C]
        for action in actions.unbind(2):  # [1, K, A]
            state = decay * state + action @ mixing
        predicted = Latent(tokens=state[:, :, None, None])  # [1, K, 1, 1, C]
        return objective(predicted, Latent(tokens=goal[:, None]), actions)

    return cost


def _cem_bounds(case: GoldenCase, width: int) -> Bounds | None:
    """Return symmetric bounds; a dimension that no list names is free."""
    norms = case.optional("max_norms", list)
    if norms is None:
        return None
    named = case.optional("max_norm_dims", list)
    if named is None:
        named = _dimensions_of(case, norms, width)
    high = torch.full((width,), float("inf"))
    for norm, dimensions in zip(norms, named, strict=True):
        high[dimensions] = norm
    return -high, high


def _dimensions_of(case: GoldenCase, norms: list[float], width: int) -> list[list[int]]:
    """Return the dimensions of norms without lists: one for all, or one for each dimension."""
    if len(norms) == 1:
        return [list(range(width))]
    if len(norms) == width:
        return [[dimension] for dimension in range(width)]
    raise GoldenError(f"{case.name}: {len(norms)} max_norms for {width} dimensions, no lists")


def _as_candidates(case: GoldenCase, prefix: str) -> Latent:
    """Read encodings `[T, B, ..., C]` as one candidate of `B` problems, `[B, K=1, H=T, N, C]`."""
    return _latent(case, prefix).map(lambda codes: codes.transpose(0, 1).unsqueeze(1))


def _as_goals(case: GoldenCase, prefix: str, *, count: int) -> Latent:
    """Read goals `[1, 1 or B, ..., C]` as `[B, N, C]`."""
    return _latent(case, prefix).map(lambda codes: codes[0].expand(count, -1, -1))


def _latent(case: GoldenCase, prefix: str) -> Latent:
    """Read `[T, B, ..., C]` as latents `[T, B]`; the axes between are tokens."""
    key = f"{prefix}_proprio"
    return Latent(
        tokens=case.tensor(f"{prefix}_visual").flatten(2, -2),
        proprio=case.tensor(key).flatten(2, -2) if key in case.arrays else None,
    )


def _weight(case: GoldenCase, text: str) -> float:
    if not text.startswith("alpha"):
        raise GoldenError(f"{case.name}: {text!r} is neither alpha... nor visual_only")
    return float(text.removeprefix("alpha"))


def _choice(case: GoldenCase, table: Mapping[str, Name], name: str) -> Name:
    if name not in table:
        raise GoldenError(f"{case.name}: {name!r} is none of {', '.join(table)}")
    return table[name]
