"""Success rates with intervals that hold for few episodes and rates near 0 and 1; rank correlations."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float

Z95 = NormalDist().inv_cdf(0.975)
"""Two-sided 95 % quantile of the standard normal distribution, 1.96."""


def wilson_interval(num_successes: int, num_episodes: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a success rate.

    Raises:
        ValueError: if there are no episodes, or not between 0 and all of them succeed.
    """
    if num_episodes < 1 or not 0 <= num_successes <= num_episodes:
        raise ValueError(f"{num_successes} successes of {num_episodes} episodes")
    rate = num_successes / num_episodes
    spread = Z95**2 / num_episodes
    center = (rate + spread / 2) / (1 + spread)
    variance = rate * (1 - rate) / num_episodes + spread / (4 * num_episodes)
    half = Z95 * math.sqrt(variance) / (1 + spread)
    # The ends are exact at 0 and 1, where rounding would leave 1e-17.
    low = 0.0 if num_successes == 0 else center - half
    high = 1.0 if num_successes == num_episodes else center + half
    return low, high


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much more often one agent succeeds than another on the same tasks."""

    difference: float
    """First success rate minus the second."""
    ci95: tuple[float, float]
    """95 % interval of the difference."""


def paired_difference(
    first: Bool[np.ndarray, " episodes"], second: Bool[np.ndarray, " episodes"]
) -> Difference:
    """Compare two agents on the same tasks, with Newcombe's score interval for paired data.

    The interval (Newcombe 1998, method 10) joins the two Wilson intervals through the correlation
    of the outcomes, so that it is narrow where the agents fail on the same tasks.
    """
    count = len(first)
    rates = float(first.mean()), float(second.mean())
    low1, high1 = wilson_interval(int(first.sum()), count)
    low2, high2 = wilson_interval(int(second.sum()), count)
    correlation = _correlation(first, second)
    difference = rates[0] - rates[1]
    below = _joined(rates[0] - low1, high2 - rates[1], correlation)
    above = _joined(high1 - rates[0], rates[1] - low2, correlation)
    return Difference(difference=difference, ci95=(difference - below, difference + above))


def mean_interval(values: Float[np.ndarray, " n"]) -> Difference:
    """Return the mean of values and its 95 % interval by the normal distribution.

    For paired differences the mean is the difference of two agents. The interval takes the values
    as independent.

    Raises:
        ValueError: if there are fewer than two values.
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} values have no interval")
    mean = float(values.mean())
    half = Z95 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Difference(difference=mean, ci95=(mean - half, mean + half))


def rank_correlation(
    first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]
) -> float | None:
    """Return Spearman's correlation of paired values; None where either does not vary."""
    ranks = [_ranks(values) - (len(values) + 1) / 2 for values in (first, second)]
    squares = [float((one**2).sum()) for one in ranks]
    if min(squares) == 0.0:
        return None
    return float((ranks[0] * ranks[1]).sum()) / math.sqrt(squares[0] * squares[1])


def correlation_interval(correlation: float, num_pairs: int) -> tuple[float, float] | None:
    """Return the 95 % interval of a rank correlation; None of fewer than 4 pairs or a perfect order.

    By Fisher's transform with the variance of Bonett and Wright (2000) for ranks.
    """
    if num_pairs < 4 or abs(correlation) >= 1.0:  # where the transform has no end
        return None
    half = Z95 * math.sqrt((1 + correlation**2 / 2) / (num_pairs - 3))
    middle = math.atanh(correlation)
    return math.tanh(middle - half), math.tanh(middle + half)


def _ranks(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[inverse]


def _joined(side1: float, side2: float, correlation: float) -> float:
    square = side1**2 - 2 * correlation * side1 * side2 + side2**2
    return math.sqrt(max(square, 0.0))


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return the phi coefficient of two outcomes, continuity-corrected where it is positive."""
    both = int((first & second).sum())
    neither = int((~first & ~second).sum())
    only_first = int((first & ~second).sum())
    only_second = int((~first & second).sum())
    margins = math.prod(
        (both + only_first, only_second + neither, both + only_second, only_first + neither)
    )
    if margins == 0:
        return 0.0
    product = both * neither - only_first * only_second
    if product > 0:
        product = max(product - len(first) / 2, 0.0)
    return product / math.sqrt(margins)
