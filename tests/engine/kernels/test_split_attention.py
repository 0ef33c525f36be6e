"""Attention in one pass is attention."""

import pytest
import torch

from jepawm.compute import count_gflop
from jepawm.engine.attention import attend_parts, attend_to_few
from jepawm.engine.kernels.split_products import kernel_formulas
from jepawm.models.blocks import attend

pytestmark = pytest.mark.amx


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def error(got: torch.Tensor, expected: torch.Tensor) -> float:
    assert got.shape == expected.shape
    return float((got - expected).abs().max() / expected.abs().max())


def test_attention_to_few():
    query, keys = randn(3, 4, 1, 2, 20), [randn(windows, 4, 1, 2, 20) for windows in (1, 2, 3)]
    values = [key.flip(-1) for key in keys]
    values[0] = values[0][:, :1].expand(-1, 4, -1, -1, -1)  # the same for all candidates
    expected = attend_to_few(query, keys, values, split=False)
    with torch.no_grad():
        assert error(attend_to_few(query, keys, values, split=True), expected) < 1e-6


@torch.no_grad()
@pytest.mark.parametrize("width", [7, 25, 32, 64, 80])
@pytest.mark.parametrize(("asking", "counts"), [(1, (2,)), (33, (5, 32, 1)), (70, (64, 64))])
def test_attention_to_many(width, asking, counts):
    query = 3 * randn(2, asking, 3, width)
    keys, values = ([randn(2, count, 3, width + shift) for count in counts] for shift in (0, 1))
    values = [value[..., 1:] for value in values]  # heads do not lie side by side
    keys[0] = keys[0][:1].expand(2, -1, -1, -1)  # the same for all
    expected = attend_parts(
        query.double(), [k.double() for k in keys], [v.double() for v in values], split=False
    )
    got = attend_parts(query, keys, values, split=True)
    joined = attend_parts(query, [torch.cat(keys, 1)], [torch.cat(values, 1)], split=True)
    assert error(got, expected) < 3e-5
    assert error(joined, expected) < 3e-5


@torch.no_grad()
def test_large_scores_do_not_overflow():
    query, key, value = 300 * randn(1, 5, 2, 16), randn(1, 40, 2, 16), randn(1, 40, 2, 16) + 1
    got = attend_parts(query, [key], [value], split=True)
    assert error(got, attend(query.double(), key.double(), value.double())) < 1e-2


@torch.no_grad()
def test_operations_are_counted_as_those_of_float32():
    query, key = randn(2, 5, 3, 8), randn(2, 6, 3, 8)
    plain, counted = (
        count_gflop(
            lambda split=split: attend_parts(query, [key, key], [key, key], split=split),
            formulas=kernel_formulas(),
        )
        for split in (False, True)
    )
    assert counted == plain > 0
