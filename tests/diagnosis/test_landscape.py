from dataclasses import replace

import pytest
import torch

from jepawm.diagnosis.landscape import Landscape, constant_actions, draw_landscapes
from jepawm.diagnosis.problems import CatchProblem, pose_problem
from jepawm.types import Task


def test_the_first_direction_varies_fastest_and_the_others_stand_still():
    init = torch.zeros(2, 3, 6)  # two environment actions of width 3 in a block
    values = torch.tensor([-1.0, 0.0, 1.0])
    found = constant_actions(init, values, width=3, directions=(2, 0))
    assert found.shape == (2, 9, 3, 6)
    assert found[1, 1, 2].tolist() == [-1.0, 0.0, 0.0] * 2  # second at -1, first at 0
    assert found[0, 5, 0].tolist() == [0.0, 0.0, 1.0] * 2


def draw(world, agent, normalizer, **changes) -> list[Landscape]:
    obs = world.reset([Task(start=(0.0, 0.0), goal=(6.0, -6.0))])  # 3 blocks of 2 actions
    problem = pose_problem(agent, obs, goal=world.goal_observation(), num_steps=None)
    settings = {"normalizer": normalizer, "directions": (0, 1), "points": 5, "extent": 2.0}
    return draw_landscapes(problem, world, **settings | changes)


def test_the_landscape_of_a_perfect_model_is_that_of_the_truth(world, make_agent, normalizer):
    (found,) = draw(world, make_agent(planner=CatchProblem()), normalizer)
    assert found.values == (-2.0, -1.0, 0.0, 1.0, 2.0)
    assert found.lowest == found.nearest == (1.0, -1.0)  # six steps
    assert found.correlation == pytest.approx(1.0)
    assert found.distance is not None
    assert found.distance[2][3] == pytest.approx(6.0)  # (6, 0) instead of (6, -6)
    assert found.cost[2][3] == pytest.approx(36.0 / 2)
    assert found.cost[0][4] == pytest.approx((6**2 + 6**2) / 2)  # (12, -12)


def test_directions_may_be_exchanged(world, make_agent, normalizer):
    agent = make_agent(planner=CatchProblem())
    (plain,), (turned,) = (
        draw(world, agent, normalizer, directions=directions) for directions in ((0, 1), (1, 0))
    )
    assert turned.lowest == plain.lowest[::-1]
    assert turned.cost == tuple(zip(*plain.cost, strict=True))


def test_without_a_simulator_recorded_actions_mark_the_truth(world, make_agent, normalizer):
    agent = make_agent(planner=CatchProblem())
    obs = world.reset(world.sample_tasks(0, num_tasks=1))
    problem = pose_problem(agent, obs, goal=world.goal_observation(), num_steps=None)
    recorded = torch.tensor([1.0, 0.5, 0.0, -0.5]).repeat(1, 3, 1)  # mean 0.5 and 0
    (found,) = draw_landscapes(
        problem,
        None,
        normalizer=normalizer,
        directions=(0, 1),
        points=3,
        extent=1.0,
        recorded=recorded,
    )
    assert (found.distance, found.correlation, found.nearest) == (None, None, (0.5, 0.0))


def test_costs_that_are_no_numbers_are_the_largest(world, make_agent, make_model, normalizer):
    (found,) = draw(world, make_agent(make_model(float("nan")), planner=CatchProblem()), normalizer)
    assert {value for row in found.cost for value in row} == {1e30}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [({"values": (1.0, 0.0)}, "do not rise"), ({"cost": ((0.0, 1.0),)}, "not 2 x 2")],
)
def test_a_landscape_is_a_square(changes: dict[str, object], complaint: str):
    square = Landscape(
        directions=(0, 1),
        values=(0.0, 1.0),
        cost=((0.0, 1.0), (1.0, 2.0)),
        distance=None,
        correlation=None,
        lowest=(0.0, 0.0),
        nearest=None,
    )
    with pytest.raises(ValueError, match=complaint):
        replace(square, **changes)
