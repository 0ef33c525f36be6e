"""Workers compute at the same time, with one core each, and leave no trace."""

import threading

import pytest
import torch

from jepawm.planning.workers import Workers


def test_results_come_in_order_from_several_threads():
    together = threading.Barrier(2, timeout=10)

    def square(item):
        together.wait()  # passes only if two compute at a time
        return item * item

    assert Workers(2).map(square, [1, 2, 3, 4]) == [1, 4, 9, 16]


def test_each_has_one_core_and_no_gradients():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen = Workers(2).map(lambda _: (torch.get_num_threads(), torch.is_grad_enabled()), [1, 2])
        assert seen == [(1, False)] * 2
        assert torch.get_num_threads() == 2
        assert torch.is_grad_enabled()
    finally:
        torch.set_num_threads(before)


def test_errors_are_raised_where_the_work_was_asked_for():
    workers = Workers(2)
    with pytest.raises(ZeroDivisionError):
        workers.map(lambda item: 1 / item, [1, 0])
    assert workers.map(lambda item: item, [3]) == [3]
