"""What sampling planners share."""

import pytest
import torch

from jepawm.errors import UserError
from jepawm.planning.sampling import check_count, clamp, draw_noise, drop_unusable


def test_infinite_and_nan_costs_rank_last():
    cost = torch.tensor([[3.0, float("nan"), -float("inf"), 1.0]])
    ranked = drop_unusable(cost)
    assert ranked.cost[0].argsort()[:2].tolist() == [3, 0]
    assert ranked.num_dropped == 2


def test_noise_comes_from_the_generator():
    init = torch.zeros(2, 3, 4)
    first = draw_noise(init, 5, generator=torch.Generator().manual_seed(3))
    again = draw_noise(init, 5, generator=torch.Generator().manual_seed(3))
    assert first.shape == (2, 5, 3, 4)
    assert torch.equal(first, again)


def test_no_bounds_change_nothing():
    actions = torch.randn(1, 2, 3, 4)
    assert torch.equal(clamp(actions, None), actions)


def test_counts_name_the_field():
    with pytest.raises(UserError, match=r"planner\.num_samples = 0"):
        check_count("num_samples", 0, least=1)
