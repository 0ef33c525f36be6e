"""Whether the cost ranks candidate plans as the true distance to the goal does: early, midway, at the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Simulator
from jepawm.diagnosis.problems import Problem, true_distances
from jepawm.evaluation.metrics import Difference, mean_interval, rank_correlation
from jepawm.normalizer import Normalizer
from jepawm.planning.cem import CEM
from jepawm.planning.sampling import clamp, draw_noise, take

GROUPS = ("random", "middle", "elite")
"""Candidates of the first iteration, of the middle one, and the elites of the last one."""


@dataclass(frozen=True, kw_only=True)
class CandidateGroup:
    """How cost and true distance of some candidates of a search go together, over tasks."""

    iteration: int
    """Iteration of the search that drew them, from 1."""
    candidates: int
    """Candidates of each task."""
    tasks: int
    """Tasks of which both cost and distance vary among the candidates; only these are correlated."""
    correlation: Difference | None
    """Mean rank correlation of cost and true distance over tasks, with its 95 % interval; None of fewer
    than two tasks."""
    distance: float
    """Mean true distance after a candidate."""
    cheapest: float
    """Mean true distance after the candidate of the lowest cost."""
    nearest: float
    """Mean true distance after the candidate that ends nearest: what a perfect cost would choose."""


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """How the cost ranks candidates of the planner of the paper, at the start of tasks."""

    tasks: int
    """Tasks that were planned."""
    planner: str
    """The search, with its settings."""
    start: float
    """Mean true distance at the start."""
    groups: Mapping[str, CandidateGroup]
    """Groups by name: `random`, `middle`, `elite`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedCandidates:
    """Candidates of some tasks."""

    start: Float[np.ndarray, " B"]
    """True distances at the start."""
    cost: Mapping[str, Float[np.ndarray, "B K"]]
    """Costs of each group."""
    distance: Mapping[str, Float[np.ndarray, "B K"]]
    """True distances after the candidates of each group."""


@torch.no_grad()
def rank_candidates(
    problem: Problem,
    env: Simulator,
    *,
    planner: CEM,
    normalizer: Normalizer,
    num_candidates: int,
    generator: torch.Generator,
) -> RankedCandidates:
    """Search plans, and carry out some candidates on the true dynamics.

    Args:
        problem: what is searched, for tasks that the environment is at the start of.
        env: the environment.
        planner: the search.
        normalizer: statistics of the training data.
        num_candidates: candidates of the first and the middle iteration that are carried out.
        generator: draws the candidates.
    """
    state = planner.start(clamp(problem.init[:, None], problem.bounds)[:, 0])
    chosen: dict[str, tuple[Tensor, Tensor]] = {}
    for iteration in range(planner.num_iterations):
        noise = draw_noise(problem.init, planner.num_samples, generator=generator)
        step = planner.step(state, noise, cost=problem.cost, bounds=problem.bounds)
        state = step.state
        drawn = step.samples[:, 1 : 1 + num_candidates], step.cost[:, 1 : 1 + num_candidates]
        if iteration == 0:
            chosen["random"] = drawn
        if iteration == planner.num_iterations // 2:
            chosen["middle"] = drawn
        if iteration == planner.num_iterations - 1:
            chosen["elite"] = take(step.samples, step.elites), step.cost.gather(1, step.elites)
    here = env.states()[:, None]  # [B, 1, S]
    return RankedCandidates(
        start=np.sqrt(env.goal_distance(here))[:, 0],
        cost={name: cost.double().cpu().numpy() for name, (_, cost) in chosen.items()},
        distance={
            name: true_distances(env, samples, normalizer=normalizer)
            for name, (samples, _) in chosen.items()
        },
    )


def summarize_candidates(found: Sequence[RankedCandidates], *, planner: CEM) -> Candidates:
    """Return how cost and distance go together over all tasks."""
    iterations = {
        "random": 1,
        "middle": planner.num_iterations // 2 + 1,
        "elite": planner.num_iterations,
    }
    start = np.concatenate([one.start for one in found])
    return Candidates(
        tasks=len(start),
        planner=repr(planner),
        start=float(start.mean()),
        groups={
            name: _group(
                np.concatenate([one.cost[name] for one in found]),
                np.concatenate([one.distance[name] for one in found]),
                iteration=iterations[name],
            )
            for name in GROUPS
        },
    )


def _group(
    cost: Float[np.ndarray, "n K"], distance: Float[np.ndarray, "n K"], *, iteration: int
) -> CandidateGroup:
    pairs = zip(cost, distance, strict=True)
    ranked = [one for one in (rank_correlation(*pair) for pair in pairs) if one is not None]
    cheapest = distance[np.arange(len(cost)), cost.argmin(1)]
    return CandidateGroup(
        iteration=iteration,
        candidates=cost.shape[1],
        tasks=len(ranked),
        correlation=mean_interval(np.array(ranked)) if len(ranked) > 1 else None,
        distance=float(distance.mean()),
        cheapest=float(cheapest.mean()),
        nearest=float(distance.min(1).mean()),
    )
