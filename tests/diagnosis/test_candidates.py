import numpy as np
import pytest
import torch

from jepawm.diagnosis.candidates import RankedCandidates, rank_candidates, summarize_candidates
from jepawm.diagnosis.problems import CatchProblem, pose_problem
from jepawm.planning.cem import CEM

PLANNER = CEM(num_samples=40, num_elites=5, num_iterations=6)


def ranked(world, agent, normalizer) -> RankedCandidates:
    obs = world.reset(world.sample_tasks(0, num_tasks=3))
    problem = pose_problem(agent, obs, goal=world.goal_observation(), num_steps=None)
    return rank_candidates(
        problem,
        world,
        planner=PLANNER,
        normalizer=normalizer,
        num_candidates=20,
        generator=torch.Generator().manual_seed(0),
    )


def test_a_perfect_model_ranks_as_the_truth_does(world, make_agent, normalizer):
    found = ranked(world, make_agent(planner=CatchProblem()), normalizer)
    summary = summarize_candidates([found, found], planner=PLANNER)
    assert (summary.tasks, summary.planner) == (6, repr(PLANNER))
    assert summary.start == pytest.approx(np.linalg.norm(world.goals - world.places, axis=1).mean())
    groups = summary.groups
    assert [(one.iteration, one.candidates) for one in groups.values()] == [
        (1, 20),
        (4, 20),
        (6, 5),
    ]
    for group in groups.values():
        assert group.correlation is not None
        assert group.correlation.difference == pytest.approx(1.0)
        assert group.cheapest == pytest.approx(group.nearest)
    assert groups["elite"].distance < groups["middle"].distance < groups["random"].distance


def test_a_model_that_moves_the_wrong_way_ranks_upside_down(
    world, make_agent, make_model, normalizer
):
    found = ranked(world, make_agent(make_model(-2.0), planner=CatchProblem()), normalizer)
    groups = summarize_candidates([found], planner=PLANNER).groups
    correlation = groups["random"].correlation
    assert correlation is not None
    assert correlation.difference < -0.5
    assert groups["random"].cheapest > groups["random"].nearest + 1.0


def test_candidates_of_equal_cost_are_not_correlated(world, make_agent, make_model, normalizer):
    found = ranked(world, make_agent(make_model(-1.0), planner=CatchProblem()), normalizer)
    group = summarize_candidates([found], planner=PLANNER).groups["random"]
    assert (group.tasks, group.correlation) == (0, None)
    assert group.nearest <= group.cheapest
