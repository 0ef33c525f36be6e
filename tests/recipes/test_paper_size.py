"""Recipes at the paper's size: parameter counts, and the settings that published tables give."""

from dataclasses import replace

import pytest
import torch

from jepawm.build import build_model, with_encoder_weights
from jepawm.experiment import Experiment
from jepawm.models.proprio import ProprioConfig
from jepawm.recipes import RECIPES
from jepawm.runs.cost import known_dims, parameter_counts

pytest.importorskip("transformers")
PREDICTORS = {
    "jepa_wm_wall": 17_626_480,
    "jepa_wm_pointmaze": 17_626_480,
    "jepa_wm_pusht": 17_626_480,
    "jepa_wm_metaworld": 17_630_480,
    "jepa_wm_droid": 228_835_328,
    "dino_wm_metaworld": 21_303_024,
    "vjepa2_ac_droid": 305_205_632,
}
SMALL, GIANT = 21_629_184, 1_012_173_952


def counts_of(experiment: Experiment) -> dict[str, int]:
    action_dim, proprio_dim = known_dims(experiment)
    with torch.device("meta"):
        model = build_model(
            with_encoder_weights(experiment, "random"),
            action_dim=action_dim,
            proprio_dim=proprio_dim,
        )
    return parameter_counts(model)


def recipe(name: str) -> Experiment:
    found = RECIPES.get(name)
    assert isinstance(found, Experiment)
    assert found.name == name
    return found


@pytest.mark.parametrize("name", PREDICTORS)
def test_predictors_have_the_published_number_of_parameters(name: str):
    counts = counts_of(recipe(name))
    assert counts["predictor"] == PREDICTORS[name]
    assert counts["total"] == sum(value for key, value in counts.items() if key != "total")


def test_a_proprio_token_adds_its_encoder():
    oss = replace(recipe("vjepa2_ac_droid"), proprio=ProprioConfig(mode="token"))
    counts = counts_of(oss)
    assert counts["predictor"] == 305_213_824
    assert counts["encoder"] == GIANT


@pytest.mark.parametrize(
    ("name", "width", "action", "proprio"),
    [
        ("dino_wm_metaworld", 424, 420, 100),
        ("dino_wm_pusht", 414, 110, 100),
        ("dino_wm_pointmaze", 414, 110, 100),
        ("dino_wm_wall", 404, 110, 30),
        ("dino_wm_droid", 394, 80, 0),
    ],
)
def test_widths_of_dino_wm(name: str, width: int, action: int, proprio: int):
    experiment = recipe(name)
    counts = counts_of(experiment)
    assert (counts["action_encoder"], counts["proprio_encoder"]) == (action, proprio)
    assert counts["encoder"] == SMALL
    code = experiment.proprio.dim if experiment.proprio.mode == "feature" else 0
    assert 384 + code + experiment.predictor.action_dim == width
    assert experiment.loss.rollout_steps == 1
    assert experiment.encoder.normalization == "half"


@pytest.mark.parametrize(
    ("name", "batch", "steps", "beta2"),
    [
        ("jepa_wm_wall", 128, None, 0.999),
        ("jepa_wm_pusht", 256, None, 0.999),
        ("jepa_wm_droid", 256, 94_500, 0.995),
        ("dino_wm_pointmaze", 128, None, 0.999),
        ("dino_wm_droid", 128, 94_500, 0.999),
    ],
)
def test_optimisers(name: str, batch: int, steps: int | None, beta2: float):
    optim = recipe(name).optim
    assert (optim.batch_size, optim.beta2, optim.clip_norm) == (batch, beta2, 1.0)
    assert {optim.learning_rate_at(step) for step in (0, 1, 1999)} == {5e-4}
    assert (optim.num_epochs, optim.num_steps if steps else None) == (None if steps else 50, steps)


def test_v_jepa_2_ac_warms_up_stays_and_decays():
    optim = recipe("vjepa2_ac_droid").optim
    rates = [optim.learning_rate_at(step) for step in (0, 2249, 4499, 50_000, 89_999, 92_250)]
    expected = [7.5e-5 + 3.5e-4 / 4500, 2.5e-4, 4.25e-4, 4.25e-4, 4.25e-4, 2.125e-4]
    assert rates == pytest.approx(expected)
    assert optim.learning_rate_at(94_499) == pytest.approx(4.25e-4 / 4500)
    assert optim.weight_decay_at(0) == optim.weight_decay_at(94_499) == 0.04
    loss = recipe("vjepa2_ac_droid").loss
    assert (loss.metric, loss.rollout_prefix, loss.rollout_gradient) == ("l1", "first", "all")


def test_windows_are_those_of_the_model():
    droid, wall = recipe("vjepa2_ac_droid").data, recipe("jepa_wm_wall").data
    assert (droid.num_steps, droid.frameskip, droid.image_size, droid.normalize) == (
        7,
        1,
        256,
        False,
    )
    assert (wall.num_steps, wall.frameskip, wall.image_size, wall.normalize) == (3, 5, 224, True)
    assert recipe("dino_wm_droid").data.image_size == 224
    assert recipe("jepa_wm_pointmaze").data.store is None
    assert recipe("jepa_wm_pusht").data.store == "pusht_noise"


def test_wall_is_fifty_passes_over_its_windows():
    optim = recipe("jepa_wm_wall").optim.for_windows(53_568)
    assert optim.num_steps == 50 * 418
    assert optim.for_windows(53_568) == optim
