"""How often a training waits for its device: once for each row of the log.

On a GPU torch's own debug mode counts. Elsewhere a stand-in counts what would be a wait there: real numbers
that leave a tensor.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import jepawm.training.train
from jepawm.training.average import WeightAverage
from jepawm.training.devices import ComputeConfig, Devices
from jepawm.training.finite import FiniteCheck
from jepawm.training.optim import build_optimizer
from jepawm.training.train import LoopHooks, train

EVERY = 20
_WHOLE = (torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.cpu)


class CountCalls(TorchFunctionMode):
    """Count calls that bring a whole tensor of real numbers to Python."""

    waits = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.waits += function in _WHOLE and args[0].is_floating_point()
        return function(*args, **(kwargs or {}))


class CountNumbers(TorchDispatchMode):
    """Count single real numbers that leave a tensor."""

    waits = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        read = function is torch.ops.aten._local_scalar_dense.default
        self.waits += read and args[0].is_floating_point()
        return function(*args, **(kwargs or {}))


@contextmanager
def counted() -> Iterator[list[int]]:
    """Count waits in a block; the list holds their number when it has ended."""
    found: list[int] = []
    with CountCalls() as calls, CountNumbers() as numbers:
        yield found
    found.append(calls.waits + numbers.waits)


def take(state, windows, experiment, *, device: str) -> list[int]:
    """Train to the end; returns the steps of which a row was logged."""
    rows: list[int] = []
    train(
        state,
        windows[0],
        val_windows=None,  # validation is a measurement of its own
        optim=experiment.optim,
        loop=replace(experiment.loop, log_every=EVERY, save_every=1000),
        hooks=LoopHooks(
            log=lambda step, metrics: rows.append(step),
            save=lambda: None,
            save_best=lambda: None,
            stop=lambda: False,
        ),
        seed=0,
        devices=Devices(ComputeConfig(), device=device),
        augmentation=experiment.data.augmentation,
    )
    return rows


def test_what_the_stand_in_counts():
    value = torch.tensor([1.0, 2.0])
    with counted() as found:
        value.tolist()
        value[0].item()
        float(value[1])
        value.sum()
        int(torch.tensor(3))
    assert found == [3]


def test_a_row_is_the_only_wait(make_state, tiny_experiment, windows, monkeypatch):
    """As on an accelerator: the check is late, and AdamW is the fused one."""
    monkeypatch.setattr(jepawm.training.train, "FiniteCheck", lambda late: FiniteCheck(late=True))
    optim = replace(tiny_experiment.optim, num_steps=2 * EVERY, ema_decay=0.9)
    experiment = replace(tiny_experiment, optim=optim)
    state = make_state(experiment)
    state.average = WeightAverage(state.learner)
    for group in state.optimizer.param_groups:
        group["fused"] = True
    with counted() as found:
        assert take(state, windows, experiment, device="cpu") == [EVERY, 2 * EVERY]
    assert found == [2]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("regularizer", ["sigreg", "vicreg"])
def test_a_gpu_is_waited_for_once_in_20_steps(
    make_state, tiny_experiment, windows, regularizer: str
):
    """The first 20 steps pay for memory and kernels; the others are counted by torch."""
    loss = replace(tiny_experiment.loss, regularizer=regularizer)
    loop = replace(tiny_experiment.loop, num_workers=0)
    experiment = replace(tiny_experiment, loss=loss, loop=loop)
    state = make_state(experiment)
    state.learner.to("cuda")
    state.optimizer = build_optimizer(state.learner, experiment.optim)
    for counting in (False, True):
        steps = EVERY * (1 + counting)
        chosen = replace(experiment, optim=replace(experiment.optim, num_steps=steps))
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("warn" if counting else "default")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            take(state, windows, chosen, device="cuda")
        torch.cuda.set_sync_debug_mode("default")
    assert len([one for one in told if "synchronizing" in str(one.message)]) <= 1
