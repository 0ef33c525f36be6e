"""Split products are those of float32 to 1e-5; what cannot be split says so."""

import pytest
import torch
import torch.nn.functional as F

from jepawm.compute import count_gflop
from jepawm.engine.config import Precision
from jepawm.engine.fast_block import FastBlock
from jepawm.engine.kernels.split_products import kernel_formulas, split_linear, split_weight
from jepawm.engine.packed_linear import PackedLinear
from jepawm.models.blocks import Block


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def error(got: torch.Tensor, expected: torch.Tensor) -> float:
    assert got.shape == expected.shape
    assert got.dtype == torch.float32
    return float((got - expected).abs().max() / expected.abs().max())


@pytest.mark.amx
@pytest.mark.parametrize("rows", [1, 16, 33, 700])
@pytest.mark.parametrize(("num_inputs", "num_outputs"), [(7, 1), (32, 32), (404, 100), (2048, 17)])
def test_products_are_those_of_float64_to_1e_5(rows, num_inputs, num_outputs):
    x, weight, bias = randn(rows, num_inputs), randn(num_outputs, num_inputs), randn(num_outputs)
    expected = F.linear(x.double(), weight.double(), bias.double())
    assert error(split_linear(x, split_weight(weight), bias=bias), expected) < 1e-5
    got = split_linear(x, split_weight(weight), bias=None)
    assert error(got, expected - bias) < 1e-5
    got = split_linear(x, split_weight(weight), bias=bias, gelu=True)
    assert error(got, F.gelu(expected)) < 1e-5


@pytest.mark.amx
@pytest.mark.parametrize(("rows", "num_outputs"), [(1025, 1024), (1100, 992)])
def test_large_products_go_past_the_caches_and_are_the_same(rows, num_outputs):
    x, weight, bias = randn(rows, 40), randn(num_outputs, 40), randn(num_outputs)
    expected = F.linear(x.double(), weight.double(), bias.double())
    for gelu in (False, True):
        got = split_linear(x, split_weight(weight), bias=bias, gelu=gelu)
        assert error(got, F.gelu(expected) if gelu else expected) < 1e-5


@pytest.mark.amx
def test_gelu_everywhere():
    x = torch.linspace(-30, 30, 60001)[:, None]
    got = split_linear(x, split_weight(torch.ones(1, 1)), bias=None, gelu=True)
    assert float((got - F.gelu(x.double())).abs().max()) < 30 * 2**-16  # as x itself is split
    near = x.abs() < 4
    assert float((got - F.gelu(x.double()))[near].abs().max()) < 4 * 2**-16


@pytest.mark.amx
def test_what_is_not_finite_stays_so():
    x = randn(3, 40)
    x[1, 5] = float("nan")
    for gelu in (False, True):
        got = split_linear(x, split_weight(randn(8, 40)), bias=None, gelu=gelu)
        assert got[1].isnan().all()
        assert got[[0, 2]].isfinite().all()


@pytest.mark.amx
@torch.no_grad()
@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize(("windows", "tokens", "width"), [(1, 1, 12), (3, 1, 40), (2, 5, 33)])
def test_second_halves_of_blocks(modulated, windows, tokens, width):
    block = Block(width, 2, head_dim=6, hidden=70, modulated=modulated).eval()
    for parameter in block.parameters():
        parameter.data = 0.3 * randn(*parameter.shape)
    plain, fast = (FastBlock(block, precision=one) for one in ("float32", "bfloat16x3"))
    x, attended = randn(windows, 9, tokens, width), randn(windows, 9, tokens, width + 1)[..., :-1]
    codes = plain.modulate(randn(9, width)) if modulated else None
    expected = plain.leave(x, attended, codes=codes)
    got = fast.leave(x, attended, codes=codes)
    assert error(fast.leave(x[:1], attended, codes=codes)[:1], expected[:1]) < 1e-5
    assert error(got, expected) < 1e-5
    assert not torch.equal(got, expected)  # it was split


@pytest.mark.amx
@torch.no_grad()
def test_operations_are_counted_as_those_of_float32():
    block = Block(12, 2, head_dim=6, hidden=70).eval()
    x = randn(2, 9, 1, 12)

    def work(precision: Precision) -> float:
        fast = FastBlock(block, precision=precision)
        return count_gflop(
            lambda: fast.leave(x, fast.mix(x), codes=None), formulas=kernel_formulas()
        )

    assert work("bfloat16x3") == work("float32") > 0


@pytest.mark.amx
def test_gradients_and_other_types_are_not_split():
    weight = randn(8, 40)
    linear = PackedLinear(weight, None, precision="bfloat16x3")
    assert torch.equal(linear(randn(3, 40)), randn(3, 40) @ weight.T)  # gradients could be wanted
    with torch.no_grad():
        double = PackedLinear(weight.double(), None, precision="bfloat16x3")
        assert double(randn(3, 40).double()).dtype == torch.float64
