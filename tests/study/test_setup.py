"""Fields by their paths, and hashes of what decides."""

from dataclasses import replace

import pytest

from jepawm.errors import UserError
from jepawm.planning.cem import CEM
from jepawm.study.setup import Rules, Setup, differences, with_fields


def test_fields_change_together_so_that_rules_between_them_hold(base: Setup):
    changed = base.with_settings({"predictor.window": 1, "agent.window": 1, "protocol.horizon": 7})
    assert changed.experiment.predictor.window == 1
    assert changed.protocol.horizon == 7
    assert base.experiment.predictor.window == 3
    with pytest.raises(UserError, match=r"agent\.window = 2 exceeds"):
        base.with_settings({"predictor.window": 1})


def test_a_field_that_is_not_there_is_named(base: Setup):
    with pytest.raises(UserError, match="CEM has no field 'temperature'"):
        with_fields(base.experiment, {"planner.temperature": 1.0})


def test_names_and_proposals_decide_nothing_and_seeds_do(base: Setup):
    other = replace(base, experiment=replace(base.experiment, name="other"))
    assert other.model_id() == base.model_id()
    seeded = replace(base, experiment=replace(base.experiment, seed=1))
    assert seeded.model_id() != base.model_id()
    planned = base.with_settings({"planner": CEM(num_samples=8, num_elites=2)})
    assert planned.model_id() == base.model_id()
    assert planned.evaluation_id(Rules()) != base.evaluation_id(Rules())
    assert base.evaluation_id(Rules()) != base.evaluation_id(Rules(num_tasks=48))


def test_training_takes_the_planning_of_the_base(base: Setup):
    wide = base.with_settings({"planner": CEM(num_samples=8, num_elites=2), "agent.window": 3})
    trained = wide.for_training(base.experiment)
    assert trained.planner == base.experiment.planner
    assert trained.agent.window == 2
    narrow = base.with_settings({"predictor.window": 1, "agent.window": 1})
    assert narrow.for_training(base.experiment).agent.window == 1


def test_differences_are_listed_by_their_paths():
    before = {"a": {"b": 1, "c": [1]}, "d": None}
    assert differences(before, {"a": {"b": 2, "c": [1]}, "e": 1, "d": None}) == ["a.b", "e"]


def test_a_study_has_more_than_one_task():
    with pytest.raises(UserError, match="--episodes 1; an interval needs at least 2"):
        Rules(num_tasks=1)
