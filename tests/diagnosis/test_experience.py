from collections.abc import Sequence

import numpy as np
import pytest
import torch

from jepawm.contracts import Script
from jepawm.diagnosis.experience import act_out, draw_script, lengthen, parts
from jepawm.errors import UserError
from jepawm.types import Observation, Task


class OnlyEnv:
    """The world as a robot would have it: nobody knows its states."""

    action_dim = proprio_dim = 2

    def __init__(self, world) -> None:
        self._world = world

    def sample_tasks(self, seed: int, *, num_tasks: int) -> list[Task]:
        return self._world.sample_tasks(seed, num_tasks=num_tasks)

    def reset(self, tasks: Sequence[Task]) -> Observation:
        return self._world.reset(tasks)

    def goal_observation(self) -> Observation:
        return self._world.goal_observation()

    def step(self, actions: np.ndarray) -> Observation:
        return self._world.step(actions)

    def success(self) -> np.ndarray:
        return self._world.success()


def test_short_episodes_go_on_by_others_without_a_jump():
    generator = np.random.default_rng(0)
    short = [np.array([[0.0], [1.0], [2.0]])]  # in steps of 1
    found = lengthen(short, 9, generator=generator)
    # 2 back to 0 in steps of 1, then again
    assert found[0][:, 0].tolist() == [0.0, 1.0, 2.0, 1.0, 0.0, 1.0, 2.0, 1.0, 0.0]
    long = [np.arange(12.0)[:, None]]
    assert lengthen(long, 5, generator=generator)[0][:, 0].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_episodes_of_one_command_are_lengthened_too():
    found = lengthen([np.array([[2.0]]), np.array([[5.0]])], 4, generator=np.random.default_rng(0))
    assert [len(one) for one in found] == [4, 4]
    assert set(np.concatenate(found)[:, 0].tolist()) <= {2.0, 5.0}


@pytest.mark.parametrize("count", [1, 2, 16, 17, 40])
def test_parts_cover_all_and_are_of_nearly_equal_size(count: int):
    found = parts(count)
    assert [index for part in found for index in range(count)[part]] == list(range(count))
    sizes = [part.stop - part.start for part in found]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 16


def test_a_script_is_carried_out_and_encoded(world, make_model, normalizer):
    tasks = [Task(start=(1.0, 2.0), goal=(0.0, 0.0)), Task(start=(3.0, 3.0), goal=(0.0, 0.0))]
    commands = [np.full((6, 2), 0.5), np.tile([[1.0, 0.0], [0.0, 2.0]], (3, 1))]
    script = Script(tasks=tasks, commands=commands)
    (found,) = act_out(
        world,
        script,
        model=make_model(),
        normalizer=normalizer,
        frameskip=2,
        num_steps=3,
        starts=[0, 0],
    )
    expected = [[[1, 2], [2, 3], [3, 4], [4, 5]], [[3, 3], [4, 5], [5, 7], [6, 9]]]
    assert found.latents.tokens[:, :, 0].tolist() == expected
    assert found.actions.tolist()[1] == [[1.0, 0.0, 0.0, 2.0]] * 3
    assert found.actions.dtype == torch.float32
    (later,) = act_out(
        world,
        script,
        model=make_model(),
        normalizer=normalizer,
        frameskip=2,
        num_steps=2,
        starts=[0, 1],
    )
    assert later.latents.tokens[:, :, 0].tolist() == [expected[0][:3], expected[1][1:]]
    assert torch.equal(later.actions[1], found.actions[1, 1:])


def test_a_policy_with_feedback_sees_the_states(world, make_model, normalizer):
    tasks = [Task(start=(1.0, 2.0), goal=(0.0, 0.0))]
    script = Script(
        tasks=tasks,
        commands=[np.full((2, 2), 9.0)],
        feedback=lambda states, places: places - states,
    )
    settings = {"model": make_model(), "normalizer": normalizer, "frameskip": 1, "num_steps": 2}
    settings["starts"] = [0]
    (found,) = act_out(world, script, **settings)
    assert found.actions.tolist() == [[[8.0, 7.0], [0.0, 0.0]]]
    with pytest.raises(UserError, match="acts on exact states"):
        list(act_out(OnlyEnv(world), script, **settings))


def test_without_a_policy_actions_are_random(world, normalizer, tmp_path):
    def draw(seed: int) -> Script:
        return draw_script(
            world,
            None,
            normalizer=normalizer,
            split="val",
            generator=np.random.default_rng(seed),
            num_episodes=3,
            num_steps=4,
            data_root=tmp_path,
        )

    script, again, other = draw(0), draw(0), draw(1)
    assert [commands.shape for commands in script.commands] == [(4, 2)] * 3
    np.testing.assert_array_equal(script.commands, again.commands)
    assert not np.array_equal(script.commands, other.commands)
    assert script.tasks == again.tasks


def test_of_a_policy_that_holds_out_only_that_is_replayed(world, normalizer, tmp_path):
    class Replays:
        def __init__(self, value: float) -> None:
            self.value = value

        def script(self, generator, *, num_episodes, num_steps, data_root):
            tasks = [Task(start=(0.0, 0.0), goal=(0.0, 0.0))] * num_episodes
            commands = [np.full((2, 2), self.value)] * num_episodes
            return Script(tasks=tasks, commands=commands)

        def held_out(self, split):
            return Replays({"val": 1.0, "test": 2.0}[split])

    script = draw_script(
        world,
        Replays(0.0),
        normalizer=normalizer,
        split="test",
        generator=np.random.default_rng(0),
        num_episodes=2,
        num_steps=5,
        data_root=tmp_path,
    )
    np.testing.assert_array_equal(script.commands, np.full((2, 5, 2), 2.0))
