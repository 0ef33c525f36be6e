"""What an evaluation measures besides success, against what is known."""

from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm.build import build_windows
from jepawm.data.episodes import open_store
from jepawm.evaluation.baselines import DoNothing
from jepawm.evaluation.evaluate import evaluate
from jepawm.hub import load
from jepawm.models.world_model import JEPAWorldModel
from jepawm.protocol import draw_tasks
from jepawm.study.measures import latent_errors, run_tasks, windows_needed
from jepawm.study.setup import Rules


@pytest.fixture(scope="module")
def tiny(tiny_run: Path):
    return load(tiny_run)


def test_success_is_that_of_an_evaluation(tiny):
    rules = Rules(num_tasks=6, task_seed=3, tasks_per_batch=4)
    env, agent = tiny.make_env(), tiny.agent()
    tasks = draw_tasks(env, num_tasks=6, seed=3, split="test")
    results = evaluate(env, agent, tasks=tasks, seed=3, tasks_per_batch=4, show_progress=False)
    found = run_tasks(env, tasks, agent=agent, name="model", protocol=agent.protocol, rules=rules)
    assert found.success.mean() == results.rows["model"].success


def test_who_does_nothing_stays_at_the_distance_of_the_start(tiny):
    env, protocol = tiny.make_env(), tiny.agent().protocol
    tasks = draw_tasks(env, num_tasks=5, seed=0, split="test")
    agent = DoNothing(action_dim=protocol.frameskip * env.action_dim)
    found = run_tasks(
        env, tasks, agent=agent, name="do_nothing", protocol=protocol, rules=Rules(num_tasks=5)
    )
    starts, goals = (
        np.array([getattr(task, name) for task in tasks]) for name in ("start", "goal")
    )
    assert found.distance == pytest.approx(np.linalg.norm(starts - goals, axis=1), rel=1e-4)
    assert not found.success.any()
    assert (found.blocks == protocol.num_steps + 1).all()


def test_the_oracle_gets_to_its_goals_and_says_when(tiny):
    """A jump to the goal after the second block is seen at its end."""
    env, protocol = tiny.make_env(), tiny.agent().protocol
    tasks = draw_tasks(env, num_tasks=4, seed=0, split="test")

    class Jump(DoNothing):
        acted = 0

        def act(self, obs):
            self.acted += 1
            if self.acted == 2:
                goals = [type(task)(**{**vars(task), "start": task.goal}) for task in tasks]
                env.reset(goals)
            return super().act(obs)

    found = run_tasks(
        env,
        tasks,
        agent=Jump(action_dim=protocol.frameskip * env.action_dim),
        name="jump",
        protocol=protocol,
        rules=Rules(num_tasks=4),
    )
    assert found.success.all()
    assert (found.blocks == 2).all()
    assert found.distance == pytest.approx(np.zeros(4), abs=1e-6)


def test_windows_hold_the_context_and_the_steps_after_it():
    assert windows_needed(3, horizon=6, longest=10) == (8, 3)
    assert windows_needed(7, horizon=6, longest=10) == (10, 5)
    assert windows_needed(1, horizon=6, longest=4) == (4, 1)


def test_a_model_that_copies_has_the_error_of_copying(tiny, tiny_run: Path, wall_data_root: Path):
    store = open_store(next(wall_data_root.glob("wall-12x30*")))
    _, windows = build_windows(tiny.experiment, store)
    device = torch.device("cpu")
    real = latent_errors(tiny.model, windows, context=1, device=device)
    assert len(real.over_copying) == windows.num_steps
    assert all(np.isfinite(real.over_copying))
    assert 1.0 <= real.effective_rank <= 8.0

    class Copies(JEPAWorldModel):
        def rollout(self, context, actions, **_):
            last = context.latents[:, -1:]
            return last.map(lambda x: x.expand(-1, actions.shape[1], *x.shape[2:]))

    copies = Copies(tiny.model.encoder, tiny.model.predictor, proprio_encoder=None)
    copied = latent_errors(copies, windows, context=2, device=device)
    assert copied.over_copying == (1.0,) * (windows.num_steps - 1)
