"""Validation: known errors, signs of collapse, the probe."""

import math

import torch

from jepawm.models.heads import LinearProbe
from jepawm.training.validation import encode_windows, fit_probe, spaced_indices, validate
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
