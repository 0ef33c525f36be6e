"""The configuration of a run: checks across its parts, JSON and back."""

import json
import math
import re
from dataclasses import fields, is_dataclass, replace

import pytest
import torch

from jepawm.build import build_model
from jepawm.data.augmentation import AugmentationConfig
from jepawm.errors import UserError
from jepawm.experiment import (
    RETIRED_FIELDS,
    AgentConfig,
    DataConfig,
    Experiment,
    experiment_from_json,
    experiment_to_json,
)
from jepawm.models.frozen.encoder import FrozenEncoderConfig
from jepawm.models.predictor import PredictorConfig
from jepawm.planning.cem import CEM
from jepawm.planning.hybrid import Hybrid
from jepawm.planning.icem import ICEM
from jepawm.planning.objectives import LatentDistance
from jepawm.planning.random_shooting import RandomShooting
from jepawm.recipes import RECIPES
from jepawm.recipes.wall import WALL
from jepawm.training.losses import LossConfig
from jepawm.training.optim import OptimConfig


@pytest.mark.parametrize(
    "experiment",
    [
        Experiment(),
        WALL,
        replace(WALL, seed=7, planner=RandomShooting(num_samples=11)),
        Experiment(planner=CEM(num_iterations=3), predictor=PredictorConfig(visual_dim=64)),
        Experiment(encoder=FrozenEncoderConfig(family="vjepa2", size="L", weights="random:5")),
    ],
    ids=["default", "wall", "shooting", "changed", "frozen"],
)
def test_json_gives_the_same_experiment(experiment: Experiment):
    text = json.dumps(experiment_to_json(experiment))
    assert experiment_from_json(json.loads(text), source="x") == experiment


def changed(path: str, value: object) -> dict[str, object]:
    data = json.loads(json.dumps(experiment_to_json(WALL)))
    *parents, last = path.split(".")
    place = data
    for name in parents:
        place = place[name]
    place[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("bogus", 1, r"bogus"),
        ("encoder.bogus", 1, r"bogus\) @ \$\.encoder"),
        ("planner.bogus", 1, r"bogus\) @ \$\.planner"),
        ("encoder.dim", "8", r"'8' is no int @ \$\.encoder\.dim"),
        ("encoder.dim", 8.5, r"8\.5 is no int @ \$\.encoder\.dim"),
        ("encoder.dim", True, r"True is no int @ \$\.encoder\.dim"),
        ("encoder.dim", None, r"None is no int @ \$\.encoder\.dim"),
        ("predictor.residual", "false", r"'false' is no bool @ \$\.predictor\.residual"),
        ("optim.learning_rate", "fast", r"'fast' is no float @ \$\.optim\.learning_rate"),
        ("env", 3, r"3 is no str @ \$\.env"),
        ("predictor.conditioning", "magic", r"magic not in .* @ \$\.predictor\.conditioning"),
        ("predictor.window", 0, r": predictor\.window = 0 must be at least 1 @ \$\.predictor"),
        ("planner.name", "magic", r"unknown planner 'magic'"),
        ("planner", {}, r"planner needs a name"),
        ("planner", None, r"planner needs a name"),
        ("encoder", None, r"encoder needs a name @ \$\.encoder"),
        ("encoder.family", "magic", r"'magic' is not a family of encoders @ \$\.encoder"),
        ("encoder.family", "dinov2", r"extra fields .*dim.* @ \$\.encoder"),
        ("protocols", 3, r"\$\.protocols"),
        ("agent.window", 9, r"agent\.window = 9 exceeds"),
    ],
)
def test_every_field_is_checked(path: str, value: object, message: str):
    with pytest.raises(UserError, match=message) as caught:
        experiment_from_json(changed(path, value), source="config.json")
    assert str(caught.value).startswith("config.json is not a configuration of this version")
    assert "unknown error" not in str(caught.value)


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_what_is_no_object_is_refused(data: object):
    with pytest.raises(UserError, match=r"config\.json is not a configuration"):
        experiment_from_json(data, source="config.json")


def test_whole_numbers_are_numbers():
    assert experiment_from_json(changed("optim.learning_rate", 1), source="x").optim == replace(
        WALL.optim, learning_rate=1.0
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"agent": AgentConfig(window=4)}, r"agent\.window = 4 exceeds predictor\.window = 3"),
        ({"loss": LossConfig(rollout_steps=4)}, r"rollout_steps = 4 exceeds data\.num_steps = 3"),
        (
            {"data": DataConfig(num_steps=11)},
            r"data\.num_steps x data\.frameskip = 55 exceeds data\.episode_steps = 50",
        ),
        (
            {"encoder": FrozenEncoderConfig(), "loss": LossConfig(regularizer="vicreg")},
            r"loss\.regularizer would act on the tokens of the frozen encoder dinov2 S",
        ),
        ({"data": DataConfig(frameskip=4)}, r"data\.frameskip = 4 differs from the frameskip 5"),
    ],
)
def test_parts_must_fit(parts: dict[str, object], message: str):
    with pytest.raises(UserError, match=message):
        Experiment(**parts)


def test_protocols_are_found_by_name():
    assert Experiment().protocol("mpc").num_action_steps == 1
    with pytest.raises(UserError, match=r"unknown protocol 'magic' \(known: mpc, paper\)"):
        Experiment().protocol("magic")


def test_weights_depend_on_the_seed_alone(tiny_experiment: Experiment):
    def weights(seed: int) -> torch.Tensor:
        model = build_model(replace(tiny_experiment, seed=seed), action_dim=2, proprio_dim=2)
        return torch.cat([parameter.flatten() for parameter in model.parameters()])

    state = torch.get_rng_state()
    first = weights(0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.randn(3)
    assert torch.equal(weights(0), first)
    assert not torch.equal(weights(1), first)


def test_steps_in_the_objective_need_a_model_that_learns_them():
    objective = LatentDistance(step_weight=1.0)
    with pytest.raises(
        UserError, match=r"objective\.step_weight = 1\.0 needs .*step_distance_weight"
    ):
        Experiment(objective=objective)
    experiment = Experiment(objective=objective, loss=LossConfig(step_distance_weight=1.0))
    model = build_model(experiment, action_dim=2, proprio_dim=2)
    assert model.step_distance is not None
    assert build_model(Experiment(), action_dim=2, proprio_dim=2).step_distance is None


def test_a_planner_made_of_planners_survives_json():
    experiment = Experiment(planner=Hybrid(sampler=ICEM(num_samples=33)))
    data = json.loads(json.dumps(experiment_to_json(experiment)))
    assert experiment_from_json(data, source="here") == experiment


def test_kept_tokens_and_changed_frames_exclude_each_other():
    def experiment(**fields) -> Experiment:
        data = DataConfig(feature_cache="auto", augmentation=AugmentationConfig(**fields))
        return Experiment(encoder=FrozenEncoderConfig(), data=data)

    with pytest.raises(UserError, match=r"data\.augmentation\.shift and color"):
        experiment(shift=4)
    varied = DataConfig(augmentation=AugmentationConfig(color=0.1))
    with pytest.raises(UserError, match=r"exclude .*optim\.encoder_steps"):
        Experiment(data=varied, optim=OptimConfig(encoder_steps=5))
    noisy = experiment(action_noise=0.5)
    assert experiment_from_json(experiment_to_json(noisy), source="here") == noisy


def test_an_encoder_that_never_learns_needs_weights():
    with pytest.raises(UserError, match=r"encoder_steps = 0 .*--init-from"):
        Experiment(optim=OptimConfig(encoder_steps=0))
    started = Experiment(optim=OptimConfig(encoder_steps=0), init_from="wall")
    assert experiment_from_json(experiment_to_json(started), source="s") == started


@pytest.mark.parametrize("path", RETIRED_FIELDS)
def test_a_retired_field_loads_where_it_had_no_effect(path: str):
    """A file of an earlier version holds it; at another value it would be another experiment."""
    planner = Hybrid() if "sampler" in path else ICEM()
    experiment = Experiment(planner=planner) if path.startswith("planner") else Experiment()
    *parts, name = path.split(".")
    for value in (RETIRED_FIELDS[path], "another"):
        data = json.loads(json.dumps(experiment_to_json(experiment)))
        place = data
        for part in parts:
            place = place[part]
        assert name not in place
        place[name] = value
        if value == RETIRED_FIELDS[path]:
            assert experiment_from_json(data, source="here") == experiment
        else:
            message = rf"here: {re.escape(path)} = 'another': this version has no such field"
            with pytest.raises(UserError, match=message):
                experiment_from_json(data, source="here")


@pytest.mark.parametrize("family", ["conv", "vit"])
def test_configurations_from_before_there_was_a_choice_share_statistics(family: str):
    experiment = replace(WALL, encoder=replace(WALL.encoder, family=family, grid=4))
    data = json.loads(json.dumps(experiment_to_json(experiment)))
    assert experiment_from_json(data, source="here") == experiment
    del data["encoder"]["statistics"]
    found = experiment_from_json(data, source="here")
    assert found == replace(experiment, encoder=replace(experiment.encoder, statistics="shared"))


def test_only_learned_encoders_have_statistics():
    data = experiment_to_json(Experiment(encoder=FrozenEncoderConfig()))
    assert "statistics" not in data["encoder"]
    assert experiment_from_json(data, source="here").encoder == FrozenEncoderConfig()


def numeric_fields(part: object, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], type]:
    """Return the type of every field that holds a number, or might (None), by its path."""
    found: dict[tuple[str, ...], type] = {}
    for one in fields(part):
        value, here = getattr(part, one.name), (*path, one.name)
        kind = float if "float" in str(one.type) else int if "int" in str(one.type) else None
        if is_dataclass(value):
            found |= numeric_fields(value, here)
        elif kind is not None and isinstance(value, int | float | None):
            found[here] = kind
    return found


def with_value(part, path: tuple[str, ...], value: float):
    """Return a copy in which the field at `path` has another value."""
    first, *rest = path
    new = value if not rest else with_value(getattr(part, first), tuple(rest), value)
    return replace(part, **{first: new})


@pytest.mark.parametrize("recipe", ["wall", "pointmaze", "pusht", "metaworld_reach", "robot"])
def test_no_number_of_an_experiment_may_be_none(recipe: str):
    """NaN, infinity and numbers beyond any range are refused before data are collected."""
    experiment = RECIPES.get(recipe)
    assert isinstance(experiment, Experiment)
    paths = numeric_fields(experiment)
    assert len(paths) > 60
    for path, kind in paths.items():
        for value in (math.nan, math.inf, -math.inf) if kind is float else (2**80,):
            with pytest.raises(UserError, match=path[-1]):
                with_value(experiment, path, value)


@pytest.mark.parametrize("recipe", ["wall", "pointmaze", "pusht", "metaworld_reach", "robot"])
def test_no_number_of_an_experiment_is_negative(recipe: str):
    experiment = RECIPES.get(recipe)
    for path, kind in numeric_fields(experiment).items():
        with pytest.raises(UserError, match=path[-1]):
            with_value(experiment, path, kind(-1))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("optim.beta2", 1.0),
        ("optim.beta2", 1.5),
        ("predictor.dropout", 1.0),
        ("predictor.action_dim", -1),
        ("predictor.head_dim", 0),
        ("proprio.dim", 0),
        ("encoder.image_size", 0),
        ("encoder.patch_size", 0),
        ("data.image_size", 0),
        ("data.frameskip", 0),
        ("data.num_steps", 0),
        ("data.train_fraction", 1.5),
        ("agent.window", 0),
        ("loss.rollout_window", 0),
    ],
)
def test_numbers_outside_of_their_range(path: str, value: float):
    with pytest.raises(UserError, match=path.rpartition(".")[2]):
        with_value(RECIPES.get("wall"), tuple(path.split(".")), value)
