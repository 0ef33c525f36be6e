"""Threads that compute different things at a time, each with one core and without gradients."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Some threads, started when they are first needed; they end with the object.

    Two threads that share each matrix product wait for each other at its end, which costs a little
    on an idle machine and most of the time on a busy one. Threads with work of their own do not wait.
    """

    def __init__(self, num_threads: int) -> None:
        """Take the number of threads."""
        self._pool = ThreadPoolExecutor(num_threads, initializer=_begin)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Apply a function to every item; an exception in a thread is raised here."""

        def work(item: Item) -> Result:
            with torch.no_grad():
                return function(item)

        threads = torch.get_num_threads()
        try:
            return list(self._pool.map(work, items))
        finally:
            torch.set_num_threads(threads)  # `_begin` changed what later threads would get


def _begin() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # each thread has its own setting
