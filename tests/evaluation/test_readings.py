"""Strict readings of success: tunnels, the object alone, tasks that start solved."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from jepawm.envs.pusht.env import PushTBatch
from jepawm.envs.wall.env import WallBatch
from jepawm.errors import UserError
from jepawm.evaluation.episodes import run_episodes
from jepawm.evaluation.instructions import InstructedEnv
from jepawm.evaluation.readings import Reading, require_reading, unsolved_tasks
from jepawm.protocol import KnowsWalls, Protocol
from jepawm.types import Observation, Task

RULES = Protocol(name="x", horizon=2, num_action_steps=2, frameskip=1, max_env_steps=4)


class Line:
    """Places on a line, moved by their actions; there is a wall at 0 that stops nobody."""

    action_dim, proprio_dim, state_dim, image_size = 1, 0, 1, 8
    state_to_pixel = None

    def sample_tasks(self, seed: int, *, num_tasks: int) -> list[Task]:
        return [Task(start=(float(one % 3),), goal=(2.0,)) for one in range(num_tasks)]

    def reset(self, tasks: Sequence[Task]) -> Observation:
        self.places = np.array([task.start for task in tasks])
        self.goals = np.array([task.goal for task in tasks])
        return self.goal_observation()

    def goal_observation(self) -> Observation:
        return Observation(pixels=torch.zeros(len(self.places), 3, 8, 8, dtype=torch.uint8))

    def step(self, actions: np.ndarray) -> Observation:
        self.places = self.places + actions
        return self.goal_observation()

    def states(self) -> np.ndarray:
        return self.places.copy()

    def success(self) -> np.ndarray:
        return np.zeros(len(self.places), dtype=np.bool_)

    def object_success(self) -> np.ndarray:
        return (self.places == self.goals)[:, 0]

    def simulate(self, actions: np.ndarray) -> np.ndarray:
        return self.places[:, None, None] + actions.cumsum(2)

    def goal_distance(self, states: np.ndarray) -> np.ndarray:
        return ((states - self.goals[:, None]) ** 2).sum(-1)

    def tunnels(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return (np.sign(before) != np.sign(after))[:, 0]


class Forward:
    """Go forward by 1 in each step, for two steps; stay then."""

    def reset(self, goal: Observation | None, num_steps: int | None = None) -> None:
        self.now = 0

    def act(self, obs: Observation) -> torch.Tensor:
        self.now += 1
        return torch.full((len(obs.pixels), 1), 1.0 if self.now <= 2 else 0.0)


def test_after_a_step_through_a_wall_nothing_counts():
    tasks = [Task(start=(place,), goal=(place + 2.0,)) for place in (-1.5, 0.5, -4.0)]
    counted = {}
    for swept in (False, True):
        rules = replace(RULES, object_only=True, swept=swept)
        outcome = run_episodes(Line(), tasks, agent=Forward(), protocol=rules)
        counted[swept] = outcome.at_end.tolist()
        assert outcome.motion.steps_to_success[1] == 2
    assert counted == {False: [True, True, True], True: [False, True, True]}


def test_the_object_alone_counts_where_it_is_asked_for():
    env = Line()
    env.reset([Task(start=(1.0,), goal=(1.0,))])
    assert Reading(env, RULES).step().tolist() == [False]
    assert Reading(env, replace(RULES, object_only=True)).step().tolist() == [True]


def test_tasks_that_start_with_the_object_at_its_goal_are_not_drawn():
    env, rules = Line(), replace(RULES, object_only=True)

    def draw(count: int) -> list[Task]:
        return env.sample_tasks(0, num_tasks=count)

    assert [task.start for task in unsolved_tasks(env, draw, num_tasks=3, protocol=RULES)] == [
        (0.0,),
        (1.0,),
        (2.0,),
    ]
    drawn = unsolved_tasks(env, draw, num_tasks=5, protocol=rules)
    assert [task.start for task in drawn] == [(0.0,), (1.0,), (0.0,), (1.0,), (0.0,)]

    def solved(count: int) -> list[Task]:
        return [Task(start=(2.0,), goal=(2.0,))] * count

    with pytest.raises(UserError, match="of 128 tasks of Line only 0 do not start with the object"):
        unsolved_tasks(env, solved, num_tasks=2, protocol=rules)


def test_readings_that_an_environment_does_not_know_are_refused():
    with pytest.raises(UserError, match=r"PushTBatch says nothing of any .* leave out --swept"):
        require_reading(PushTBatch(), replace(RULES, swept=True))
    with pytest.raises(UserError, match=r"WallBatch knows none .* leave out --object-only"):
        require_reading(WallBatch(), replace(RULES, object_only=True))
    require_reading(WallBatch(), replace(RULES, swept=True))
    require_reading(PushTBatch(), replace(RULES, object_only=True))


def test_walls_are_known_through_an_environment_of_sentences():
    assert isinstance(InstructedEnv(WallBatch(), []), KnowsWalls)
    assert not isinstance(InstructedEnv(PushTBatch(), []), KnowsWalls)
