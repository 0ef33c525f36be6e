"""Axes: two runs differ in one field, unknown names and senseless bases are refused."""

from dataclasses import replace
from itertools import combinations
from typing import cast

import pytest

from jepawm.errors import UserError
from jepawm.experiment import Experiment
from jepawm.recipes import RECIPES
from jepawm.study.axes import Axis, own_value, variants
from jepawm.study.known_axes import AXES, find_axis
from jepawm.study.setup import Rules, Setup, differences

axes = pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.name)


def base_of(axis: Axis, base: Setup) -> Setup:
    """Return the base, or a recipe that has counterparts where the axis compares these."""
    if axis.name != "recipe":
        return base
    experiment = cast(Experiment, RECIPES.get("small_jepa_wm_wall"))
    return replace(base, experiment=experiment)


@axes
def test_two_runs_of_an_axis_differ_in_its_fields_and_in_nothing_else(axis: Axis, base: Setup):
    names = [value.name for value in axis.values]
    found = variants(axis, base_of(axis, base), values=names)
    assert [one.value for one in found] == names
    for first, second in combinations(found, 2):
        differing = differences(first.setup.to_json(), second.setup.to_json())
        varied = [path for path in differing if _below(path, axis.fields)]
        followed = [path for path in differing if _below(path, axis.follows)]
        assert varied, f"{first.value} and {second.value} are the same"
        assert sorted(varied + followed) == differing


def _below(path: str, fields: tuple[str, ...]) -> bool:
    return any(path == field or path.startswith(f"{field}.") for field in fields)


@axes
def test_what_a_value_says_is_what_it_sets(axis: Axis, base: Setup):
    for one in variants(axis, base_of(axis, base)):
        assert set(axis.fields) <= set(one.settings) <= set(axis.fields) | set(axis.follows)


@axes
def test_axes_train_models_of_their_own_unless_they_only_plan_differently(axis: Axis, base: Setup):
    base = base_of(axis, base)
    models = {
        Setup(experiment=one.setup.for_training(base.experiment), protocol=base.protocol).model_id()
        for one in variants(axis, base)
    }
    assert (len(models) > 1) == axis.trains
    rules = Rules()
    evaluations = {one.setup.evaluation_id(rules) for one in variants(axis, base)}
    assert len(evaluations) == len(variants(axis, base))


def test_the_planning_axes_share_one_model():
    planning = [axis.name for axis in AXES if not axis.trains]
    assert planning == [
        "planning_window",
        "proprio_weight",
        "planner",
        "cost",
        "reduction",
        "planner_cost",
        "replanning",
    ]


def test_the_recipes_own_value_is_the_recipe_itself(base: Setup):
    axis = find_axis("depth")
    found = variants(axis, base)
    assert own_value(axis, found, base=base) == "3"
    same = next(one for one in found if one.value == "3").setup
    assert same.model_id() == base.model_id()
    assert own_value(axis, variants(axis, base, values=("1", "6")), base=base) is None


def test_windows_of_all_lengths_train_on_the_same_cuts(base: Setup):
    found = variants(find_axis("window"), base, values=("1", "7"))
    assert [one.setup.experiment.data.num_steps for one in found] == [7, 7]
    assert [one.setup.experiment.agent.window for one in found] == [1, 2]


def test_a_plan_from_more_observations_replans(base: Setup):
    found = variants(find_axis("planning_window"), base)
    assert {one.setup.protocol.num_action_steps for one in found} == {1}


def test_names_that_are_not_known_are_refused_with_those_that_are(base: Setup):
    with pytest.raises(UserError, match=r"unknown axis 'widow' \(known: encoder, size, depth"):
        find_axis("widow")
    with pytest.raises(UserError, match=r"'addaln' of the axis conditioning; did you mean 'adaln'"):
        variants(find_axis("conditioning"), base, values=("addaln",))
    with pytest.raises(UserError, match=r"unknown value '4' .* \(known: 1, 2, 3, 5, 7\)"):
        variants(find_axis("window"), base, values=("4",))


@pytest.mark.parametrize(
    ("axis", "why"),
    [
        ("positions", "one token of an image"),
        ("conditioning_positions", "one token of an image"),
        ("planning_window", "sees one observation"),
    ],
)
def test_an_axis_that_means_nothing_on_a_base_says_why(axis: str, why: str, one_token: Setup):
    with pytest.raises(UserError, match=why):
        variants(find_axis(axis), one_token)


def test_other_senseless_bases(base: Setup):
    without = base.with_settings({"loss.rollout_steps": 1, "proprio.mode": "none"})
    with pytest.raises(UserError, match="trains without rollouts"):
        variants(find_axis("rollout_gradient"), without)
    with pytest.raises(UserError, match="has no proprioception"):
        variants(find_axis("proprio_weight"), without)
    data = replace(base.experiment.data, store="mine")
    imported = replace(base, experiment=replace(base.experiment, data=data))
    with pytest.raises(UserError, match="data are imported"):
        variants(find_axis("data"), imported)


def test_noise_is_part_of_the_name_of_the_environment(base: Setup):
    found = variants(find_axis("noise"), base)
    assert [one.setup.experiment.env for one in found] == [
        *("wall", "noisy:wall@0.5", "noisy:wall@1")
    ]
    with pytest.raises(UserError, match="noisy already"):
        variants(find_axis("noise"), found[1].setup)


def test_recipes_are_compared_with_those_of_their_environment(base: Setup):
    found = variants(find_axis("recipe"), base_of(find_axis("recipe"), base))
    assert own_value(find_axis("recipe"), found, base=found[-1].setup) == "small_jepa_wm"
    for one in found:
        recipe = cast(Experiment, RECIPES.get(f"{one.value}_wall"))
        assert replace(one.setup.experiment, name=recipe.name) == recipe
    with pytest.raises(UserError, match="none of the recipes of equal size"):
        variants(find_axis("recipe"), base)


def test_a_frozen_encoder_takes_the_terms_of_learned_ones_away(base: Setup):
    found = {one.value: one.setup for one in variants(find_axis("encoder"), base)}
    assert found["conv"].experiment.loss.regularizer == "sigreg"
    assert found["dino"].experiment.loss.regularizer == "none"
    assert {name: one.pretraining for name, one in found.items() if one.pretraining} == {
        "dino": "dino",
        "vjepa": "vjepa",
    }
    other = replace(found["dino"].experiment, seed=1)
    assert replace(found["dino"], experiment=other).pretraining_id() != (
        found["dino"].pretraining_id()
    )


def test_a_value_that_does_not_fit_is_named(base: Setup):
    with pytest.raises(UserError, match=r"planning_window = 3 does not fit base: agent\.window"):
        variants(find_axis("planning_window"), base.with_settings({"predictor.window": 2}))
