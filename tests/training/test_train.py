"""The loop: it learns, logs, saves, stops, and never writes a checkpoint of NaN."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from jepawm.data.augmentation import AugmentationConfig
from jepawm.errors import UserError
from jepawm.training.batches import Batches, Part
from jepawm.training.cost import gflop_per_step, training_gflop
from jepawm.training.devices import ComputeConfig, Devices
from jepawm.training.finite import FiniteCheck
from jepawm.training.optim import batch_indices
from jepawm.training.train import LoopConfig, LoopHooks, stop_encoder, take_step, train


class Recorder:
    """Note what the loop asks for; stop after step `stop_at`."""

    def __init__(self, state, *, stop_at: int | None = None) -> None:
        self.state, self.stop_at = state, stop_at
        self.rows: dict[int, dict[str, float]] = {}
        self.saved: list[int] = []
        self.best: list[int] = []

    def hooks(self) -> LoopHooks:
        return LoopHooks(
            log=lambda step, metrics: self.rows.update({step: dict(metrics)}),
            save=lambda: self.saved.append(self.state.step),
            save_best=lambda: self.best.append(self.state.step),
            stop=lambda: self.state.step == self.stop_at,
        )


def run(state, windows, experiment, *, stop_at=None) -> Recorder:
    recorder = Recorder(state, stop_at=stop_at)
    train(
        state,
        windows[0],
        val_windows=windows[1],
        optim=experiment.optim,
        loop=experiment.loop,
        hooks=recorder.hooks(),
        seed=experiment.seed,
        devices=Devices(ComputeConfig(), device="cpu"),
        augmentation=experiment.data.augmentation,
    )
    return recorder


def longer(experiment, **optim):
    return replace(experiment, optim=replace(experiment.optim, **optim))


def test_a_tiny_model_improves(make_state, tiny_experiment, windows):
    experiment = longer(tiny_experiment, num_steps=80, learning_rate=3e-3)
    recorder = run(make_state(experiment), windows, experiment)
    first, last = recorder.rows[6], recorder.rows[80]
    assert last["train/loss"] < 0.7 * first["train/loss"]
    assert last["train/inverse_dynamics"] < first["train/inverse_dynamics"]
    assert last["val/prediction_k1"] < first["val/prediction_k1"]


def test_augmentation_changes_what_training_sees(make_state, tiny_experiment, windows):
    varied = replace(tiny_experiment.data, augmentation=AugmentationConfig(shift=2, color=0.2))
    losses = [
        run(make_state(tiny_experiment), windows, experiment).rows[2]["train/loss"]
        for experiment in (tiny_experiment, replace(tiny_experiment, data=varied))
    ]
    assert losses[0] != losses[1]


def test_rows_and_checkpoints_come_when_they_should(make_state, tiny_experiment, windows):
    recorder = run(make_state(tiny_experiment), windows, tiny_experiment)
    assert list(recorder.rows) == [2, 4, 6, 8, 10, 12]
    validated = [step for step, row in recorder.rows.items() if "val/effective_rank" in row]
    assert validated == [6, 12]
    assert recorder.saved == [5, 10, 12]
    assert recorder.rows[2]["train/learning_rate"] == pytest.approx(1e-3 * 2 / 3)


def test_a_stop_saves_and_the_rest_gives_the_same_parameters(make_state, tiny_experiment, windows):
    whole, parts = make_state(tiny_experiment), make_state(tiny_experiment)
    run(whole, windows, tiny_experiment)
    assert run(parts, windows, tiny_experiment, stop_at=7).saved == [5, 7]
    assert parts.step == 7
    run(parts, windows, tiny_experiment)
    for name, value in whole.learner.state_dict().items():
        assert torch.equal(value, parts.learner.state_dict()[name]), name


def test_a_stopped_encoder_stays_and_the_predictor_learns_on(make_state, tiny_experiment, windows):
    experiment = longer(tiny_experiment, encoder_steps=6)
    state = make_state(experiment)
    run(state, windows, experiment, stop_at=6)
    stopped = {name: value.clone() for name, value in state.learner.state_dict().items()}
    recorder = run(state, windows, experiment)
    changed = {n for n, x in state.learner.state_dict().items() if not torch.equal(x, stopped[n])}
    assert any(name.startswith("model.predictor.") for name in changed)
    assert not any(name.startswith("model.encoder.") for name in changed)
    assert "train/inverse_dynamics" not in recorder.rows[8]  # it would shape the encoder
    assert "val/prediction_k1" in recorder.rows[12]


def test_going_on_with_a_stopped_encoder_equals_never_stopping(
    make_state, tiny_experiment, windows
):
    experiment = longer(tiny_experiment, encoder_steps=6)
    whole, parts = make_state(experiment), make_state(experiment)
    run(whole, windows, experiment)
    run(parts, windows, experiment, stop_at=4)
    run(parts, windows, experiment, stop_at=9)
    run(parts, windows, experiment)
    for name, value in whole.learner.state_dict().items():
        assert torch.equal(value, parts.learner.state_dict()[name]), name


def test_tokens_of_a_stopped_encoder_are_those_that_planning_sees(
    make_state, tiny_experiment, windows
):
    learner = make_state(tiny_experiment).learner
    tokens = stop_encoder(learner, windows[0].store, device=torch.device("cpu"))
    batch = windows[0].batch(torch.tensor([3, 40]))
    kept = windows[0].with_tokens(tokens).batch(torch.tensor([3, 40]))
    seen = learner.eval().encode(batch.obs)
    torch.testing.assert_close(learner.encode(kept.obs).tokens, seen.tokens)
    torch.testing.assert_close(learner.encode(kept.obs).proprio, seen.proprio)
    assert windows[0].features is None


def test_the_count_of_operations_knows_when_the_encoder_stops(make_state, tiny_experiment, windows):
    learner = make_state(tiny_experiment).learner
    batch = windows[0].batch(torch.arange(4))
    optim = replace(tiny_experiment.optim, encoder_steps=6)
    count = partial(training_gflop, learner, batch, optim=optim)
    learning = gflop_per_step(learner, batch)
    assert count(num_steps=6) == pytest.approx(6 * learning)
    assert 6 * learning < count(num_steps=12) < 9 * learning


def test_dropout_is_a_function_of_seed_and_step(make_state, tiny_experiment, windows):
    """The masks come from torch's global generator, which the loop seeds in every step."""
    experiment = replace(tiny_experiment, predictor=replace(tiny_experiment.predictor, dropout=0.5))
    whole, parts = make_state(experiment), make_state(experiment)
    run(whole, windows, experiment)
    run(parts, windows, experiment, stop_at=7)
    torch.randn(3)
    run(parts, windows, experiment)
    for name, value in whole.learner.state_dict().items():
        assert torch.equal(value, parts.learner.state_dict()[name]), name


def test_a_loss_that_becomes_nan_stops_with_its_step(make_state, tiny_experiment, windows):
    state = make_state(tiny_experiment)
    recorder = Recorder(state)
    forward = state.learner.forward

    def spoiled(batch, *, generator):
        terms = forward(batch, generator=generator)
        return {**terms, "loss": terms["loss"] * (torch.nan if state.step == 7 else 1)}

    state.learner.forward = spoiled
    with pytest.raises(UserError, match=r"the loss became nan at step 8 .*checkpoint is kept"):
        train(
            state,
            windows[0],
            val_windows=windows[1],
            optim=tiny_experiment.optim,
            loop=tiny_experiment.loop,
            hooks=recorder.hooks(),
            seed=0,
            devices=Devices(ComputeConfig(), device="cpu"),
            augmentation=tiny_experiment.data.augmentation,
        )
    assert recorder.saved == [5]
    assert all(bool(p.isfinite().all()) for p in state.learner.parameters())


@pytest.mark.parametrize("clip_norm", [1.0, 0.0])
def test_a_gradient_that_becomes_nan_stops_before_the_weights_do(
    make_state, tiny_experiment, windows, clip_norm
):
    """The loss is finite, its gradient is not: the root of zero."""
    experiment = longer(tiny_experiment, clip_norm=clip_norm)
    state = make_state(experiment)
    forward = state.learner.forward

    def spoiled(batch, *, generator):
        terms = forward(batch, generator=generator)
        zero = 0 * next(state.learner.parameters()).sum()
        return {**terms, "loss": terms["loss"] + (zero.sqrt() if state.step == 4 else 0)}

    state.learner.forward = spoiled
    with pytest.raises(UserError, match="the gradient became nan at step 5"):
        run(state, windows, experiment)
    assert all(bool(p.isfinite().all()) for p in state.learner.parameters())


def test_a_batch_that_is_left_out_changes_nothing(make_state, tiny_experiment, windows):
    """Known answer: the steps beside it, taken one by one."""
    state, beside = make_state(tiny_experiment), make_state(tiny_experiment)
    state.left_out = frozenset({3, 8})
    run(state, windows, tiny_experiment)
    devices, optim = Devices(ComputeConfig(), device="cpu"), tiny_experiment.optim
    check = FiniteCheck(late=False)
    beside.learner.train()
    for step in (one for one in range(12) if one not in (3, 8)):
        beside.step = step
        index = batch_indices(num_windows=len(windows[0]), batch_size=16, seed=0, step=step)
        parts = [Part(seed=step, indices=index)]
        with Batches(
            windows[0], parts, augmentation=AugmentationConfig(), device=devices.device
        ) as batches:
            take_step(beside, batches, optim=optim, devices=devices, check=check, seed=0)
    for name, value in beside.learner.state_dict().items():
        assert torch.equal(value, state.learner.state_dict()[name]), name


def test_clipping_limits_the_first_step(make_state, tiny_experiment, windows):
    norms = {}
    for clip_norm in (0.0, 1e-3):
        experiment = longer(tiny_experiment, num_steps=1, clip_norm=clip_norm)
        state = make_state(experiment)
        rows = run(state, windows, experiment).rows
        total = torch.stack([p.grad.square().sum() for p in state.learner.parameters()]).sum()
        norms[clip_norm] = (rows[1]["train/grad_norm"], total.sqrt().item())
    assert norms[0.0][0] == pytest.approx(norms[0.0][1], rel=1e-4)
    assert norms[1e-3][0] == pytest.approx(norms[0.0][0], rel=1e-4)
    assert norms[1e-3][1] == pytest.approx(1e-3, rel=1e-2)


def test_gflop_of_a_step_grow_with_the_batch(make_state, tiny_experiment, windows):
    learner = make_state(tiny_experiment).learner
    small, large = (
        gflop_per_step(learner, windows[0].batch(torch.arange(size))) for size in (4, 8)
    )
    assert large == pytest.approx(2 * small, rel=0.01)
    assert all(p.grad is None for p in learner.parameters())


def test_intervals_below_one_are_refused():
    with pytest.raises(UserError, match=r"loop\.save_every = 0"):
        LoopConfig(save_every=0)
    with pytest.raises(UserError, match=r"loop\.keep_every = 300 is not a multiple of .* = 200"):
        LoopConfig(save_every=200, keep_every=300)
