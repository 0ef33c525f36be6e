"""LeWorldModel's environments: goals ahead on a way, and an imported model that plans in TwoRoom."""

import numpy as np
import pytest

from jepawm.envs import ENVIRONMENTS
from jepawm.errors import UserError


def test_its_environments_are_named():
    with pytest.raises(UserError, match="choose lewm:tworoom, lewm:reacher or lewm:cube"):
        ENVIRONMENTS.get("lewm:maze")


@pytest.mark.slow
def test_two_room_has_goals_a_way_ahead():
    pytest.importorskip("stable_worldmodel", exc_type=ImportError)
    env = ENVIRONMENTS.get("lewm:tworoom")(image_size=32)
    tasks = env.sample_tasks(3, num_tasks=2)
    assert tasks == env.sample_tasks(3, num_tasks=2)
    env.reset(tasks)
    start = env.states()[:, :2]
    goal = np.array([one.goal.vector[:2] for one in env._episodes])
    away = np.linalg.norm(goal - start, axis=1)
    assert (away > 16).all()
    assert (away <= 25 * 10.5 * 2**0.5).all()  # 25 steps of its speed, both axes
    assert not env.success().any()
    for _ in range(60):  # straight to the goal works where no wall is between
        toward = (goal - env.states()[:, :2]) / 10.5
        env.step(np.clip(toward, -1, 1))
    same_room = (start[:, 0] < 112) == (goal[:, 0] < 112)
    assert env.success()[same_room].all()


@pytest.mark.slow
def test_an_imported_model_plans_in_two_room(tmp_path):
    pytest.importorskip("stable_worldmodel", exc_type=ImportError)
    from dataclasses import replace

    from jepawm.agent import PlanningAgent
    from jepawm.build import build_model
    from jepawm.evaluation.episodes import run_episodes
    from jepawm.hub.lewm import lewm_experiment
    from jepawm.models.class_token import ClassTokenConfig
    from jepawm.models.predictor import PredictorConfig
    from jepawm.normalizer import Normalizer

    encoder = ClassTokenConfig(
        dim=8, width=8, depth=1, num_heads=2, patch_size=8, image_size=32, projector_dim=8
    )
    predictor = PredictorConfig(
        conditioning="adaln_zero", positions="learned", depth=1, num_heads=2, head_dim=4,
        hidden_dim=8, projected=False, inner_norm=True, action_hidden=8, projector_dim=8,
    )  # fmt: skip
    experiment = lewm_experiment(encoder, predictor, env="lewm:tworoom", frameskip=5)
    model = build_model(experiment, action_dim=2, proprio_dim=0, image_size=32).eval()
    normalizer = Normalizer.from_statistics(action_mean=[0.0, 0.0], action_std=[0.5, 0.5])
    rules = experiment.protocol("lewm")
    planner = replace(experiment.planner, num_samples=8, num_elites=2, num_iterations=2)
    agent = PlanningAgent(
        model, objective=experiment.objective, planner=planner, protocol=rules,
        normalizer=normalizer, config=experiment.agent, seed=0,
    )  # fmt: skip
    env = ENVIRONMENTS.get("lewm:tworoom")(image_size=32)
    outcome = run_episodes(env, env.sample_tasks(0, num_tasks=2), agent=agent, protocol=rules)
    assert outcome.at_end.shape == (2,)
    assert np.isfinite(env.states()).all()
