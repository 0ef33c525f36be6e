"""Fused affine maps equal torch's own, and step aside where they cannot serve."""

import pytest
import torch
import torch.nn.functional as F

from jepawm.models.linear import PackedWeights, linear

X, WEIGHT, BIAS = (
    torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for shape in ((2, 3, 5, 40), (70, 40), (70,))
)


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("bias", [None, BIAS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_affine_map(gelu, bias, dtype):
    bias = None if bias is None else bias.to(dtype)
    x, weight = X.to(dtype), WEIGHT.to(dtype)
    expected = F.linear(x, weight, bias)
    expected = F.gelu(expected) if gelu else expected
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            got = linear(x, weight, bias=bias, gelu=gelu)
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_strided_inputs_and_rows_of_a_weight():
    with torch.no_grad():
        x = X.transpose(0, 2)
        got = linear(x, WEIGHT, bias=BIAS, rows=slice(10, 30))
    torch.testing.assert_close(got, F.linear(x, WEIGHT[10:30], BIAS[10:30]), atol=1e-5, rtol=1e-5)


def test_gradients_pass():
    x = X.clone().requires_grad_()
    linear(x, WEIGHT, bias=BIAS, gelu=True).sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().min()) >= 0
    assert float(x.grad.abs().max()) > 0


def test_autocast_halves_it():
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert linear(X, WEIGHT, bias=BIAS).dtype == torch.bfloat16


@torch.no_grad()
@pytest.mark.parametrize("rows", [slice(None), slice(10, 30)])
def test_packed_weights_give_the_same_numbers(rows, monkeypatch):
    monkeypatch.setattr("jepawm.models.linear.WORTH_PACKING", 2)
    packed = PackedWeights()
    with packed.used():
        results = [linear(X, WEIGHT, bias=BIAS, rows=rows, gelu=True) for _ in range(4)]
    expected = F.gelu(F.linear(X, WEIGHT[rows], BIAS[rows]))
    for result in results:  # the first is plain
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
    assert not packed.find(WEIGHT, slice(0, 1), dtype=torch.float32, num_inputs=1).is_mkldnn
    assert packed.find(WEIGHT, rows, dtype=torch.float32, num_inputs=1).is_mkldnn


@torch.no_grad()
def test_packed_weights_are_used_inside_only(monkeypatch):
    monkeypatch.setattr("jepawm.models.linear.WORTH_PACKING", 1)
    weight = WEIGHT.clone()
    packed = PackedWeights()
    with packed.used():
        before = linear(X, weight, bias=None)
        weight.zero_()
        assert torch.equal(linear(X, weight, bias=None), before)
    assert torch.equal(linear(X, weight, bias=None), torch.zeros_like(before))


@torch.no_grad()
@pytest.mark.parametrize("gelu", [False, True])
def test_bfloat16_weights_are_converted_once_and_rounder(gelu):
    packed = PackedWeights()
    with packed.used(), torch.autocast("cpu", torch.bfloat16):
        first, second = (linear(X, WEIGHT, bias=BIAS, gelu=gelu) for _ in range(2))
    expected = F.linear(X, WEIGHT, BIAS)
    expected = F.gelu(expected) if gelu else expected
    assert torch.equal(first, second)
    error = float((first.float() - expected).norm() / expected.norm())
    assert 1e-5 < error < 2e-2


def test_a_strided_input_of_several_axes_passes_gradients():
    x = X.expand(2, *X.shape).transpose(1, -2).requires_grad_()
    got = linear(x, WEIGHT, bias=BIAS)
    torch.testing.assert_close(got, F.linear(x, WEIGHT, BIAS), atol=1e-5, rtol=1e-5)
    got.sum().backward()
