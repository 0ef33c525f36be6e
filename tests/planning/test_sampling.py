"""What sampling planners share."""

import pytest
import torch

from jepawm.errors import UserError
from jepawm.planning.limits import check_count
from jepawm.planning.sampling import clamp, draw_noise, drop_unusable


def test_infinite_and_nan_costs_rank_last():
    cost = torch.tensor([[3.0, float("nan"), -float("inf"), 1.0]])
    assert drop_unusable(cost).tolist() == [[3.0, float("inf"), float("inf"), 1.0]]


def test_noise_comes_from_the_generator():
    init = torch.zeros(2, 3, 4)
    first = draw_noise(init, 5, generator=torch.Generator().manual_seed(3))
    again = draw_noise(init, 5, generator=torch.Generator().manual_seed(3))
    assert first.shape == (2, 5, 3, 4)
    assert torch.equal(first, again)


def _correlation(color: float, lag: int) -> float:
    noise = draw_noise(
        torch.zeros(1, 6, 2), 4000, generator=torch.Generator().manual_seed(0), color=color
    )
    assert float(noise.std()) == pytest.approx(1.0, abs=0.05)
    return float((noise[:, :, lag:] * noise[:, :, : 6 - lag]).mean())


def test_colored_noise_keeps_its_direction_and_its_variance():
    assert abs(_correlation(0.0, 1)) < 0.05
    assert 0.2 < _correlation(1.0, 1) < _correlation(2.0, 1) < 1.0
    assert _correlation(2.0, 5) < _correlation(2.0, 1)  # not periodic


def test_no_bounds_change_nothing():
    actions = torch.randn(1, 2, 3, 4)
    assert torch.equal(clamp(actions, None), actions)


def test_counts_name_the_field():
    with pytest.raises(UserError, match=r"planner\.num_samples = 0"):
        check_count("num_samples", 0, least=1)
