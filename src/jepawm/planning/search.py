"""One call of a planner: evaluate candidates, remember the best, drop the unusable."""

import logging
from collections.abc import Iterator
from time import perf_counter

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from jepawm.contracts import Bounds, CostFn
from jepawm.planning.gradients import cost_and_gradient
from jepawm.planning.limits import Limits, TimeBudget
from jepawm.planning.sampling import check_problem, drop_unusable
from jepawm.types import Plan

logger = logging.getLogger(__name__)


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
        seconds = limits.time_budget_s
        self._budget = None if seconds is None else TimeBudget(seconds, limits.num_iterations)
        check_problem(init, bounds)
        self._cost = cost
        self._limits = limits
        self._iteration = self._idle = self._num_dropped = self._num_evaluated = 0
        self._history: list[Tensor] = []
        self._lowest = torch.full_like(init[:, 0, 0], float("inf"))  # [B]
        self._best = init

    def iterations(self) -> Iterator[int]:
        """Count iterations until their number, the time or the patience runs out."""
        for iteration in range(self._limits.num_iterations):
            out_of_time = self._budget is not None and self._budget.is_used_up()
            if iteration and (out_of_time or 0 < self._limits.patience <= self._idle):
                return
            self._iteration = iteration
            yield iteration

    def evaluate(self, samples: Float[Tensor, "B K H A"]) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of candidates, infinite where one was dropped.

        Under a time budget an iteration ends with its share of the time: candidates that are left
        over get an infinite cost too.
        """
        num_samples = samples.shape[1]
        if self._budget is None:
            cost = self._drop(self._cost(samples))
        else:
            chunks = self._budget.chunks(num_samples, iteration=self._iteration)
            cost = torch.cat([self._drop(self._cost(samples[:, chunk])) for chunk in chunks], 1)
            cost = pad(cost, (0, num_samples - cost.shape[1]), value=float("inf"))
        self._record(samples, cost)
        return cost

    def gradient(
        self, samples: Float[Tensor, "B K H A"]
    ) -> tuple[Float[Tensor, "B K H A"], Float[Tensor, "B K"]]:
        """Return the gradient of the cost of candidates, and the cost, as `evaluate` does.

        The gradient is 0 where a candidate was dropped or its gradient is not a finite number.
        """
        began = perf_counter()
        cost, gradient = cost_and_gradient(self._cost, samples)
        kept = self._drop(cost)
        self._record(samples, kept)
        if self._budget is not None:
            self._budget.note_seconds(began)
        usable = gradient.isfinite().all(-1).all(-1) & cost.isfinite()  # [B, K]
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

    def _drop(self, cost: Tensor) -> Tensor:
        self._num_evaluated += cost.numel()
        self._num_dropped += int((~cost.isfinite()).sum())
        return drop_unusable(cost)
