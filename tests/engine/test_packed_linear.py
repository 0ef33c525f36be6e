"""Packed affine maps equal torch's own, and step aside where they cannot serve."""

import pytest
import torch
import torch.nn.functional as F

from jepawm.engine.packed_linear import PackedLinear

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
            got = PackedLinear(weight, bias)(x, gelu=gelu)
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_strided_inputs_and_rows_of_a_weight():
    with torch.no_grad():
        got = PackedLinear(WEIGHT[10:30], BIAS[10:30])(X.transpose(0, 2))
    expected = F.linear(X.transpose(0, 2), WEIGHT[10:30], BIAS[10:30])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_gradients_pass():
    x = X.clone().requires_grad_()
    PackedLinear(WEIGHT, BIAS)(x, gelu=True).sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().max()) > 0


def test_a_strided_input_of_several_axes_passes_gradients():
    x = X.expand(2, *X.shape).transpose(1, -2).requires_grad_()
    got = PackedLinear(WEIGHT, BIAS)(x)
    torch.testing.assert_close(got, F.linear(x, WEIGHT, BIAS), atol=1e-5, rtol=1e-5)
    got.sum().backward()


@torch.no_grad()
@pytest.mark.parametrize("rows", [slice(None), slice(10, 30)])
def test_packed_weights_give_the_same_numbers(rows, monkeypatch):
    monkeypatch.setattr("jepawm.engine.packed_linear.WORTH_PACKING", 2)
    linear = PackedLinear(WEIGHT[rows], BIAS[rows])
    expected = F.gelu(F.linear(X, WEIGHT[rows], BIAS[rows]))
    for _ in range(4):  # the first is plain
        torch.testing.assert_close(linear(X, gelu=True), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_packed_weight_is_that_of_the_time_when_it_was_packed(monkeypatch):
    monkeypatch.setattr("jepawm.engine.packed_linear.WORTH_PACKING", 1)
    weight = WEIGHT.clone()
    linear = PackedLinear(weight, None)
    before = linear(X)
    weight.zero_()
    assert torch.equal(linear(X), before)
    assert torch.equal(PackedLinear(weight, None)(X), torch.zeros_like(before))


@torch.no_grad()
@pytest.mark.parametrize("gelu", [False, True])
def test_bfloat16_weights_are_converted_once_and_rounder(gelu):
    linear = PackedLinear(WEIGHT, BIAS, precision="bfloat16")
    with torch.autocast("cpu", torch.bfloat16):
        first, second = (linear(X, gelu=gelu) for _ in range(2))
    expected = F.linear(X, WEIGHT, BIAS)
    expected = F.gelu(expected) if gelu else expected
    assert first.dtype == torch.bfloat16
    assert torch.equal(first, second)
    error = float((first.float() - expected).norm() / expected.norm())
    assert 1e-5 < error < 2e-2
