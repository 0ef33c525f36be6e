"""Validation: known errors, signs of collapse, the probe."""

import math
from dataclasses import replace

import torch

from jepawm.models.heads import LinearProbe
from jepawm.training.validation import (
    encode_windows,
    fit_probe,
    spaced_indices,
    validate,
    warn_of_gaps,
)
from jepawm.types import Latent

CPU = torch.device("cpu")


def constant_model(model):
    model.encoder.head.weight.data.zero_()
    model.encoder.head.bias.data.fill_(1.0)
    return model


def test_a_model_that_predicts_no_change_has_the_error_of_standing_still(
    make_state, tiny_experiment, windows
):
    model = make_state(tiny_experiment).learner.model
    model.predict = lambda latents, actions: latents
    metrics = validate(model, windows[1], num_windows=10_000, device=CPU)
    latents, _ = encode_windows(model, windows[1], num_windows=10_000, device=CPU)
    z = latents.tokens[:, :, 0].detach()
    for k in (1, 2, 3):
        expected = ((z[:, k] - z[:, 0]) ** 2).mean() / z.flatten(0, 1).var(0).mean()
        assert math.isclose(metrics[f"val/prediction_k{k}"], expected.item(), rel_tol=1e-4)
    assert math.isclose(
        metrics["val/latent_std"], z.flatten(0, 1).var(0).mean().sqrt().item(), rel_tol=1e-4
    )


def test_a_collapsed_latent_warns_with_its_effective_rank(
    make_state, tiny_experiment, windows, caplog
):
    model = make_state(tiny_experiment).learner.model
    validate(model, windows[1], num_windows=20, device=CPU)
    before = len(caplog.records)
    metrics = validate(constant_model(model), windows[1], num_windows=20, device=CPU)
    assert metrics["val/effective_rank"] < 1.01
    assert len(caplog.records) == before + 1
    assert "have collapsed: effective rank 1.00 of 8" in caplog.text


def test_the_losses_of_validation_are_those_of_training(make_state, tiny_experiment, windows):
    """In evaluation mode, averaged over every start that a rollout may have."""
    steps = replace(tiny_experiment.loss, rollout_steps=2, rollout_prefix="all")
    learner = make_state(replace(tiny_experiment, loss=steps)).learner
    metrics = validate(learner, windows[1], num_windows=10_000, device=CPU)
    batch = windows[1].batch(spaced_indices(windows[1], 10_000))
    with torch.no_grad():
        terms = learner.eval()(batch, generator=torch.Generator())
    for name in ("prediction", "rollout"):
        assert math.isclose(metrics[f"val/{name}"], terms[name].item(), rel_tol=1e-4)
    bare = validate(learner.model, windows[1], num_windows=20, device=CPU)
    assert "val/prediction" not in bare
    assert "val/prediction_k1" in bare


def test_tokens_that_tell_places_and_not_frames_warn(make_state, tiny_experiment, windows, caplog):
    grid = replace(tiny_experiment, encoder=replace(tiny_experiment.encoder, grid=2, reduction=8))
    model = make_state(grid).learner.model
    places = torch.arange(4.0)[:, None]  # their variance is 1.25

    def tokens_that_vary(std: float):
        def encode(obs):
            x = obs.proprio[..., None, :]  # [*b, 1, 2]
            dot = torch.cat([x, x.square(), x.sin(), x.abs()], dim=-1)  # [*b, 1, 8]
            return Latent(tokens=(places + std * dot).expand(*obs.batch_shape, 4, 8))

        return encode

    model.rollout = lambda context, actions: context.latents[:, [0] * actions.shape[1]]
    model.encode = tokens_that_vary(1.0)
    share = validate(model, windows[1], num_windows=99, device=CPU)["val/frame_share"]
    factor = (share / (1 - share) * 1.25) ** 0.5
    for std, warns in ((1.0, False), (0.01 / factor, True)):
        caplog.clear()
        model.encode = tokens_that_vary(std)
        metrics = validate(model, windows[1], num_windows=99, device=CPU)
        expected = (std * factor) ** 2 / ((std * factor) ** 2 + 1.25)
        assert math.isclose(metrics["val/frame_share"], expected, rel_tol=1e-3)
        assert ("hardly tell one frame from another" in caplog.text) == warns
    model.requires_grad_(requires_grad=False)  # a frozen encoder is as it is
    caplog.clear()
    validate(model, windows[1], num_windows=99, device=CPU)
    assert "hardly" not in caplog.text


def test_a_tenfold_gap_is_a_warning(caplog):
    warn_of_gaps({"train/prediction": 1e-4, "val/prediction": 1e-2})
    assert "val/prediction 0.01 and train/prediction 0.0001 differ 100 times" in caplog.text


def test_a_probe_can_be_fitted_to_a_collapsed_latent(make_state, tiny_experiment, windows):
    model = constant_model(make_state(tiny_experiment).learner.model)
    probe, error = fit_probe(model, windows[0], val_windows=windows[1], num_windows=20, device=CPU)
    assert isinstance(probe, LinearProbe)
    assert math.isfinite(error)


def test_probe_reads_a_latent_that_is_the_position(make_state, tiny_experiment, windows):
    model = make_state(tiny_experiment).learner.model
    mean, std = windows[0].normalizer.proprio_mean, windows[0].normalizer.proprio_std
    model.encode = lambda obs: Latent(tokens=(obs.proprio * std + mean).unsqueeze(-2) / 64)
    probe, error = fit_probe(model, windows[0], val_windows=windows[1], num_windows=100, device=CPU)
    assert probe.weight.shape == (2, 2)
    assert error < 1  # pixels; ridge shrinks it a little


def test_windows_are_spaced_evenly(windows):
    count = len(windows[1])
    assert spaced_indices(windows[1], 2).tolist() == [0, count // 2]
    assert spaced_indices(windows[1], 10_000).tolist() == list(range(count))
