"""What a planner's numbers may be, and what ends its search: iterations, patience, time."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

from jepawm.errors import UserError

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


class TimeBudget:
    """Cut iterations into chunks that fit the wall time of a plan, judged by the chunks so far."""

    def __init__(self, seconds: float, num_iterations: int) -> None:
        """Take the seconds of the plan and the iterations that share them; the clock starts."""
        self._start = perf_counter()
        self._seconds = seconds
        self._num_iterations = num_iterations
        self._chunks: list[tuple[int, float]] = []  # size and seconds of the chunks so far
        self._least_seconds = 0.0  # of any chunk or gradient

    def is_used_up(self) -> bool:
        """Return whether there is no time for even the fastest chunk so far."""
        return self._left(1.0) < RESERVE * self._least_seconds

    def chunks(self, num_samples: int, *, iteration: int) -> Iterator[slice]:
        """Cut candidates into chunks until all are done or the iteration's share of time is over.

        Each chunk must be evaluated before the next one is asked for: this is what is timed.
        """
        num_done = 0
        while size := min(self._affordable(num_done, iteration), num_samples - num_done):
            began = perf_counter()
            yield slice(num_done, num_done + size)
            self._chunks.append((size, self.note_seconds(began)))
            num_done += size

    def note_seconds(self, began: float) -> float:
        """Return the seconds since `began`, and keep the least of them."""
        seconds = perf_counter() - began
        self._least_seconds = min(self._least_seconds or seconds, seconds)
        return seconds

    def _left(self, part: float) -> float:
        """Return the seconds until `part` of the time budget is used up."""
        return self._start + part * self._seconds - perf_counter()

    def _affordable(self, num_done: int, iteration: int) -> int:
        """Return how many candidates come next in an iteration that has `num_done`; 0: no more.

        The first chunk of an iteration is always evaluated.
        """
        if not self._chunks:
            return FIRST_CHUNK
        whole = self._left(1.0) / RESERVE
        share = min(self._left((iteration + 1) / self._num_iterations), whole)
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


def check_count(name: str, value: int, *, least: int) -> None:
    """Check a planner's count."""
    if value < least:
        raise UserError(f"planner.{name} = {value}; give at least {least}")


def check_elites(num_elites: int, num_samples: int) -> None:
    """Check that there are enough candidates for the elites, and enough elites for a variance."""
    check_count("num_samples", num_samples, least=2)
    check_count("num_elites", num_elites, least=2)
    if num_elites > num_samples:
        raise UserError(
            f"planner.num_elites = {num_elites} is more than planner.num_samples = "
            f"{num_samples}; take fewer elites or more samples"
        )


def check_positive(**fields: float) -> None:
    """Check planner fields that must be finite numbers above 0."""
    for name, value in fields.items():
        if not 0.0 < value < float("inf"):
            raise UserError(f"planner.{name} = {value}; give a number above 0")


def check_not_negative(**fields: float) -> None:
    """Check planner fields that must be finite numbers from 0 up."""
    for name, value in fields.items():
        if not 0.0 <= value < float("inf"):
            raise UserError(f"planner.{name} = {value}; give 0 or more")


def check_part(**fields: float) -> None:
    """Check planner fields that must be 0 or more and below 1."""
    for name, value in fields.items():
        if not 0.0 <= value < 1.0:
            raise UserError(f"planner.{name} = {value}; give 0 or more, below 1")
