"""The moving average of a network."""

import pytest
import torch
from torch import nn

from jepawm.training.pretraining.average import follow, momentum_at, new_average


def test_the_average_keeps_a_part_of_itself_and_takes_no_gradient():
    module = nn.Linear(2, 1)
    average = new_average(module)
    assert not any(one.requires_grad for one in average.parameters())
    with torch.no_grad():
        average.weight.fill_(1.0)
        module.weight.fill_(3.0)
    follow(average, module, momentum=0.75)
    assert average.weight.tolist() == [[1.5, 1.5]]
    assert module.weight.tolist() == [[3.0, 3.0]]


def test_the_momentum_rises_to_1():
    assert momentum_at(0.9, 0.0) == pytest.approx(0.9)
    assert momentum_at(0.9, 0.5) == pytest.approx(0.95)
    assert momentum_at(0.9, 1.0) == 1.0
