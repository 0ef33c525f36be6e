"""How a step is computed: parts of a batch, precision, layers computed twice."""

import logging
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jepawm.errors import UserError
from jepawm.training.devices import ComputeConfig, Devices, find_layers, hold_gradients


def gradients(state, windows, config: ComputeConfig) -> torch.Tensor:
    """Return all gradients of the loss of one batch."""
    devices = Devices(config, device="cpu")
    module = devices.wrap(state.learner)
    parts = devices.parts(torch.arange(8))
    for part in parts:
        with devices.autocast():
            terms = module(windows[0].batch(part), generator=torch.Generator().manual_seed(0))
        (terms["loss"] / len(parts)).backward()
    return torch.cat([p.grad.flatten() for p in state.learner.parameters()])


def test_logging_and_warnings_of_the_process_stay_as_they_were(make_state, tiny_experiment, caplog):
    logger = logging.getLogger("lightning_fabric")
    Devices(ComputeConfig(), device="cpu")  # imports the package, which sets its own level
    caplog.set_level(logging.DEBUG, logger="lightning_fabric")
    before = list(warnings.filters)
    Devices(ComputeConfig(), device="cpu").wrap(make_state(tiny_experiment).learner)
    assert logger.level == logging.DEBUG
    assert warnings.filters == before


def test_layers_computed_twice_have_the_same_gradients(make_state, tiny_experiment, windows):
    plain = gradients(make_state(tiny_experiment), windows, ComputeConfig())
    state = make_state(tiny_experiment)
    names = [name for name, _ in state.learner.named_parameters()]
    twice = gradients(state, windows, ComputeConfig(activation_checkpointing=True))
    assert [name for name, _ in state.learner.named_parameters()] == names
    torch.testing.assert_close(twice, plain)


def test_bfloat16_is_near_and_keeps_weights_in_float32(make_state, tiny_experiment, windows):
    plain = gradients(make_state(tiny_experiment), windows, ComputeConfig())
    state = make_state(tiny_experiment)
    coarse = gradients(state, windows, ComputeConfig(precision="bfloat16"))
    assert {p.dtype for p in state.learner.parameters()} == {torch.float32}
    difference = (coarse - plain).norm() / plain.norm()
    assert 1e-5 < difference < 0.5  # 1.4 if they had nothing in common


def test_accumulation_has_the_gradients_of_a_loss_without_statistics(
    make_state, tiny_experiment, windows
):
    experiment = replace(
        tiny_experiment,
        encoder=replace(tiny_experiment.encoder, batch_norm=False),
        loss=replace(tiny_experiment.loss, regularizer="none"),
    )
    whole = gradients(make_state(experiment), windows, ComputeConfig())
    parts = gradients(make_state(experiment), windows, ComputeConfig(accumulate=4))
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)
    with_statistics = gradients(make_state(tiny_experiment), windows, ComputeConfig())
    parts = gradients(make_state(tiny_experiment), windows, ComputeConfig(accumulate=4))
    assert (parts - with_statistics).norm() > 1e-3 * with_statistics.norm()


def test_parts_are_slices_in_order():
    devices = Devices(ComputeConfig(accumulate=3), device="cpu")
    assert [part.tolist() for part in devices.parts(torch.arange(6))] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(UserError, match="a batch of 7 windows does not divide by 1 processes x"):
        devices.parts(torch.arange(7))


def test_layers_are_the_elements_of_stacks(make_state, tiny_experiment):
    learner = make_state(tiny_experiment).learner
    assert len(find_layers(learner)) == tiny_experiment.predictor.depth
    with hold_gradients(learner, held=True):
        pass


def test_bad_numbers_are_refused():
    with pytest.raises(UserError, match=r"compute\.accumulate = 0"):
        ComputeConfig(accumulate=0)


@pytest.mark.slow
def test_processes_end_well_though_the_group_is_held(tmp_path: Path, project_root: Path):
    worker = Path(__file__).with_name("leave_worker.py")
    command = [sys.executable, str(worker), str(tmp_path), "100"]  # each pair fails in 1 of 30
    done = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": str(project_root / "src")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:3000]
