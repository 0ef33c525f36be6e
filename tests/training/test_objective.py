"""The training loss is the weighted sum of its terms."""

from dataclasses import replace

import pytest
import torch

from jepawm.models.proprio import ProprioConfig
from jepawm.training.losses import LossConfig
from jepawm.training.regularizers import sigreg, step_distance_loss, vicreg


def terms_of(make_state, experiment, windows, **loss):
    state = make_state(replace(experiment, loss=LossConfig(target_gradient="all", **loss)))
    batch = windows[0].batch(torch.arange(0, 160, 10))
    terms = state.learner(batch, generator=torch.Generator().manual_seed(3))
    return terms, state.learner, batch


def test_terms_are_weighted(make_state, tiny_experiment, windows):
    terms, learner, batch = terms_of(
        make_state,
        tiny_experiment,
        windows,
        regularizer="vicreg",
        regularizer_weight=0.3,
        covariance_weight=2.0,
        temporal_weight=0.7,
        inverse_dynamics_weight=0.2,
    )
    assert set(terms) == {
        "loss",
        "prediction",
        "rollout",
        "vicreg",
        "temporal",
        "inverse_dynamics",
    }
    expected = terms["prediction"] / 3 + terms["rollout"] / 2
    expected = expected + 0.3 * terms["vicreg"] + 0.7 * terms["temporal"]
    torch.testing.assert_close(terms["loss"], expected + 0.2 * terms["inverse_dynamics"])
    tokens = learner.model.encode(batch.obs).tokens  # [B, T+1, 1, D]
    torch.testing.assert_close(terms["temporal"], tokens.diff(dim=1).square().mean())
    groups = torch.stack(list(tokens[:, :, 0].unbind(1)))  # one group for each time
    torch.testing.assert_close(terms["vicreg"], vicreg(groups, covariance_weight=2.0))


def test_sigreg_sees_each_time_by_itself(make_state, tiny_experiment, windows):
    terms, learner, batch = terms_of(
        make_state,
        tiny_experiment,
        windows,
        regularizer="sigreg",
        num_directions=5,
        rollout_prefix="first",
    )
    groups = learner.model.encode(batch.obs).tokens[:, :, 0].transpose(0, 1)
    expected = sigreg(groups, num_directions=5, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(terms["sigreg"], expected)


def test_terms_without_weight_are_absent(make_state, tiny_experiment, windows):
    terms, learner, _ = terms_of(make_state, tiny_experiment, windows, rollout_steps=1)
    assert set(terms) == {"loss", "prediction"}
    assert learner.inverse_dynamics is None
    torch.testing.assert_close(terms["loss"], terms["prediction"] / 2)


@pytest.mark.parametrize(
    "change",
    [
        {"rollout_steps": 3},
        {"rollout_window": 1, "rollout_steps": 3},
        {"rollout_prefix": "first", "rollout_steps": 1},
        {"metric": "l1"},
        {"regularizer": "sigreg"},
        {"temporal_weight": 1.0},
        {"inverse_dynamics_weight": 1.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_options_change_the_loss(make_state, tiny_experiment, windows, change):
    base, _, _ = terms_of(make_state, tiny_experiment, windows)
    changed, _, _ = terms_of(make_state, tiny_experiment, windows, **change)
    assert base["loss"].item() != changed["loss"].item()


def test_what_helps_planning_is_added_where_it_is_weighted(make_state, tiny_experiment, windows):
    terms, learner, batch = terms_of(
        make_state,
        tiny_experiment,
        windows,
        step_distance_weight=0.6,
    )
    latents = learner.model.encode(batch.obs)
    head = learner.model.step_distance
    torch.testing.assert_close(terms["step_distance"], step_distance_loss(head, latents))
    expected = terms["prediction"] / 3 + terms["rollout"] / 2
    expected = expected + 0.6 * terms["step_distance"]
    torch.testing.assert_close(terms["loss"], expected)
    terms["loss"].backward()
    assert head.count[0].weight.grad is not None


@pytest.mark.parametrize("learned", [True, False])
def test_codes_of_the_proprioception_learn_only_where_they_may(
    make_state, tiny_experiment, windows, learned
):
    experiment = replace(tiny_experiment, proprio=ProprioConfig(mode="feature", dim=4))
    terms, learner, _ = terms_of(make_state, experiment, windows, proprio_gradient=learned)
    terms["loss"].backward()
    weight = learner.model.proprio_encoder.proj.weight
    assert (weight.grad is not None) == learned
    assert learner.model.predictor.action_encoder.weight.grad is not None
