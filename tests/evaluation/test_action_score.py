import numpy as np
import pytest

from jepawm.evaluation.action_score import action_errors, action_score


def test_sums_over_time_are_compared_part_by_part():
    recorded = np.zeros((1, 2, 7))
    planned = np.array([[[0.1, 0, 0, 0.2, 0, 0, 0.5], [-0.2, 0.3, 0, 0, -0.1, 0, -0.75]]])
    errors = action_errors(planned, recorded)
    assert errors.xyz == pytest.approx([0.4])
    assert errors.orientation == pytest.approx([0.3])
    assert errors.closure == pytest.approx([0.25])
    assert errors.total == pytest.approx([0.95])


def test_the_order_of_actions_does_not_count():
    actions = np.random.default_rng(0).normal(size=(4, 3, 7))
    assert action_errors(actions, actions[:, ::-1]).total == pytest.approx(np.zeros(4), abs=1e-12)


@pytest.mark.parametrize(("xyz", "score"), [(0.0, 80.0), (0.05, 40.0), (0.1, 0.0), (3.0, 0.0)])
def test_score(xyz: float, score: float):
    assert action_score(xyz) == pytest.approx(score)
