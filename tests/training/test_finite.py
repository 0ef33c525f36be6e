"""The first step that is no number is found: at once on a CPU, late and without waiting elsewhere."""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from jepawm.data.augmentation import AugmentationConfig
from jepawm.errors import UserError
from jepawm.training.batches import Batches, Part
from jepawm.training.devices import ComputeConfig, Devices
from jepawm.training.finite import FiniteCheck, NotFiniteError
from jepawm.training.train import take_step

NAN = float("nan")


def note(check: FiniteCheck, step: int, *, loss: float = 1.0, grad_norm: float = 2.0) -> None:
    terms = {"loss": torch.tensor(loss), "prediction": torch.tensor(0.5 * loss)}
    check.note(step, terms, grad_norm=torch.tensor(grad_norm))


def test_a_cpu_refuses_at_once():
    check = FiniteCheck(late=False)
    note(check, 1)
    with pytest.raises(UserError, match=r"loss became nan at step 2 \(loss nan, prediction nan\)"):
        note(check, 2, loss=NAN, grad_norm=NAN)


def test_an_accelerator_tells_the_first_step_when_it_is_asked():
    check = FiniteCheck(late=True)
    for step in (1, 2):
        note(check, step)
    check.settle()
    note(check, 3, grad_norm=float("inf"))
    note(check, 4, loss=NAN, grad_norm=NAN)
    note(check, 5)
    with pytest.raises(
        NotFiniteError, match=r"gradient became inf at step 3 \(loss 1, prediction 0.5\)"
    ) as told:
        check.settle()
    assert told.value.step == 3
    check.settle()  # said once


def test_numbers_of_a_row_come_with_what_was_noted():
    check = FiniteCheck(late=True)
    note(check, 1)
    assert check.read(torch.tensor([3.0, 4.5])) == [3.0, 4.5]
    assert check.read(torch.tensor([5.0])) == [5.0]  # nothing was noted since
    note(check, 2, loss=NAN, grad_norm=NAN)
    with pytest.raises(NotFiniteError, match="nan at step 2"):
        check.read(torch.tensor([6.0]))


def test_other_terms_from_some_step_on_are_no_trouble():
    """An encoder that stops takes terms along, between two rows of the log."""
    check, one = FiniteCheck(late=True), torch.tensor(1.0)
    check.note(1, {"loss": one, "sigreg": one, "temporal": one}, grad_norm=one)
    check.note(2, {"loss": one}, grad_norm=one)
    check.note(3, {"loss": NAN * one}, grad_norm=NAN * one)
    with pytest.raises(NotFiniteError, match=r"loss became nan at step 3 \(loss nan\)"):
        check.settle()


def test_nothing_noted_is_nothing_wrong():
    FiniteCheck(late=True).settle()


def test_noting_late_reads_no_number_from_the_device():
    check, counted = FiniteCheck(late=True), CountReads()
    with counted:
        for step in range(20):
            note(check, step)
    assert counted.reads == 0
    with CountReads() as counted:
        note(FiniteCheck(late=False), 1)
    assert counted.reads == 1  # what is counted is what a CPU does


def test_a_step_reads_no_number_of_its_loss(make_state, tiny_experiment, windows):
    """What an accelerator would be waited for; whole numbers are drawn on the CPU."""
    optim = replace(tiny_experiment.optim, num_steps=20)
    state = make_state(replace(tiny_experiment, optim=optim))
    for group in state.optimizer.param_groups:
        group["fused"] = True  # as on a GPU; elsewhere AdamW reads its own counters
    check = FiniteCheck(late=True)
    devices = Devices(ComputeConfig(), device="cpu")
    parts = [Part(seed=step, indices=torch.arange(4)) for step in range(20)]
    with (
        Batches(
            windows[0], parts, augmentation=AugmentationConfig(), device=devices.device
        ) as batches,
        CountReads() as counted,
    ):
        for _ in parts:
            take_step(state, batches, optim=optim, devices=devices, check=check, seed=0)
            state.step += 1
    assert counted.reads == 0


class CountReads(TorchDispatchMode):
    """Count how often a real number leaves a tensor."""

    reads = 0

    def __torch_dispatch__(self, function, _types, args=(), kwargs=None):
        read = function is torch.ops.aten._local_scalar_dense.default
        self.reads += read and args[0].is_floating_point()
        return function(*args, **(kwargs or {}))
