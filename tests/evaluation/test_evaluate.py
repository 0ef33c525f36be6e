"""Evaluation end to end: a perfect model solves a point mass, the baselines do as they must."""

import dataclasses
import json

import numpy as np
import pytest

from jepawm.errors import UserError
from jepawm.evaluation.evaluate import evaluate
from jepawm.evaluation.results import write_evaluation
from jepawm.normalizer import Normalizer
from jepawm.planning.random_shooting import RandomShooting
from jepawm.protocol import PROTOCOLS, Protocol

PAPER = PROTOCOLS["paper"]
KEYS = [
    "env",
    "protocol",
    "episodes",
    "seed",
    "tasks_sha256",
    "success",
    "ci95",
    "baselines",
    "planner",
    "seconds_per_plan",
    "versions",
]


@dataclasses.dataclass(frozen=True)
class Numberless:
    """A planner without numbers of samples and iterations."""

    needs_gradients = False

    def plan(self, cost, init, *, bounds, generator):
        return RandomShooting().plan(cost, init, bounds=bounds, generator=generator)


def _run(env, setup, **options):
    settings = {"env_name": "point", "protocol": PAPER, "num_episodes": 24, "show_progress": False}
    return evaluate(env, setup, **(settings | options))


def test_perfect_model_solves_every_task_and_doing_nothing_none(env, make_setup):
    results = _run(env, make_setup()).results
    assert set(KEYS) <= set(results)
    assert results["success"] == 1.0
    assert results["ci95"][0] > 0.85
    assert results["ci95"][1] == 1.0
    assert results["baselines"].keys() == {"do_nothing", "random", "oracle"}
    assert results["baselines"]["oracle"] == 1.0
    assert results["baselines"]["do_nothing"] == 0.0
    assert results["baselines"]["random"] < 0.3
    assert results["model_minus_baseline"]["do_nothing"]["difference"] == 1.0
    assert results["seconds_per_plan"] > 0
    json.dumps(results, allow_nan=False)


def test_wrong_model_fails_open_loop_and_recovers_by_replanning(env, make_setup, make_model):
    setup = make_setup(make_model(error=0.4))
    open_loop = _run(env, setup).results
    assert open_loop["success"] < 0.2
    assert open_loop["baselines"]["oracle"] == 1.0
    replanned = _run(env, setup, protocol=PROTOCOLS["mpc"], num_episodes=60).results
    assert replanned["success"] > 0.65


def test_same_seed_same_result_and_tasks(env, make_setup):
    first, again = (_run(env, make_setup(), num_episodes=5) for _ in range(2))
    other = _run(env, make_setup(), num_episodes=5, seed=1)
    assert first.results["tasks_sha256"] == again.results["tasks_sha256"]
    assert first.results["tasks_sha256"] != other.results["tasks_sha256"]
    for name, array in first.rollouts.items():
        np.testing.assert_array_equal(array, again.rollouts[name])


def test_given_tasks_are_counted(env, make_setup):
    results = _run(env, make_setup(), tasks=env.sample_tasks(3, num_tasks=5)).results
    assert results["episodes"] == 5


def test_rollouts_hold_the_first_tasks(env, make_setup):
    evaluation = _run(
        env,
        make_setup(),
        num_episodes=10,
        num_recorded=3,
        probe=lambda latent: latent.tokens[..., 0, :],
    )
    arrays = evaluation.rollouts
    shapes = {name: array.shape for name, array in arrays.items()}
    assert shapes == {
        "frames": (3, 31, 3, 4, 4),
        "states": (3, 31, 2),
        "goal_frames": (3, 3, 4, 4),
        "goal_states": (3, 2),
        "imagined_states": (3, 7, 2),
        "success": (3,),
        "cost_history": (12, 3),
        "frameskip": (),
    }
    # What a perfect model imagines is what happens, block by block.
    np.testing.assert_allclose(arrays["imagined_states"], arrays["states"][:, ::5], atol=1e-4)
    distance = np.linalg.norm(arrays["states"][:, -1] - arrays["goal_states"], axis=-1)
    np.testing.assert_array_equal(arrays["success"], distance < 0.5)
    assert (arrays["cost_history"][-1] < arrays["cost_history"][0]).all()


def test_no_probe_leaves_imagined_states_unknown(env, make_setup):
    evaluation = _run(env, make_setup(), num_episodes=2, protocol=PROTOCOLS["mpc"])
    assert evaluation.rollouts["imagined_states"].shape == (2, 7, 2)
    assert np.isnan(evaluation.rollouts["imagined_states"]).all()


def test_any_time_success_counts_passing_the_goal(env, make_setup, make_model):
    setup = make_setup(make_model(error=-0.3))  # overshoots
    ended = _run(env, setup)
    assert ended.results["success"] == 0.0
    passing = dataclasses.replace(PAPER, success="any")
    passed = _run(env, setup, protocol=passing)
    assert passed.results["success"] > 0.2
    assert passed.results["success"] == ended.results["success_at_any_time"]["model"]


def test_planner_and_agent_settings_are_told(env, make_setup):
    bounds = (np.array([-np.inf, -2.0] * 5), np.array([2.0, np.inf] * 5))
    setup = make_setup(planner=RandomShooting(num_samples=7), bounds=_tensors(bounds))
    results = _run(env, setup, num_episodes=2, state_to_pixel=2.0).results
    assert results["planner"] == {
        "type": "RandomShooting",
        "num_samples": 7,
        "num_iterations": 30,
        "std": 1.0,
        "time_budget_s": None,
    }
    assert results["objective"]["metric"] == "l2"
    assert results["agent"]["bounds"] == [[None, -2.0] * 5, [2.0, None] * 5]
    assert results["protocol_settings"]["horizon"] == 6
    assert results["state_to_pixel"] == 2.0


def test_writes_the_files(env, make_setup, tmp_path):
    evaluation = _run(env, make_setup(), num_episodes=2)
    path = write_evaluation(evaluation, tmp_path / "out")
    assert json.loads(path.read_text()) == evaluation.results
    assert sorted(found.name for found in path.parent.iterdir()) == ["results.json", "rollouts.npz"]


def test_horizon_and_replanning_hold_for_the_oracle_too(env, make_setup):
    short = Protocol(name="short", horizon=1, num_action_steps=1, max_env_steps=10)
    results = _run(env, make_setup(), protocol=short, num_episodes=4).results
    # Greedy one-block plans; two blocks suffice on this task.
    assert results["baselines"]["oracle"] == results["success"]


def test_a_slow_oracle_plans_with_the_numbers_of_the_protocol(env, make_setup):
    hasty = Protocol(name="hasty", oracle_samples=10, oracle_iterations=1)
    results = _run(env, make_setup(), protocol=hasty, num_episodes=8).results
    assert results["success"] == 1.0
    assert results["baselines"]["oracle"] < 1.0
    setup = dataclasses.replace(make_setup(), planner=Numberless())
    with pytest.raises(UserError, match="sets num_samples and num_iterations of the oracle's"):
        _run(env, setup, protocol=hasty, num_episodes=4)


def test_checkpoint_of_another_environment_is_refused(env, make_setup):
    setup = make_setup(normalizer=Normalizer.from_statistics(action_mean=[0.0], action_std=[1.0]))
    with pytest.raises(UserError, match="another environment"):
        _run(env, setup)


def test_progress_names_the_rows(env, make_setup, capsys):
    _run(env, make_setup(), num_episodes=2, show_progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    for name in ("do_nothing", "random", "oracle", "model"):
        assert name in shown.err


def _tensors(bounds):
    import torch

    low, high = bounds
    return torch.tensor(low).float(), torch.tensor(high).float()
