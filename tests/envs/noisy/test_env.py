"""Noise around an environment: its size, its seeds, its names."""

from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm.collection import collect, new_policy
from jepawm.contracts import Simulator
from jepawm.envs import ENVIRONMENTS, build_env, without_noise
from jepawm.envs.noisy.env import NoisyEnv, NoisySimulator, make_noisy, task_noise_seed
from jepawm.envs.wall.env import WallBatch
from jepawm.envs.wall.policy import RandomWall
from jepawm.errors import UserError
from jepawm.experiment import Experiment, experiment_from_json, experiment_to_json
from jepawm.protocol import KnowsObject, KnowsWalls
from jepawm.registry import UntrustedModuleError
from jepawm.testing import check_env, check_simulator
from jepawm.types import Observation, Task


class Line:
    """A place on a line, without states; 7 numbers to an action, the first of which moves it."""

    action_dim, proprio_dim = 7, 0

    def sample_tasks(self, seed: int, *, num_tasks: int) -> list[Task]:
        starts = np.random.default_rng(seed).uniform(size=num_tasks).tolist()
        return [Task(start=(start,), goal=(start + 9.0,)) for start in starts]

    def reset(self, tasks: list[Task]) -> Observation:
        self.places = np.array([task.start[0] for task in tasks])
        return self.picture()

    def goal_observation(self) -> Observation:
        return self.picture()

    def step(self, actions: np.ndarray) -> Observation:
        self.places = self.places + actions[:, 0]
        return self.picture()

    def success(self) -> np.ndarray:
        return self.places > 5.0

    def picture(self) -> Observation:
        return Observation(pixels=torch.full((len(self.places), 3, 16, 24), 100, dtype=torch.uint8))


def test_strength_0_is_the_environment_itself():
    env = WallBatch(32)
    assert make_noisy(env, 0.0) is env
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(UserError, match=r"strength = .* of the noise; give 0 \(none\) to 1"):
            make_noisy(env, strength)


def test_a_noisy_simulator_and_a_noisy_robot_keep_their_contracts():
    noisy = make_noisy(WallBatch(32), 0.7)
    assert isinstance(noisy, NoisySimulator)
    check_simulator(noisy, num_steps=70)  # more than are drawn at a time
    assert isinstance(noisy, KnowsWalls)
    assert not isinstance(noisy, KnowsObject)
    robot = make_noisy(Line(), 0.7)
    assert isinstance(robot, NoisyEnv)
    assert not isinstance(robot, Simulator)
    check_env(robot)


def test_actions_are_off_by_a_part_of_their_size():
    noisy = NoisyEnv(Line(), 0.5)
    noisy.reset(noisy.sample_tasks(0, num_tasks=40))
    actions = np.full((40, 200, 7), 2.0)
    noise = noisy.executed(actions) - actions  # standard deviation 0.3 x 0.5 x 2
    assert noise.std() == pytest.approx(0.3, rel=0.02)
    assert abs(noise.mean()) < 0.005
    larger = noisy.executed(10 * actions) - 10 * actions
    np.testing.assert_allclose(larger, 10 * noise)
    assert np.array_equal(noisy.executed(0 * actions), 0 * actions)  # rest stays rest


def test_noise_of_a_task_is_the_same_in_any_batch_and_whatever_was_done_before():
    env = make_noisy(WallBatch(32), 1.0)
    tasks = env.sample_tasks(0, num_tasks=3)
    action = np.full((3, 2), 0.5)
    first = env.reset(tasks)
    goals = env.goal_observation()
    second = env.step(action)
    alone = env.reset(tasks[2:])
    assert torch.equal(alone.pixels, first.pixels[2:])
    assert torch.equal(env.goal_observation().pixels, goals.pixels[2:])
    again = env.step(action[:1])
    assert torch.equal(again.pixels, second.pixels[2:])
    assert torch.equal(again.proprio, second.proprio[2:])
    assert len({task_noise_seed(task) for task in tasks}) == 3


def test_pictures_change_and_states_stay_true():
    plain, noisy = WallBatch(64), make_noisy(WallBatch(64), 0.5)
    assert isinstance(noisy, NoisySimulator)
    tasks = plain.sample_tasks(0, num_tasks=2)
    assert tasks == noisy.sample_tasks(0, num_tasks=2)
    seen, true = noisy.reset(tasks), plain.reset(tasks)
    assert not torch.equal(seen.pixels, true.pixels)
    assert torch.equal(seen.proprio, true.proprio)
    np.testing.assert_array_equal(noisy.states(), plain.states())
    assert noisy.beside(noisy.states()).keys() == plain.beside(plain.states()).keys() != set()
    away = (seen.pixels.float() - true.pixels.float()).abs().mean()
    strong = make_noisy(WallBatch(64), 1.0).reset(tasks)
    assert 0 < away < (strong.pixels.float() - true.pixels.float()).abs().mean()


def test_actions_of_another_shape_are_refused():
    env = make_noisy(Line(), 0.5)
    env.reset(env.sample_tasks(0, num_tasks=2))
    for shape in ((3, 7), (2, 6)):
        with pytest.raises(UserError, match=r"there are 2 copies and an action has 7 numbers"):
            env.step(np.zeros(shape))


def test_a_name_says_environment_and_strength():
    env = build_env("noisy:wall@0.5", image_size=32)
    assert isinstance(env, NoisySimulator)
    assert env.strength == 0.5
    assert isinstance(build_env("noisy:wall@0", image_size=32), WallBatch)
    assert without_noise("noisy:metaworld:push@0.5") == "metaworld:push"
    assert without_noise("wall") == "wall"
    assert new_policy("noisy:wall@1") == RandomWall()


@pytest.mark.parametrize("member", ["wall", "wall@", "@0.5", "wall@x", "wall@1.5", "wall@nan"])
def test_names_without_a_strength_are_refused(member: str):
    with pytest.raises(UserError, match=r"write noisy:wall@0\.5, with a strength from 0"):
        ENVIRONMENTS.get(f"noisy:{member}")


def test_names_of_unknown_and_twice_noisy_environments_are_refused():
    with pytest.raises(UserError, match="unknown environment 'wal'; did you mean 'wall'"):
        ENVIRONMENTS.get("noisy:wal@0.5")
    with pytest.raises(UserError, match="is noisy twice"):
        ENVIRONMENTS.get("noisy:noisy:wall@0.5@0.5")


def test_a_file_that_names_a_noisy_environment_of_others_is_not_trusted():
    def read(env: str) -> Experiment:
        data = experiment_to_json(Experiment()) | {"env": env}
        return experiment_from_json(data, source="file")

    assert read("noisy:metaworld:push@0.5").env == "noisy:metaworld:push@0.5"
    with pytest.raises(UserError, match="code of the module 'unnamed_module'") as caught:
        read("noisy:unnamed_module:make_env@0.5")
    assert isinstance(caught.value.__cause__, UntrustedModuleError)


def test_collecting_without_strength_gives_the_plain_frames_and_with_it_others(tmp_path: Path):
    stores = [
        collect(name, path=tmp_path / str(i), num_episodes=3, num_steps=4, image_size=16, seed=0)
        for i, name in enumerate(["wall", "noisy:wall@0", "noisy:wall@0.5"])
    ]
    plain, none, noisy = (np.array(store.pixels) for store in stores)
    assert np.array_equal(plain, none)
    assert not np.array_equal(plain, noisy)
    assert np.array_equal(stores[0].actions, stores[2].actions)  # as they were asked for
    assert not np.array_equal(stores[0].state, stores[2].state)
    assert stores[2].manifest.environment == "noisy:wall@0.5"
