"""Random actions in any environment."""

from pathlib import Path

import numpy as np
import pytest

from jepawm.collection import collect, has_policy, new_policy
from jepawm.data.episodes import EpisodeStore
from jepawm.envs.gymnasium.policy import RandomActions
from jepawm.errors import UserError


def script(policy: RandomActions, *, num_episodes: int = 4, num_steps: int = 30):
    return policy.script(
        np.random.default_rng(0),
        num_episodes=num_episodes,
        num_steps=num_steps,
        data_root=Path("nowhere"),
    )


def collected(tmp_path: Path, name: str, **options: int) -> EpisodeStore:
    counts = {"num_episodes": 6, "num_steps": 30, "image_size": 16, "seed": 0} | options
    return collect(name, path=tmp_path / "store", **counts)


def test_actions_are_uniform_and_held():
    policy = RandomActions(environment="gym:point_env:Point-v0", hold_low=3, hold_high=3)
    for rows in script(policy).commands:
        assert rows.shape == (30, 2)
        assert np.abs(rows).max() <= 1
        held = rows.reshape(10, 3, 2)
        np.testing.assert_array_equal(held, held[:, :1].repeat(3, axis=1))
        assert len(np.unique(held[:, 0, 0])) == 10
    single = script(RandomActions(environment="gym:point_env:Point-v0", hold_high=1))
    every = np.concatenate(single.commands)
    assert abs(every.mean()) < 0.2
    assert every.std() == pytest.approx(1 / np.sqrt(3), abs=0.1)


def test_environments_of_gymnasium_have_a_policy_and_others_are_named():
    assert new_policy("gym:point_env:Point-v0") == RandomActions(
        environment="gym:point_env:Point-v0"
    )
    assert new_policy("ogbench:cube-single-v0") == RandomActions(
        environment="ogbench:cube-single-v0"
    )
    assert has_policy("noisy:gym:point_env:Point-v0@0.5")
    assert not has_policy("robosuite:reach")
    with pytest.raises(UserError, match="has no policy of its own; choose one by --policy"):
        new_policy("robosuite:reach")


def test_an_environment_of_gymnasium_is_collected(tmp_path: Path):
    store = collected(tmp_path, "gym:point_env:Point-v0")
    assert store.lengths.tolist() == [31] * 6
    assert store.state is not None
    for start, length in zip(store.starts, store.lengths, strict=True):
        rows = slice(start, start + length)
        moved = np.clip(store.state[rows][:-1] + 0.1 * store.actions[rows][:-1], -1, 1)
        np.testing.assert_allclose(store.state[rows][1:], moved, atol=1e-6)
    assert store.manifest.settings["policy"] == {
        "kind": "RandomActions",
        "environment": "gym:point_env:Point-v0",
        "hold_low": 1,
        "hold_high": 8,
    }


def test_episodes_end_where_those_of_the_environment_do(tmp_path: Path):
    store = collected(tmp_path, "gym:point_env:Short-v0", num_episodes=20)
    assert store.state is not None
    assert len(set(store.lengths.tolist())) > 1
    for start, length in zip(store.starts, store.lengths, strict=True):
        right = store.state[start : start + length, 0] > 0.5
        assert not right[1:-1].any()
        assert right[-1] or length == 31
    limited = collected(tmp_path / "limited", "gym:point_env:Point-v0", num_steps=60)
    assert limited.lengths.tolist() == [41] * 6  # a limit of 40 steps


def test_any_other_environment_by_name(tmp_path: Path):
    policy = RandomActions()
    with pytest.raises(UserError, match="environment is empty"):
        script(policy)
    store = collect(
        "wall",
        path=tmp_path / "store",
        policy=policy,
        num_episodes=2,
        num_steps=5,
        image_size=16,
        seed=0,
    )
    assert store.lengths.tolist() == [6, 6]
    assert np.abs(store.actions).max() <= 1
