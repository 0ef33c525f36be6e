import numpy as np
import pytest
import torch

from jepawm.diagnosis.drift import LARGEST, drift_errors, predict, summarize_drift
from jepawm.diagnosis.experience import Stretch
from jepawm.types import Latent


def errors_of(model, stretch: Stretch, *, window: int = 1, num_steps: int = 6, every=(None, 1, 4)):
    found = drift_errors(model, stretch, window=window, num_steps=num_steps, every=every)
    return {one.every: one for one in found}


@pytest.mark.parametrize("window", [1, 2])
def test_errors_are_those_of_the_moves_since_the_last_real_observation(
    make_model, make_stretch, window: int
):
    stretch, error = make_stretch(), 0.5
    places = stretch.latents.tokens[:, window - 1 :, 0].double().numpy()  # [B, T+1, 2]
    found = errors_of(make_model(error), stretch, window=window)
    since = {None: [0] * 6, 1: [0, 1, 2, 3, 4, 5], 4: [0, 0, 0, 0, 4, 4]}
    for every, starts in since.items():
        moved = places[:, 1:7] - places[:, starts]
        squares = (moved**2).mean(-1)
        np.testing.assert_allclose(found[every].copy, squares, rtol=1e-4)
        np.testing.assert_allclose(found[every].model, error**2 * squares, rtol=1e-4, atol=1e-9)


def test_predictions_begin_anew_at_real_latents(make_model, make_stretch):
    stretch = make_stretch(num_steps=7)
    found = predict(make_model(), stretch, window=1, num_steps=7, every=3)
    assert found.tokens.shape == (6, 7, 1, 2)
    torch.testing.assert_close(found.tokens, stretch.latents.tokens[:, 1:])


def test_a_summary_divides_by_the_variance_and_joins_stretches(make_model, make_stretch):
    model, stretch = make_model(0.5), make_stretch()
    parts = [stretch[:2], stretch[2:]]
    errors = [
        one
        for part in parts
        for one in drift_errors(model, part, window=1, num_steps=6, every=(None, 2))
    ]
    drift = summarize_drift(errors, variances={"tokens": 2.0}, window=1)
    assert (drift.stretches, drift.window) == (6, 1)
    open_loop, closed = drift.curves["tokens"]
    assert (open_loop.every, closed.every) == (None, 2)
    raw = errors_of(model, stretch)[None]
    assert [step.k for step in open_loop.steps] == [1, 2, 3, 4, 5, 6]
    assert [step.model for step in open_loop.steps] == pytest.approx(raw.model.mean(0) / 2)
    assert [step.copy for step in open_loop.steps] == pytest.approx(raw.copy.mean(0) / 2)
    last = open_loop.steps[-1]
    assert last.model_minus_copy.difference == pytest.approx(last.model - last.copy)
    assert last.model_ci95[0] < last.model < last.model_ci95[1]
    assert closed.mean < open_loop.mean
    assert drift.steps_ahead_of_copying == 6


def test_a_model_that_is_worse_than_copying_is_never_ahead_of_it(make_model, make_stretch):
    stretch = make_stretch()
    errors = drift_errors(make_model(1.5), stretch, window=1, num_steps=6, every=(None,))
    assert summarize_drift(errors, variances={"tokens": 1.0}, window=1).steps_ahead_of_copying == 0


def test_proprioception_has_curves_of_its_own_unless_it_does_not_vary(make_model, make_stretch):
    class WithProprio(make_model):
        def rollout(self, context, actions, *, window=None):
            tokens = super().rollout(context, actions, window=window).tokens
            return Latent(tokens=tokens, proprio=tokens * 2)

    plain = make_stretch()
    both = Latent(tokens=plain.latents.tokens, proprio=plain.latents.tokens * 2)
    stretch = Stretch(latents=both, actions=plain.actions)
    errors = drift_errors(WithProprio(0.5), stretch, window=1, num_steps=6, every=(None,))
    drift = summarize_drift(errors, variances={"tokens": 1.0, "proprio": 4.0}, window=1)
    tokens, proprio = (drift.curves[code][0].steps for code in ("tokens", "proprio"))
    assert [one.model for one in tokens] == pytest.approx([one.model for one in proprio])
    still = summarize_drift(errors, variances={"tokens": 1.0, "proprio": 0.0}, window=1)
    assert list(still.curves) == ["tokens"]
    assert still.stretches == 6


def test_predictions_that_are_no_numbers_count_as_the_largest_error(make_model, make_stretch):
    found = errors_of(make_model(float("nan")), make_stretch())
    assert (found[None].model == LARGEST).all()
