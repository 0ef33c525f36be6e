"""Schedules at known steps, and an order of the data that is a function of the step."""

import math

import pytest
import torch
from torch import nn

from jepawm.errors import UserError
from jepawm.training.optim import (
    OptimConfig,
    batch_indices,
    build_optimizer,
    set_schedule,
    step_generator,
)


def test_learning_rate_warms_up_and_decays_along_a_cosine():
    config = OptimConfig(num_steps=110, warmup_steps=10, learning_rate=2.0)
    rates = [config.learning_rate_at(step) for step in (0, 4, 9, 10, 60, 110)]
    torch.testing.assert_close(rates, [0.2, 1.0, 2.0, 2.0, 1.0, 0.0])
    assert config.learning_rate_at(500) == 0


def test_constant_schedule_stays():
    config = OptimConfig(num_steps=100, warmup_steps=0, learning_rate=3.0, schedule="constant")
    assert {config.learning_rate_at(step) for step in range(100)} == {3.0}
    warm = OptimConfig(num_steps=100, warmup_steps=4, learning_rate=3.0, schedule="constant")
    assert [warm.learning_rate_at(step) for step in (0, 3, 99)] == [0.75, 3.0, 3.0]


def test_the_learning_rate_starts_anew_when_the_encoder_stops():
    config = OptimConfig(num_steps=320, encoder_steps=110, warmup_steps=10, learning_rate=2.0)
    rates = [config.learning_rate_at(step) for step in (0, 9, 60, 109, 110, 119, 120, 220, 319)]
    wanted = [0.2, 2.0, 1.0, 0.0, 0.2, 2.0, 2.0, 1.0, 0.0]
    torch.testing.assert_close(rates, wanted, atol=1e-3, rtol=1e-4)
    assert [config.encoder_learns(step) for step in (0, 109, 110, 319)] == [
        True,
        True,
        False,
        False,
    ]


def test_an_encoder_may_stay_as_it_is_from_the_start():
    config = OptimConfig(num_steps=20, encoder_steps=0, warmup_steps=0, learning_rate=2.0)
    assert not config.encoder_learns(0)
    torch.testing.assert_close(
        [config.learning_rate_at(0), config.learning_rate_at(10)], [2.0, 1.0]
    )
    with pytest.raises(UserError, match=r"optim.encoder_steps = -1 must be at least 0"):
        OptimConfig(encoder_steps=-1)


def test_weight_decay_goes_from_start_to_end():
    config = OptimConfig(num_steps=100, weight_decay=1.0, final_weight_decay=3.0)
    decays = [config.weight_decay_at(step) for step in (0, 25, 50, 100)]
    torch.testing.assert_close(decays, [1.0, 2 - math.sqrt(0.5), 2.0, 3.0])


def test_matrices_decay_and_vectors_do_not():
    module = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    module[0].weight.requires_grad_()
    config = OptimConfig(
        num_steps=10, warmup_steps=0, learning_rate=0.5, weight_decay=0.1, beta2=0.9
    )
    optimizer = build_optimizer(module, config)
    set_schedule(optimizer, config, step=0)
    decay = {
        id(parameter): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert {name: decay[id(p)] for name, p in module.named_parameters()} == {
        "0.weight": 0.1,
        "0.bias": 0.0,
        "1.weight": 0.0,
        "1.bias": 0.0,
    }
    assert {group["lr"] for group in optimizer.param_groups} == {0.5}
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.9)}


def test_frozen_parameters_are_left_out():
    module = nn.Linear(2, 3)
    module.bias.requires_grad_(requires_grad=False)
    groups = build_optimizer(module, OptimConfig()).param_groups
    assert sum(len(group["params"]) for group in groups) == 1


def test_an_epoch_covers_every_window_once():
    def epoch(number: int) -> list[int]:
        steps = range(number * 5, number * 5 + 5)
        return torch.cat(
            [batch_indices(num_windows=20, batch_size=4, seed=3, step=step) for step in steps]
        ).tolist()

    assert sorted(epoch(0)) == sorted(epoch(1)) == list(range(20))
    assert epoch(0) != epoch(1)


def test_the_rest_of_an_epoch_is_dropped_and_small_sets_make_small_batches():
    batches = [batch_indices(num_windows=11, batch_size=4, seed=0, step=step) for step in (0, 1)]
    assert len(set(torch.cat(batches).tolist())) == 8
    small = batch_indices(num_windows=3, batch_size=4, seed=0, step=7)
    assert sorted(small.tolist()) == [0, 1, 2]


def test_order_and_noise_are_functions_of_seed_and_step():
    def order(seed: int, step: int) -> list[int]:
        return batch_indices(num_windows=50, batch_size=8, seed=seed, step=step).tolist()

    def noise(seed: int, step: int) -> list[float]:
        return torch.randn(3, generator=step_generator(seed, step)).tolist()

    for draw in (order, noise):
        assert draw(0, 4) == draw(0, 4)
        assert draw(0, 4) != draw(0, 5)
        assert draw(0, 4) != draw(1, 4)


@pytest.mark.parametrize("field", ["num_steps", "batch_size"])
def test_counts_below_one_are_refused(field):
    with pytest.raises(UserError, match=rf"optim\.{field} = 0"):
        OptimConfig(**{field: 0})
