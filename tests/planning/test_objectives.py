"""The objective against numbers worked out by hand, and against the golden file."""

import math

import pytest
import torch

from jepawm.errors import UserError
from jepawm.golden.runner import run_file
from jepawm.planning.objectives import LatentDistance
from jepawm.planning.step_distance import with_head
from jepawm.types import Latent

# One problem, one candidate, two steps, one token of two channels; the goal is the origin + (1, 0).
TOKENS = torch.tensor([[1.0, 2.0], [4.0, 4.0]]).reshape(1, 1, 2, 1, 2)
GOAL = torch.tensor([1.0, 0.0]).reshape(1, 1, 2)
ACTIONS = torch.zeros(1, 1, 2, 3)


def _cost(objective: LatentDistance, proprio: bool = False) -> float:
    predicted = Latent(tokens=TOKENS, proprio=TOKENS if proprio else None)
    goal = Latent(tokens=GOAL, proprio=GOAL if proprio else None)
    return float(objective(predicted, goal, ACTIONS))


@pytest.mark.parametrize(
    ("metric", "terminal", "total"),
    [
        ("l2", (9 + 16) / 2, (9 + 16) / 2 + 4 / 2),
        ("l1", (3 + 4) / 2, (3 + 4) / 2 + 2 / 2),
        ("cos", -1 / math.sqrt(2), -1 / math.sqrt(2) - 1 / math.sqrt(5)),
    ],
)
def test_known_values(metric: str, terminal: float, total: float):
    assert _cost(LatentDistance(metric=metric)) == pytest.approx(terminal)
    assert _cost(LatentDistance(metric=metric, reduction="sum")) == pytest.approx(total)


def test_proprio_weight_adds_the_same_distance():
    plain = _cost(LatentDistance(proprio_weight=0.0), proprio=True)
    weighted = _cost(LatentDistance(proprio_weight=0.3), proprio=True)
    assert weighted == pytest.approx(1.3 * plain)


def test_each_problem_has_its_own_goal():
    tokens = torch.randn(2, 3, 4, 5, 6)
    goal = torch.randn(2, 5, 6)
    cost = LatentDistance()(Latent(tokens=tokens), Latent(tokens=goal), torch.zeros(2, 3, 4, 1))
    expected = (tokens[1, 2, -1] - goal[1]).square().mean()
    assert cost.shape == (2, 3)
    torch.testing.assert_close(cost[1, 2], expected)


def test_proprio_on_one_side_only_is_refused():
    with pytest.raises(UserError, match="proprio"):
        LatentDistance()(Latent(tokens=TOKENS, proprio=TOKENS), Latent(tokens=GOAL), ACTIONS)


@pytest.mark.parametrize(
    "fields", [{"metric": "l3"}, {"reduction": "mean"}, {"proprio_weight": -1.0}]
)
def test_bad_fields_are_refused(fields: dict):
    with pytest.raises((UserError, TypeError), match=next(iter(fields))):
        LatentDistance(**fields)


def test_golden(golden_dir):
    result = run_file(golden_dir / "planning_objectives.npz", name="planning_objectives")
    assert result.verdict == "pass", result.message
    assert len(result.comparisons) == 24


def _head(before, after):
    """Say that every latent is as many blocks from the goal as its first channel differs."""
    return (before.tokens - after.tokens)[..., 0, 0].abs()


@pytest.mark.parametrize(("reduction", "steps"), [("terminal", 3.0), ("sum", 3.0 + 0.0)])
def test_learned_steps_are_added(reduction, steps):
    distance = LatentDistance(reduction=reduction, latent_weight=0.5, step_weight=2.0)
    plain = _cost(LatentDistance(reduction=reduction))
    assert _cost(with_head(distance, _head)) == pytest.approx(0.5 * plain + 2.0 * steps)


def test_steps_are_never_left_out_silently():
    with pytest.raises(UserError, match=r"objective\.step_weight = 5\.0 .* with_head"):
        _cost(LatentDistance(step_weight=5.0))


def test_a_distance_without_steps_needs_no_head():
    distance = LatentDistance()
    assert with_head(distance, None) is with_head(distance, _head) is distance
    with pytest.raises(UserError, match=r"objective\.step_weight = 1\.0 needs a model"):
        with_head(LatentDistance(step_weight=1.0), None)
