"""Bases of the study: what the paper's ablations start from, and what every axis needs of them."""

from dataclasses import replace

import pytest
import torch

from jepawm.build import build_model
from jepawm.experiment import Experiment
from jepawm.models.proprio import ProprioConfig
from jepawm.recipes import RECIPES
from jepawm.types import Context, Observation

BASES = ("study_grid", "study_grid_pointmaze", "study_token", "study_token_pointmaze")


def base(name: str) -> Experiment:
    found = RECIPES.get(name)
    assert isinstance(found, Experiment)
    return found


def predicted(experiment: Experiment, *, num_frames: int) -> torch.Tensor:
    """Return tokens `[1, 1, N, D]` that a model with random weights predicts."""
    model = build_model(experiment, action_dim=2, proprio_dim=4).eval()
    pixels = torch.randint(0, 256, (1, num_frames, 3, 64, 64), dtype=torch.uint8)
    latents = model.encode(Observation(pixels=pixels, proprio=torch.zeros(1, num_frames, 4)))
    actions = torch.zeros(1, num_frames - 1, model.action_dim)
    context = Context(latents=latents, actions=actions)
    return model.rollout(context, actions.new_zeros(1, 1, model.action_dim)).tokens


@pytest.mark.parametrize("name", BASES)
def test_bases_see_three_frames_and_no_proprioception(name):
    experiment = base(name)
    assert experiment.name == name
    assert experiment.env == ("pointmaze" if name.endswith("pointmaze") else "wall")
    assert (experiment.predictor.window, experiment.proprio.mode) == (3, "none")
    assert experiment.agent.window >= 2
    assert experiment.encoder.grid == (4 if "grid" in name else 1)
    assert experiment.proposals.num_steps == 0
    assert {one.name for one in experiment.protocols} >= {"paper", "replan"}
    tokens = predicted(experiment, num_frames=3)
    assert tokens.shape == (1, 1, experiment.encoder.grid**2, experiment.encoder.dim)


@pytest.mark.parametrize("name", BASES)
def test_two_bases_of_a_kind_differ_in_their_environment_and_in_how_they_are_trained(name):
    other = base(name.removesuffix("_pointmaze"))
    changes = {"name", "env", "data", "loss", "optim"}
    experiment = base(name)
    same = {key for key, value in vars(other).items() if getattr(experiment, key) == value}
    assert vars(other).keys() - same <= changes
    weight = other.loss.temporal_weight
    assert replace(experiment.loss, temporal_weight=weight) == other.loss


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("conditioning", ["feature", "sequence", "adaln", "adaln_zero"])
@pytest.mark.parametrize("proprio", ["none", "feature", "token"])
def test_every_choice_of_the_paper_can_be_made_by_its_own_field(name, conditioning, proprio):
    experiment = base(name)
    for positions in ("sincos", "rope") if "grid" in name else ("rope",):
        changed = replace(
            experiment,
            predictor=replace(experiment.predictor, conditioning=conditioning, positions=positions),
            proprio=ProprioConfig(mode=proprio, dim=16),
        )
        assert predicted(changed, num_frames=2).isfinite().all()
