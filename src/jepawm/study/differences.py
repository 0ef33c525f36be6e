"""Means over seeds and tasks with intervals that count both, and the smallest effect they could show."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from jepawm.evaluation.metrics import Z95

_TINY = 1e-300
_Z80 = 0.8416212335729143
"""80 % quantile of the standard normal distribution."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over training seeds and tasks."""

    mean: float
    """The mean; for paired values the difference of two runs."""
    ci95: tuple[float, float]
    """Its 95 % interval."""
    smallest: float
    """Smallest effect that a sample like this shows in four of five cases, 0 or more."""
    num_seeds: int
    """Training seeds."""
    num_tasks: int
    """Tasks of each seed."""


def estimate(values: Float[np.ndarray, "seeds tasks"], *, resolution: float = 0.0) -> Estimate:
    """Return the mean of values `[S, T]`, with an interval for new seeds and new tasks.

    Seeds and tasks are crossed random effects: the variance of the mean is
    `MS_seeds / ST + MS_tasks / ST - MS_rest / ST` (mean squares of a two-way analysis of variance,
    never below `MS_rest / ST`), its degrees of freedom those of Satterthwaite, and the interval
    Student's. With one seed only the choice of tasks counts. Values that change by steps of
    `resolution` (1 for successes) count as if at least one of the tasks had changed: equal outcomes
    of all tasks are no proof of an effect of exactly 0.

    Raises:
        ValueError: if there are fewer than two tasks.
    """
    seeds, tasks = values.shape
    if tasks < 2:
        raise ValueError(f"{tasks} tasks have no interval")
    mean = float(values.mean())
    terms = _terms(values)
    variance = sum(term for term, _ in terms)
    if seeds > 1:
        variance = max(variance, -terms[-1][0])
    variance = max(variance, (resolution / tasks) ** 2)
    freedom = _satterthwaite(terms, variance)
    error = math.sqrt(variance)
    half = t_quantile(freedom) * error
    return Estimate(
        mean=mean,
        ci95=(mean - half, mean + half),
        smallest=(t_quantile(freedom) + _Z80) * error,
        num_seeds=seeds,
        num_tasks=tasks,
    )


@lru_cache(maxsize=4096)
def t_quantile(freedom: float) -> float:
    """Return the two-sided 95 % quantile of Student's distribution, for 1 degree of freedom or more."""
    if not math.isfinite(freedom):
        return Z95
    low, high = 1.9, 12.8
    for _ in range(50):
        middle = (low + high) / 2
        if _beyond(middle, freedom) > 0.05:
            low = middle
        else:
            high = middle
    return high


def _terms(values: Float[np.ndarray, "seeds tasks"]) -> list[tuple[float, int]]:
    """Return the parts of the variance of the mean, each with its degrees of freedom."""
    seeds, tasks = values.shape
    size = seeds * tasks
    mean = values.mean()
    by_seed, by_task = values.mean(1), values.mean(0)
    of_tasks = seeds * float(np.square(by_task - mean).sum()) / (tasks - 1)
    if seeds == 1:
        return [(of_tasks / size, tasks - 1)]
    of_seeds = tasks * float(np.square(by_seed - mean).sum()) / (seeds - 1)
    rest = values - by_seed[:, None] - by_task[None] + mean
    freedom = (seeds - 1) * (tasks - 1)
    of_rest = float(np.square(rest).sum()) / freedom
    return [
        (of_seeds / size, seeds - 1),
        (of_tasks / size, tasks - 1),
        (-of_rest / size, freedom),
    ]


def _satterthwaite(terms: list[tuple[float, int]], variance: float) -> float:
    spread = sum(term**2 / freedom for term, freedom in terms)
    if spread == 0.0:
        return math.inf
    return max(1.0, variance**2 / spread)


def _beyond(value: float, freedom: float) -> float:
    """Return the probability that Student's variable is further from 0 than a value."""
    return _incomplete_beta(freedom / (freedom + value**2), freedom / 2, b=0.5)


def _incomplete_beta(x: float, a: float, *, b: float) -> float:
    """Return the regularised incomplete beta function, by its continued fraction."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _incomplete_beta(1.0 - x, b, b=a)
    log = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(log + a * math.log(x) + b * math.log1p(-x)) / a
    fraction, c, d = 1.0, 1.0, 0.0
    for index in range(400):
        half = index // 2
        if index == 0:
            numerator = 1.0
        elif index % 2 == 0:
            numerator = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        else:
            numerator = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        d = 1.0 / (1.0 + numerator * d or _TINY)
        c = 1.0 + numerator / c or _TINY
        fraction *= c * d
        if abs(1.0 - c * d) < 1e-13:
            break
    return front * (fraction - 1.0)
