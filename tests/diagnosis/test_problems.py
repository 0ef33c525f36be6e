import numpy as np
import torch

from jepawm.diagnosis.problems import CatchProblem, pose_problem, true_distances


def test_the_problem_of_an_agent_is_its_cost(world, make_agent, normalizer):
    agent = make_agent(planner=CatchProblem())
    obs = world.reset(world.sample_tasks(0, num_tasks=2))
    problem = pose_problem(agent, obs, goal=world.goal_observation(), num_steps=2)
    assert problem.init.tolist() == [[[0.0] * 4] * 2] * 2  # no longer than the episode
    way = torch.from_numpy(world.goals - world.places).float()  # [B, 2]
    actions = torch.zeros(2, 2, 2, 4)  # [B, K, H, A]
    actions[:, 1, 0, 2:] = way
    cost = problem.cost(actions)
    torch.testing.assert_close(cost[:, 0], way.square().mean(1))
    torch.testing.assert_close(cost[:, 1], torch.zeros(2), atol=1e-6, rtol=0)
    distances = true_distances(world, actions, normalizer=normalizer)
    np.testing.assert_allclose(distances[:, 0], way.norm(dim=1).numpy(), rtol=1e-6)
    np.testing.assert_allclose(distances[:, 1], 0.0, atol=1e-6)
