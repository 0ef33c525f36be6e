"""The average of the weights: known numbers, exchanged and back bit for bit, kept in checkpoints."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from jepawm.checkpoint import load_checkpoint
from jepawm.compute import matmul_peak
from jepawm.errors import UserError
from jepawm.experiment import Experiment
from jepawm.hub.load import load
from jepawm.metrics_log import read_metrics
from jepawm.runs.run_folder import export_run
from jepawm.runs.train import train_run
from jepawm.training.average import WeightAverage
from jepawm.training.devices import ComputeConfig, Devices
from jepawm.training.optim import OptimConfig
from jepawm.training.train import LoopHooks, train
from jepawm.training.validation import validate


def averaged(experiment: Experiment, decay: float | None = 0.6, **optim) -> Experiment:
    return replace(experiment, optim=replace(experiment.optim, ema_decay=decay, **optim))


def steps(state, windows, experiment: Experiment, *, until: int) -> dict[int, dict[str, float]]:
    """Train until a step; returns the rows."""
    rows: dict[int, dict[str, float]] = {}
    train(
        state,
        windows[0],
        val_windows=windows[1],
        optim=experiment.optim,
        loop=experiment.loop,
        hooks=LoopHooks(
            log=lambda step, metrics: rows.update({step: dict(metrics)}),
            save=lambda: None,
            save_best=lambda: None,
            stop=lambda: state.step == until,
        ),
        seed=0,
        devices=Devices(ComputeConfig(), device="cpu"),
        augmentation=experiment.data.augmentation,
    )
    return rows


def with_average(state):
    state.average = WeightAverage(state.learner)
    return state


def weights(state) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in state.learner.model.state_dict().items()}


def test_a_young_average_forgets_faster():
    config = OptimConfig(num_steps=2000, ema_decay=0.9)
    decays = [config.ema_decay_at(step) for step in (0, 1, 79, 80, 81, 1000)]
    assert decays == [0.1, 2 / 11, 80 / 89, 0.9, 0.9, 0.9]
    stopping = OptimConfig(num_steps=2000, ema_decay=0.9, encoder_steps=500)
    assert [stopping.ema_decay_at(step) for step in (499, 500, 501)] == [0.9, 0.1, 2 / 11]


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decays_that_are_none_are_refused(decay: float):
    with pytest.raises(UserError, match=r"optim\.ema_decay"):
        OptimConfig(ema_decay=decay)


def test_the_average_of_weights_by_hand(make_state, tiny_experiment, windows):
    """Step by step in float64; training itself is that without an average, bit for bit."""
    experiment = averaged(tiny_experiment)
    state, plain = with_average(make_state(experiment)), make_state(tiny_experiment)
    expected = {k: v.double() for k, v in weights(state).items()}
    for step in range(12):
        steps(state, windows, experiment, until=step + 1)
        decay = experiment.optim.ema_decay_at(step)
        for name, value in weights(state).items():
            expected[name] = decay * expected[name] + (1 - decay) * value.double()
    steps(plain, windows, tiny_experiment, until=12)
    tensors = state.average.tensors()
    assert tensors.keys() == expected.keys()
    for name, value in weights(plain).items():
        assert torch.equal(weights(state)[name], value), name
        if value.is_floating_point():
            torch.testing.assert_close(tensors[name].double(), expected[name], rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(tensors[name], value)
    assert any("running_mean" in name for name in state.average.learning)


def test_the_model_gets_its_weights_back_bit_for_bit(make_state, tiny_experiment, windows):
    experiment = averaged(tiny_experiment)
    state = with_average(make_state(experiment))
    steps(state, windows, experiment, until=4)
    before, average = weights(state), {k: v.clone() for k, v in state.average.tensors().items()}

    def fail() -> None:
        assert all(torch.equal(value, average[name]) for name, value in weights(state).items())
        raise RuntimeError("meanwhile")

    with pytest.raises(RuntimeError, match="meanwhile"), state.average.in_use():
        fail()
    assert all(torch.equal(value, before[name]) for name, value in weights(state).items())
    assert all(torch.equal(v, average[name]) for name, v in state.average.tensors().items())


def test_validation_is_that_of_the_average(make_state, tiny_experiment, windows):
    experiment = averaged(tiny_experiment)
    state, other = with_average(make_state(experiment)), make_state(tiny_experiment)
    rows = steps(state, windows, experiment, until=6)
    wanted = {}
    for tensors in (state.average.tensors(), weights(state)):
        other.learner.model.load_state_dict(tensors)
        found = validate(other.learner, windows[1], num_windows=512, device=torch.device("cpu"))
        wanted[len(wanted)] = found["val/prediction"]
    assert rows[6]["val/prediction"] == wanted[0] != wanted[1]


def test_it_starts_anew_where_the_encoder_stops(make_state, tiny_experiment, windows):
    experiment = averaged(tiny_experiment, encoder_steps=6)
    state = with_average(make_state(experiment))
    steps(state, windows, experiment, until=12)
    for name, value in state.average.tensors().items():
        same = torch.equal(value, state.average.learning.get(name, value))
        assert same or not name.startswith("encoder."), name


@pytest.fixture
def train_averaged(tiny_experiment, wall_data_root: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that trains the tiny experiment with an average."""
    monkeypatch.setattr("jepawm.runs.train.matmul_peak", partial(matmul_peak, size=64))

    def run(out: Path, *, resume: bool = False, **optim) -> Path:
        train_run(
            averaged(tiny_experiment, **optim),
            out=out,
            data_root=wall_data_root,
            device="cpu",
            resume=resume,
        )
        return out

    return run


@pytest.mark.parametrize("encoder_steps", [None, 7])
def test_a_resumed_run_equals_an_uninterrupted_one(
    train_averaged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder_steps: int | None
):
    whole = train_averaged(tmp_path / "whole", encoder_steps=encoder_steps)
    stop = LoopHooks.__init__

    def stopping(self, *, log, save, **others):
        def dying(step, metrics):
            if step == 8:
                raise KeyboardInterrupt
            log(step, metrics)

        stop(self, log=dying, save=save, **others)

    with monkeypatch.context() as patch:
        patch.setattr(LoopHooks, "__init__", stopping)
        with pytest.raises(KeyboardInterrupt):
            train_averaged(tmp_path / "parts", encoder_steps=encoder_steps)
    parts = train_averaged(tmp_path / "parts", encoder_steps=encoder_steps, resume=True)
    first, second = (
        load_checkpoint(run / "checkpoint", with_training=True) for run in (whole, parts)
    )
    for one, other in ((first.tensors, second.tensors), (first.training, second.training)):
        assert one is not None
        assert other is not None
        assert one.keys() == other.keys()
        differing = {name for name in one if not torch.equal(one[name], other[name])}
        assert differing <= {"seconds"}
    values = [read_metrics(run / "metrics.jsonl")[-1]["val/prediction"] for run in (whole, parts)]
    assert values[0] == values[1]


def test_what_is_loaded_is_the_average(train_averaged, tiny_run: Path, tmp_path: Path):
    """Training is the same, so the weights that learn are those of a run without an average."""
    run = train_averaged(tmp_path / "run")
    saved = load_checkpoint(run / "checkpoint", with_training=True)
    last = load_checkpoint(tiny_run / "checkpoint").tensors
    assert saved.training is not None
    name = "predictor.action_encoder.weight"
    assert torch.equal(saved.training[f"learning.{name}"], last[f"model.{name}"])
    export_run(run, tmp_path / "small")
    for source in (run, tmp_path / "small"):
        found = load(source).model.state_dict()[name]
        assert torch.equal(found, saved.tensors[f"model.{name}"])
        assert not torch.equal(found, last[f"model.{name}"])
