"""The paper's recipe and its baselines in small differ in what they should, and in nothing else."""

from dataclasses import replace

import pytest

from jepawm.build import build_model
from jepawm.experiment import Experiment, experiment_from_json, experiment_to_json
from jepawm.recipes import RECIPES
from jepawm.runs.run_folder import differing_fields

FAMILIES = ("small_dino_wm", "small_vjepa2_ac", "small_jepa_wm")
WIDTHS = {
    "wall": (2, 2),
    "pointmaze": (2, 4),
    "pusht": (2, 4),
    "metaworld_reach": (4, 4),
    "metaworld_reach_wall": (4, 4),
}
"""Widths of actions and proprioception by environment."""


def family(name: str, env: str) -> Experiment:
    found = RECIPES.get(f"{name}_{env}")
    assert isinstance(found, Experiment)
    return found


@pytest.mark.parametrize("env", WIDTHS)
def test_the_three_have_the_same_number_of_weights_data_and_steps(env: str):
    counts = []
    for name in FAMILIES:
        recipe = family(name, env)
        assert (recipe.name, recipe.env) == (f"{name}_{env}", env)
        model = build_model(recipe, action_dim=WIDTHS[env][0], proprio_dim=WIDTHS[env][1])
        assert model.encoder.grid == (4, 4)
        counts.append(sum(one.numel() for one in model.parameters()))
        for part in ("encoder", "optim", "data", "protocols", "planner", "agent", "seed"):
            assert getattr(recipe, part) == getattr(family("small_jepa_wm", env), part)
    assert max(counts) < 1.01 * min(counts)


def test_they_differ_in_what_the_paper_says():
    for env in WIDTHS:
        ours = family("small_jepa_wm", env)
        dino = set(differing_fields(ours, family("small_dino_wm", env)))
        assert dino == {
            "name",
            "predictor.conditioning",
            "predictor.positions",
            "predictor.visual_dim",
            "predictor.hidden_dim",
            "loss.rollout_steps",
            "objective.proprio_weight",
        }
        video = set(differing_fields(ours, family("small_vjepa2_ac", env)))
        assert video == {
            "name",
            "predictor.conditioning",
            "predictor.visual_dim",
            "predictor.hidden_dim",
            "proprio.mode",
            "loss.rollout_gradient",
            "loss.rollout_prefix",
            "loss.rollout_proprio",
            "loss.metric",
            "loss.proprio",
            "objective.proprio_weight",
        }
        assert ours.objective.proprio_weight > 0


def test_they_survive_json():
    for name in FAMILIES:
        recipe = family(name, "metaworld_reach_wall")
        assert experiment_from_json(experiment_to_json(recipe), source="test") == recipe


def test_reach_wall_is_reach_with_a_wall():
    reach, wall = RECIPES.get("metaworld_reach"), RECIPES.get("metaworld_reach_wall")
    assert isinstance(reach, Experiment)
    assert isinstance(wall, Experiment)
    assert set(differing_fields(reach, wall)) == {"name", "env", "data.policy.task"}
    assert replace(wall, name=reach.name, env=reach.env, data=reach.data) == reach
