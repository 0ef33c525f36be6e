"""One call of a planner: evaluate candidates, remember the best, drop the unusable, watch the clock."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Bounds, CostFn
from jepawm.errors import UserError
from jepawm.planning.sampling import check_count, check_positive, check_problem, drop_unusable
from jepawm.types import Plan

logger = logging.getLogger(__name__)

FIRST_CHUNK = 1
"""Candidates of each problem that are evaluated before anything is known about their speed."""
GROWTH = 4
"""A chunk is at most this many times as large as the largest one before."""
RESERVE = 1.25
"""A chunk is begun only if there is time for this many of the fastest one so far."""
ENOUGH = 64
"""Candidates that an iteration evaluates if the whole time allows it, however short its share is: a
distribution that is fitted to fewer narrows around chance. There are fewer iterations then."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What ends a search."""

    num_iterations: int
    """Iterations at most."""
    patience: int = 0
    """Iterations without a lower cost in any problem that end the search; 0: never."""
    time_budget_s: float | None = None
    """Wall seconds after which the search returns what it has; None: no limit."""

    def check(self) -> None:
        """Refuse numbers that are out of range, by the names of a planner's fields."""
        check_count("num_iterations", self.num_iterations, least=1)
        check_count("patience", self.patience, least=0)
        if self.time_budget_s is not None:
            check_positive(time_budget_s=self.time_budget_s)


class Search:
    """The state of one search: what a planner has tried so far and how much it may still try."""

    def __init__(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        *,
        bounds: Bounds | None,
        limits: Limits,
    ) -> None:
        """Take the problem and its limits; the clock starts.

        Args:
            cost: cost of candidates.
            init: initial guess `[B, H, A]`; its horizon, device and dtype are the plan's.
            bounds: lowest and highest action.
            limits: what ends the search.
        """
        self._start = perf_counter()
        check_problem(init, bounds)
        self._cost = cost
        self._limits = limits
        self._chunks: list[tuple[int, float]] = []  # size and seconds of the chunks so far
        self._least_seconds = 0.0  # of any chunk or gradient
        self._iteration = self._idle = self._num_dropped = self._num_evaluated = 0
        self._history: list[Tensor] = []
        self._lowest = torch.full_like(init[:, 0, 0], float("inf"))  # [B]
        self._best = init

    def iterations(self) -> Iterator[int]:
        """Count iterations until their number, the time or the patience runs out."""
        for iteration in range(self._limits.num_iterations):
            out_of_time = self._left(1.0) < RESERVE * self._least_seconds
            if iteration and (out_of_time or 0 < self._limits.patience <= self._idle):
                return
            self._iteration = iteration
            yield iteration

    def evaluate(self, samples: Float[Tensor, "B K H A"]) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of candidates, infinite where one was dropped.

        Under a time budget an iteration ends with its share of the time: candidates that are left
        over get an infinite cost too.
        """
        if self._limits.time_budget_s is None:
            cost = self._chunk(samples)
        else:
            parts: list[Tensor] = []
            num_done, num_samples = 0, samples.shape[1]
            while size := min(self._affordable(num_done), num_samples - num_done):
                parts.append(self._chunk(samples[:, num_done : num_done + size]))
                num_done += size
            rest = samples.new_full((samples.shape[0], num_samples - num_done), float("inf"))
            cost = torch.cat([*parts, rest], dim=1)
        self._record(samples, cost)
        return cost

    def gradient(
        self, samples: Float[Tensor, "B K H A"]
    ) -> tuple[Float[Tensor, "B K H A"], Float[Tensor, "B K"]]:
        """Return the gradient of the cost of candidates, and the cost, as `evaluate` does.

        The gradient is 0 where a candidate was dropped or its gradient is not a finite number.
        """
        began = perf_counter()
        with torch.enable_grad():
            actions = samples.detach().requires_grad_()
            cost = self._cost(actions)
            if not cost.requires_grad:
                raise UserError(
                    "this planner follows gradients, and the cost gives none: the model or the "
                    "simulator behind it is not differentiable; choose a planner that samples, "
                    "such as cem"
                )
            (gradient,) = torch.autograd.grad(cost.sum(), actions)
        kept = self._drop(cost.detach())
        self._record(samples, kept)
        self._note_seconds(began)
        usable = gradient.isfinite().all(-1).all(-1) & cost.detach().isfinite()  # [B, K]
        return torch.where(usable[:, :, None, None], gradient, 0.0), kept

    def best_plan(self) -> Plan:
        """Return the best candidates that were evaluated."""
        return self._plan(self._best, self._lowest)

    def better_of(self, actions: Float[Tensor, "B H A"]) -> Plan:
        """Return these actions where they cost less than the best candidates, else the latter.

        Under a time budget there is no time left to compare.
        """
        if self._limits.time_budget_s is None:
            self._keep_best(
                actions[:, None], self._cost(actions[:, None]).nan_to_num(nan=float("inf"))
            )
        return self.best_plan()

    def plan_of(self, actions: Float[Tensor, "B H A"]) -> Plan:
        """Return the plan of these actions; under a time budget the best candidates instead."""
        if self._limits.time_budget_s is not None:
            return self.best_plan()
        return self._plan(actions, self._cost(actions[:, None])[:, 0])

    def _record(self, samples: Tensor, cost: Tensor) -> None:
        """Remember the best of candidates with costs `[B, K]`, and the lowest cost in history."""
        least, better = self._keep_best(samples, cost)
        self._history.append(least)
        if self._limits.patience:
            self._idle = 0 if bool(better.any()) else self._idle + 1

    def _keep_best(self, samples: Tensor, cost: Tensor) -> tuple[Tensor, Tensor]:
        """Return the lowest cost `[B]` and whether it is lower than all before."""
        least, index = cost.min(1)
        better = least < self._lowest
        rows = torch.arange(len(least), device=least.device)
        self._best = torch.where(better[:, None, None], samples[rows, index], self._best)
        self._lowest = torch.where(better, least, self._lowest)
        return least, better

    def _plan(self, actions: Tensor, cost: Tensor) -> Plan:
        if self._num_dropped:
            logger.warning(
                "dropped %d of %d candidates without a finite cost",
                self._num_dropped,
                self._num_evaluated,
            )
        return Plan(
            actions=actions,
            cost=cost,
            history=torch.stack(self._history),  # [I, B]
            num_dropped=self._num_dropped,
        )

    def _chunk(self, samples: Tensor) -> Tensor:
        began = perf_counter()
        cost = self._drop(self._cost(samples))  # waits for an asynchronous device
        self._chunks.append((samples.shape[1], self._note_seconds(began)))
        return cost

    def _note_seconds(self, began: float) -> float:
        """Return the seconds since `began`, and keep the least of them."""
        seconds = perf_counter() - began
        self._least_seconds = min(self._least_seconds or seconds, seconds)
        return seconds

    def _drop(self, cost: Tensor) -> Tensor:
        self._num_evaluated += cost.numel()
        self._num_dropped += int((~cost.isfinite()).sum())
        return drop_unusable(cost)

    def _left(self, part: float) -> float:
        """Return the seconds until `part` of the time budget is used up."""
        if self._limits.time_budget_s is None:
            return float("inf")
        return self._start + part * self._limits.time_budget_s - perf_counter()

    def _affordable(self, num_done: int) -> int:
        """Return how many candidates come next in an iteration that has `num_done`; 0: no more.

        The first chunk of an iteration is always evaluated.
        """
        if not self._chunks:
            return FIRST_CHUNK
        whole = self._left(1.0) / RESERVE
        share = min(self._left((self._iteration + 1) / self._limits.num_iterations), whole)
        size = max(self._size_within(share), min(self._size_within(whole), ENOUGH - num_done))
        return max(size, FIRST_CHUNK if num_done == 0 else 0)

    def _size_within(self, seconds: float) -> int:
        """Return how many candidates there is time for, judged by the chunks so far."""
        if seconds < self._least_seconds:
            return 0
        size, took = self._chunks[-1]
        more = math.floor((seconds - took) / self._seconds_each())
        return max(0, min(size + more, GROWTH * max(self._chunks)[0]))

    def _seconds_each(self) -> float:
        """Return what one more candidate in a chunk costs, judged by the smallest and largest chunk.

        A chunk of 1 is slow for its size, and the first one slower than those that follow; so at
        least a quarter of the largest chunk's time is taken to be the candidates' own.
        """
        (few, fast), (many, slow) = min(self._chunks), max(self._chunks)
        if few == many:
            return fast / few
        return max((slow - fast) / (many - few), slow / (4 * many))
