"""Compute is measured and counted."""

import torch

from jepawm.compute import count_gflop, matmul_peak


def test_flops_of_a_matrix_product_are_counted():
    a, b = torch.ones(100, 200), torch.ones(200, 50)
    assert count_gflop(lambda: a @ b) == 2 * 100 * 200 * 50 / 1e9


def test_flops_of_a_backward_pass_are_counted():
    a, b = torch.ones(10, 20, requires_grad=True), torch.ones(20, 5, requires_grad=True)
    assert count_gflop(lambda: (a @ b).sum().backward()) == 3 * 2 * 10 * 20 * 5 / 1e9


def test_peak_is_a_rate():
    assert matmul_peak(size=64, repeats=3) > 0
