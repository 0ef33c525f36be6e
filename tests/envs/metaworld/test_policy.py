"""Collection in Metaworld: the expert first, random motion after it, all from the seed."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("metaworld", reason="needs the extra 'metaworld'")

from jepawm.envs.metaworld.policy import MetaworldExplorer
from jepawm.envs.metaworld.simulator import MetaworldSimulator
from jepawm.errors import UserError


def draw(policy, *, num_episodes=4):
    generator = np.random.default_rng(0)
    return policy.script(generator, num_episodes=num_episodes, num_steps=60, data_root=Path())


def test_the_same_seed_draws_the_same_script():
    first, second = draw(MetaworldExplorer()), draw(MetaworldExplorer())
    assert first.tasks == second.tasks
    assert np.array_equal(first.commands, second.commands)
    assert np.array(first.commands).shape == (4, 60, 4)
    assert np.abs(first.commands).max() <= 1.0
    assert len({task.start for task in first.tasks}) == 4


def test_the_expert_moves_towards_the_goal_and_random_motion_does_not():
    without = draw(MetaworldExplorer(expert_fraction=0.0, persistence_high=0.0), num_episodes=20)
    moved = np.array(without.commands)
    assert moved.std() == pytest.approx(0.72, abs=0.03)  # standard normal, clipped to 1
    assert np.abs(moved.mean((0, 1))).max() < 0.1
    script = draw(MetaworldExplorer(noise=0.0))
    simulator = MetaworldSimulator("reach")
    for task, actions in zip(script.tasks, script.commands, strict=True):
        scene = simulator.arrange(np.array(list(task.parameters.values())))
        assert tuple(scene.start) == task.start
        expert, _ = simulator.expert(scene, noise=np.zeros((60, 4)))
        same = (actions == expert).all(1)
        num_expert = 60 if same.all() else int(same.argmin())
        assert not same[num_expert:].any()


def test_settings_out_of_range_are_told():
    with pytest.raises(UserError, match=r"persistence_high = 1\.0 and expert_fraction"):
        draw(MetaworldExplorer(persistence_high=1.0))
