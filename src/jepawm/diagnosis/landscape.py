"""The energy landscape: the cost of plans that do the same in every step, along two directions of action."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Simulator
from jepawm.diagnosis.drift import LARGEST
from jepawm.diagnosis.problems import Problem, true_distances
from jepawm.evaluation.metrics import rank_correlation
from jepawm.normalizer import Normalizer

_DIGITS = 5


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """Costs of one task over a square of constant actions; rows along the second direction."""

    directions: tuple[int, int]
    """The two numbers of an environment action that vary; the others are at their mean."""
    values: tuple[float, ...]
    """Values of either along the square, in standard deviations of the training data."""
    cost: tuple[tuple[float, ...], ...]
    """Cost of the model: `cost[j][i]` with the first direction at `values[i]`, the second at
    `values[j]`."""
    distance: tuple[tuple[float, ...], ...] | None
    """True distance to the goal after the same actions; None where there is no simulator."""
    correlation: float | None
    """Rank correlation of cost and true distance over the square; None where it is not known."""
    lowest: tuple[float, float]
    """Where the cost is lowest."""
    nearest: tuple[float, float] | None
    """Where the true distance is lowest; of recordings, the mean of the recorded actions."""

    def __post_init__(self) -> None:
        """Check that the square is one; it may come from a file."""
        side = len(self.values)
        maps = [self.cost, *([] if self.distance is None else [self.distance])]
        if side < 2 or self.values[0] >= self.values[-1]:
            raise ValueError("the values of a landscape do not rise")
        if any(len(rows) != side or {len(row) for row in rows} != {side} for rows in maps):
            raise ValueError(f"a landscape of {side} values is not {side} x {side}")


@torch.no_grad()
def draw_landscapes(
    problem: Problem,
    env: Simulator | None,
    *,
    normalizer: Normalizer,
    directions: tuple[int, int],
    points: int,
    extent: float,
    recorded: Float[Tensor, "B H A"] | None = None,
) -> list[Landscape]:
    """Return the landscape of each of some tasks.

    Args:
        problem: the planning problem of tasks `[B]` that the environment is at the start of.
        env: the environment; None: there is none.
        normalizer: statistics of the training data.
        directions: two different numbers of an environment action.
        points: points along each side, at least 2.
        extent: half a side, in standard deviations of the training data.
        recorded: normalised actions that a recording reaches the goals by.
    """
    values = extent * (2.0 * torch.arange(points) / (points - 1) - 1.0)  # 0 exactly in the middle
    actions = constant_actions(
        problem.init, values.to(problem.init), width=normalizer.action_dim, directions=directions
    )
    cost = problem.cost(actions).double().cpu().numpy()
    cost = np.nan_to_num(cost, nan=LARGEST, posinf=LARGEST, neginf=-LARGEST)
    true = None if env is None else true_distances(env, actions, normalizer=normalizer)
    goals = None
    if recorded is not None:
        means = recorded.unflatten(-1, (-1, normalizer.action_dim)).mean((1, 2))  # [B, a]
        goals = means[:, list(directions)].tolist()
    return [
        _landscape(
            cost[task],
            None if true is None else true[task],
            values=[_round(value) for value in values.tolist()],
            directions=directions,
            goal=None if goals is None else goals[task],
        )
        for task in range(len(cost))
    ]


def constant_actions(
    init: Float[Tensor, "B H A"],
    values: Float[Tensor, " n"],
    *,
    width: int,
    directions: tuple[int, int],
) -> Float[Tensor, "B K H A"]:
    """Return plans that repeat one environment action; the first direction varies fastest."""
    down, right = torch.meshgrid(values, values, indexing="ij")
    action = values.new_zeros(len(values) ** 2, width)  # [K, a]
    action[:, directions[0]] = right.flatten()
    action[:, directions[1]] = down.flatten()
    batch, horizon, block = init.shape
    return action.repeat(1, block // width)[None, :, None].expand(batch, -1, horizon, -1)


def _landscape(
    cost: Float[np.ndarray, " K"],
    distance: Float[np.ndarray, " K"] | None,
    *,
    values: list[float],
    directions: tuple[int, int],
    goal: list[float] | None,
) -> Landscape:
    nearest = None if distance is None else _place(distance, values)
    if goal is not None:
        nearest = (_round(goal[0]), _round(goal[1]))
    return Landscape(
        directions=directions,
        values=tuple(values),
        cost=_rows(cost, len(values)),
        distance=None if distance is None else _rows(distance, len(values)),
        correlation=None if distance is None else rank_correlation(cost, distance),
        lowest=_place(cost, values),
        nearest=nearest,
    )


def _place(numbers: Float[np.ndarray, " K"], values: list[float]) -> tuple[float, float]:
    down, right = divmod(int(numbers.argmin()), len(values))
    return values[right], values[down]


def _rows(numbers: Float[np.ndarray, " K"], side: int) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(_round, row)) for row in numbers.reshape(side, side).tolist())


def _round(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
