"""Who acts in an environment when a model is diagnosed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import jepawm
from jepawm.diagnosis.experience import RANDOM
from jepawm.diagnosis.predictions import PredictionRules
from jepawm.envs.pointmaze.policy import RandomPointMaze
from jepawm.envs.wall.policy import RandomWall
from jepawm.hub.load import LoadedModel
from jepawm.runs.experience import Acting, acting

RULES = PredictionRules(num_stretches=3, num_steps=6, window=1, every=(), horizon=3)


@pytest.fixture(scope="module")
def wall() -> LoadedModel:
    """Return the bundled model of Wall."""
    return jepawm.load("wall")


def who(loaded: LoadedModel, *, seed: int = 0, **changes) -> Acting:
    experiment = replace(loaded.experiment, **changes)
    return acting(
        replace(loaded, experiment=experiment),
        loaded.make_env(),
        split="val",
        seed=seed,
        data_root=Path("nowhere"),
    )


def test_the_policy_of_the_training_acts(wall: LoadedModel):
    data = replace(wall.experiment.data, policy=RandomWall(near_door=0.0))
    found = who(wall, data=data)
    assert found.policy == RandomWall(near_door=0.0)
    assert "near_door=0.0" in found.behaviour


def test_a_model_of_imported_data_is_shown_the_policy_of_its_environment(wall: LoadedModel):
    imported = replace(wall.experiment.data, store="imported", policy=RandomWall(near_door=0.0))
    assert who(wall, data=imported).policy == RandomWall()
    released = replace(wall.experiment.data, policy=RandomWall())  # nobody chose it for this one
    assert who(wall, env="pointmaze", data=released).policy == RandomPointMaze()
    own = who(wall, env="own_module:Env", data=released)
    assert (own.policy, own.behaviour) == (None, RANDOM)


def test_stretches_follow_from_the_seed_and_begin_within_an_episode(wall: LoadedModel):
    def first(seed: int) -> tuple[np.ndarray, np.ndarray]:
        (found,) = who(wall, seed=seed).stretches(wall, RULES)
        return found.latents.tokens.numpy(), found.actions.numpy()

    latents, actions = first(0)
    assert latents.shape == (3, 7, 1, 32)
    assert actions.shape == (3, 6, 10)
    for one, again in zip((latents, actions), first(0), strict=True):
        np.testing.assert_array_equal(one, again)
    assert not np.array_equal(actions, first(1)[1])
