"""Batches of coming steps, read ahead by worker processes or in the step itself: the same either way."""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import current_thread, main_thread
from time import perf_counter
from types import TracebackType
from typing import cast

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from jepawm.data.augmentation import AugmentationConfig, augment
from jepawm.data.windows import Windows
from jepawm.errors import UserError
from jepawm.processes import together
from jepawm.types import Trajectory

MOST_WORKERS = 8
"""Processes that read for one training process where their number is not given."""
THREAD = "jepawm-batches"
"""First part of the name of the thread that takes batches over."""
_WITHOUT_STREAMS = ("cpu", "mps", "meta")
"""Devices that take a batch in the step itself."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one forward pass learns from."""

    seed: int
    """Seed of the step, which augmentation depends on."""
    indices: Int64[Tensor, " b"]
    """Windows."""


class Batches:
    """Hand out the batches of some parts of steps, in order, on a device.

    Windows are read, decoded and augmented in worker processes, `num_ahead` batches ahead for each, in
    pinned memory on a GPU, whose copies overlap with the step before. Without workers a batch is read
    when it is asked for. Numbers and order do not depend on it.
    """

    def __init__(
        self,
        windows: Windows,
        parts: Iterable[Part],
        *,
        augmentation: AugmentationConfig,
        device: torch.device,
        num_workers: int = 0,
        num_ahead: int = 2,
    ) -> None:
        """Start the workers; the processes of a run do so together."""
        self._device = device
        on_gpu = device.type not in _WITHOUT_STREAMS
        self._runtime = torch.get_device_module(device)
        self._copies = self._runtime.Stream(device) if on_gpu else None
        loader = DataLoader(
            _Reader(windows, augmentation),
            batch_size=None,
            sampler=parts,
            num_workers=num_workers,
            collate_fn=cast(Callable[[list[_Read]], _Read], _as_it_is),
            pin_memory=on_gpu,
            worker_init_fn=_heed_no_signals,
            prefetch_factor=num_ahead if num_workers else None,
            multiprocessing_context="fork" if num_workers and sys.platform == "linux" else None,
            generator=torch.Generator(),  # the global one is the model's
        )
        with _own_handler_of_children():
            read: Iterator[_Read] = iter(loader)
        # On a GPU the loader itself takes batches from the workers in a thread, which pins them.
        takes_over = num_workers > 0 and not on_gpu
        self._read: Iterator[_Read] | None = _TakenOver(read) if takes_over else read
        self._seconds_waited = 0.0

    def __iter__(self) -> "Batches":
        """Return the batches themselves."""
        return self

    def __next__(self) -> Trajectory:
        """Return the next batch; an error of one process ends all."""
        began = perf_counter()
        with together():
            batch = self._next()
        moved = self._move(batch)
        self._seconds_waited += perf_counter() - began
        return moved

    def take_seconds_waited(self) -> float:
        """Return the seconds that were spent in `next` since this was asked last."""
        seconds, self._seconds_waited = self._seconds_waited, 0.0
        return seconds

    def __enter__(self) -> "Batches":
        """Return the batches themselves."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the workers."""
        if isinstance(self._read, _TakenOver):
            self._read.close()
        self._read = None

    def _next(self) -> Trajectory:
        if self._read is None:
            raise StopIteration
        try:
            read = next(self._read)
        except (RuntimeError, EOFError, ConnectionError, FileNotFoundError) as error:
            if isinstance(error, RuntimeError) and not str(error).startswith("DataLoader worker"):
                raise  # the others are what a worker leaves behind that dies while it hands over
            raise UserError(
                "a process that reads batches was killed, as happens where memory runs out; set "
                "loop.num_workers lower and go on with --resume"
            ) from error
        if read.error is not None:
            raise read.error
        assert read.batch is not None
        return read.batch

    def _move(self, batch: Trajectory) -> Trajectory:
        if self._copies is None:
            return batch.to(self._device)
        with self._runtime.stream(self._copies):
            moved = batch.map(lambda tensor: tensor.to(self._device, non_blocking=True))
        step = self._runtime.current_stream(self._device)
        step.wait_stream(self._copies)
        moved.map(lambda tensor: _kept_for(tensor, step))
        return moved


def worker_count(given: int | None, *, device: torch.device, num_processes: int) -> int:
    """Return how many processes read for each training process.

    None means as many as there are cores for each, at most `MOST_WORKERS`, where a GPU takes the step,
    and none elsewhere: the step needs the cores.
    """
    if given is not None:
        return given
    if device.type in _WITHOUT_STREAMS:
        return 0
    return max(1, min(MOST_WORKERS, (os.cpu_count() or 1) // num_processes))


@dataclass(frozen=True, kw_only=True)
class _Read:
    """A batch, or why there is none."""

    batch: Trajectory | None = None
    error: Exception | None = None

    def pin_memory(self) -> "_Read":
        """Return the batch in memory that a GPU copies from by itself."""
        batch = None if self.batch is None else self.batch.map(Tensor.pin_memory)
        return _Read(batch=batch, error=self.error)


class _TakenOver:
    """Batches that a thread takes over from the workers, one ahead: the step does not wait for that."""

    def __init__(self, read: Iterator[_Read]) -> None:
        self._read = read
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=THREAD)
        self._coming = self._thread.submit(next, read, None)

    def __iter__(self) -> "_TakenOver":
        return self

    def __next__(self) -> _Read:
        found = self._coming.result()
        if found is None:
            raise StopIteration
        self._coming = self._thread.submit(next, self._read, None)
        return found

    def close(self) -> None:
        """End the thread, when it has taken over the batch that it waits for."""
        self._thread.shutdown(cancel_futures=True)


class _Reader(Dataset[_Read]):
    """Read the windows of a part; what the user can fix is handed over, a worker never ends by it."""

    def __init__(self, windows: Windows, augmentation: AugmentationConfig) -> None:
        self._windows, self._augmentation = windows, augmentation

    def __getitem__(self, part: Part) -> _Read:
        try:
            batch = self._windows.batch(part.indices)
        except (UserError, OSError) as error:
            return _Read(error=error)
        return _Read(
            batch=augment(batch, self._augmentation, step_seed=part.seed, indices=part.indices)
        )


def _as_it_is(read: _Read) -> _Read:
    return read


def _heed_no_signals(_number: int) -> None:
    """Leave it to the training process when to stop, as it ends its workers."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


@contextmanager
def _own_handler_of_children() -> Iterator[None]:
    """Keep the handler of SIGCHLD: that of the loader raises wherever the training happens to be.

    A worker that is gone is found where the next batch is asked for.
    """
    before = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    yield
    if before is not None and current_thread() is main_thread():
        signal.signal(signal.SIGCHLD, before)


def _kept_for(tensor: Tensor, stream: torch.Stream) -> Tensor:
    """Keep the memory of a tensor until a stream has used it."""
    tensor.record_stream(stream)
    return tensor
