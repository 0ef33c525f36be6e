"""Compute is measured and counted."""

import torch
from torch.nn.functional import scaled_dot_product_attention

from jepawm.compute import count_gflop, matmul_peak
from jepawm.engine.packed_linear import PackedLinear


def test_flops_of_a_matrix_product_are_counted():
    a, b = torch.ones(100, 200), torch.ones(200, 50)
    assert count_gflop(lambda: a @ b) == 2 * 100 * 200 * 50 / 1e9


def test_flops_of_a_backward_pass_are_counted():
    a, b = torch.ones(10, 20, requires_grad=True), torch.ones(20, 5, requires_grad=True)
    assert count_gflop(lambda: (a @ b).sum().backward()) == 3 * 2 * 10 * 20 * 5 / 1e9


def test_peak_is_a_rate():
    assert matmul_peak(size=64, repeats=3) > 0


def test_flops_of_the_fused_kernels_of_the_cpu_are_counted():
    query, key = torch.ones(2, 3, 5, 8), torch.ones(2, 3, 7, 8)
    attention = count_gflop(lambda: scaled_dot_product_attention(query, key, key))
    assert attention == 4 * 2 * 3 * 5 * 7 * 8 / 1e9
    x, weight = torch.ones(2, 5, 16), torch.ones(32, 16)
    with torch.no_grad():
        assert count_gflop(lambda: PackedLinear(weight, None)(x)) == 2 * 10 * 16 * 32 / 1e9
