"""Evaluation end to end: a perfect model solves a point mass, the baselines do as they must."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from jepawm.agent import AgentConfig
from jepawm.cli.output import render_evaluation
from jepawm.errors import UserError
from jepawm.evaluation.evaluate import evaluate
from jepawm.evaluation.result_files import read_results, write_results
from jepawm.evaluation.results import MEASURED, NO_ORACLE
from jepawm.evaluation.rollouts import Recorder
from jepawm.evaluation.stops import AWAY, LEFT, OSCILLATES, SHORT
from jepawm.normalizer import Normalizer
from jepawm.planning.cem import CEM
from jepawm.planning.icem import ICEM
from jepawm.planning.random_shooting import RandomShooting
from jepawm.protocol import PROTOCOLS, Protocol
from jepawm.report import write_report
from jepawm.types import Latent

PAPER = PROTOCOLS["paper"]


@dataclasses.dataclass(frozen=True)
class Numberless:
    """A planner without numbers of samples and iterations."""

    needs_gradients = False

    def plan(self, cost, init, *, bounds, generator):
        return RandomShooting().plan(cost, init, bounds=bounds, generator=generator)


class Straight:
    """An agent without a model that knows where the goal is and goes there in one block."""

    def __init__(self, protocol=PAPER):
        self._frameskip = protocol.frameskip

    def reset(self, goal, num_steps=None):
        self._goal = goal.proprio

    def act(self, obs):
        return ((self._goal - obs.proprio) / self._frameskip).repeat(1, self._frameskip)


class RealEnv:
    """What a robot can satisfy: the point mass without its states and true dynamics."""

    def __init__(self, env):
        self._env = env
        self.action_dim, self.proprio_dim = env.action_dim, env.proprio_dim
        for name in ("sample_tasks", "reset", "goal_observation", "step", "success"):
            setattr(self, name, getattr(env, name))


def _run(env, agents, **options):
    return evaluate(env, agents, **({"num_tasks": 24, "show_progress": False} | options))


def test_perfect_model_solves_every_task_and_doing_nothing_none(env, make_agent):
    results = _run(env, make_agent())
    assert list(results.rows) == ["do_nothing", "random", "oracle", "model"]
    assert results.model.success == 1.0
    assert results.model.interval is not None
    assert results.model.interval[0] > 0.85
    assert results.model.interval[1] == 1.0
    assert results.rows["oracle"].success == 1.0
    assert results.rows["do_nothing"].success == 0.0
    assert results.rows["random"].success < 0.3
    assert results.rows["do_nothing"].model_minus.difference == 1.0
    assert results.seconds_per_plan > 0
    assert (results.num_tasks, results.env, results.protocol) == (24, "PointMassEnv", "paper")
    json.dumps(results.to_json(), allow_nan=False)


def test_wrong_model_fails_open_loop_and_recovers_by_replanning(env, make_agent, make_model):
    open_loop = _run(env, make_agent(make_model(error=0.4)))
    assert open_loop.model.success < 0.2
    assert open_loop.rows["oracle"].success == 1.0
    replanning = make_agent(make_model(error=0.4), protocol=PROTOCOLS["mpc"])
    assert _run(env, replanning, num_tasks=60).model.success > 0.65


def test_same_seed_same_result_and_tasks(env, make_agent):
    recorders = [Recorder(), Recorder()]
    first, again = (
        _run(env, make_agent(seed=n), num_tasks=5, recorder=recorder)
        for n, recorder in enumerate(recorders)  # the evaluation seeds the agent anew
    )
    other = _run(env, make_agent(), num_tasks=5, seed=1)
    assert first.tasks_sha256 == again.tasks_sha256
    assert first.tasks_sha256 != other.tasks_sha256
    kept = [recorder.rollouts().arrays() for recorder in recorders]
    for name, array in kept[0].items():
        np.testing.assert_array_equal(array, kept[1][name])


@pytest.mark.parametrize(
    "planner",
    [
        CEM(num_samples=24, num_elites=4, num_iterations=3),
        ICEM(num_samples=24, num_elites=4, num_iterations=3),
    ],
    ids=["cem", "icem"],
)
def test_a_task_goes_the_same_beside_others_and_alone(env, make_agent, planner):
    agent = make_agent(planner=planner)
    found = [_run(env, agent, num_tasks=6, tasks_per_batch=size).to_json() for size in (6, 4, 1)]
    own = {"tasks_per_batch", *MEASURED}
    first, *others = [{key: r[key] for key in r if key not in own} for r in found]
    assert others == [first, first]


def test_given_tasks_are_counted(env, make_agent):
    assert _run(env, make_agent(), tasks=env.sample_tasks(3, num_tasks=5)).num_tasks == 5


def test_rollouts_hold_the_first_tasks(env, make_agent):
    recorder = Recorder(num_tasks=3, probe=lambda latent: latent.tokens[..., 0, :])
    _run(env, make_agent(), num_tasks=10, recorder=recorder)
    rollouts = recorder.rollouts()
    assert {name: array.shape for name, array in rollouts.arrays().items()} == {
        "frames": (3, 31, 3, 4, 4),
        "states": (3, 31, 2),
        "goal_frames": (3, 3, 4, 4),
        "goal_states": (3, 2),
        "imagined_states": (3, 7, 2),
        "success": (3,),
        "cost_history": (12, 3),
        "frameskip": (),
        "stops": (3,),
    }
    # What a perfect model imagines is what happens, block by block.
    np.testing.assert_allclose(rollouts.imagined_states, rollouts.states[:, ::5], atol=1e-4)
    distance = np.linalg.norm(rollouts.states[:, -1] - rollouts.goal_states, axis=-1)
    np.testing.assert_array_equal(rollouts.success, distance < 0.5)
    assert (rollouts.cost_history[-1] < rollouts.cost_history[0]).all()


def test_a_recorder_sees_what_was_imagined_and_where_the_missed_stopped(
    env, make_agent, make_model
):
    def paint(latents: Latent) -> torch.Tensor:
        places = latents.tokens[..., 0, :1].clamp(0, 25) * 10
        return places[..., None, None].expand(*places.shape[:-1], 3, 4, 4).to(torch.uint8)

    recorder = Recorder(num_tasks=3, decoder=paint)
    _run(env, make_agent(make_model(error=-0.9)), num_tasks=5, recorder=recorder)
    rollouts = recorder.rollouts()
    assert rollouts.imagined_frames is not None
    assert rollouts.imagined_frames.shape == (3, 7, 3, 4, 4)
    assert (rollouts.imagined_frames[:, -1] > rollouts.imagined_frames[:, 0]).all()
    assert not rollouts.success.any()
    assert set(rollouts.stops) <= {AWAY, LEFT, OSCILLATES, SHORT}
    perfect = Recorder(num_tasks=3)
    _run(env, make_agent(), num_tasks=5, recorder=perfect)
    assert all(
        bool(stop) != ok
        for stop, ok in zip(perfect.rollouts().stops, perfect.rollouts().success, strict=True)
    )
    assert perfect.rollouts().imagined_frames is None


def test_no_probe_leaves_imagined_states_unknown(env, make_agent):
    recorder = Recorder()
    _run(env, make_agent(protocol=PROTOCOLS["mpc"]), num_tasks=2, recorder=recorder)
    assert recorder.rollouts().imagined_states.shape == (2, 7, 2)
    assert np.isnan(recorder.rollouts().imagined_states).all()


def test_any_time_success_counts_passing_the_goal(env, make_agent, make_model):
    agent = make_agent(make_model(error=-0.3))  # overshoots
    ended = _run(env, agent)
    assert ended.model.success == 0.0
    passed = _run(env, agent, protocol=dataclasses.replace(PAPER, success="any"))
    assert passed.model.success > 0.2
    assert passed.model.success == ended.model.at_any_time


def test_planner_and_agent_settings_are_recorded(env, make_agent):
    env.state_to_pixel = 2.0
    config = AgentConfig(action_bounds=(2.0, math.inf))
    agent = make_agent(planner=RandomShooting(num_samples=7), config=config)
    results = _run(env, agent, num_tasks=2).to_json()
    assert results["planner"] == {
        "type": "RandomShooting",
        "num_samples": 7,
        "num_iterations": 30,
        "std": 1.0,
        "time_budget_s": None,
    }
    assert results["objective"]["metric"] == "l2"
    assert results["agent"]["bounds"] == [[-2.0, None] * 5, [2.0, None] * 5]
    assert results["protocol_settings"]["horizon"] == 6
    assert results["state_to_pixel"] == 2.0


def test_an_agent_of_ones_own_is_a_row_everywhere(env, make_agent, tmp_path):
    agents = {"straight on": Straight(), "model": make_agent()}
    results = _run(env, agents, num_tasks=6)
    assert list(results.rows) == ["do_nothing", "random", "oracle", "straight on", "model"]
    assert results.rows["straight on"].success == 1.0
    path = write_results(results, tmp_path)
    assert json.loads(path.read_text())["baselines"]["straight on"] == 1.0
    assert read_results(path) == results
    assert "straight on" in render_evaluation(results, path)
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert page.index("straight on") < page.index("True dynamics")
    plain = _run(env, make_agent(), num_tasks=6)
    assert plain.rows["random"] == results.rows["random"]  # it changes no other row


def test_an_environment_without_a_simulator_has_no_oracle_and_says_so(env, make_agent, tmp_path):
    recorder = Recorder()
    results = _run(RealEnv(env), make_agent(), num_tasks=3, recorder=recorder)
    assert list(results.rows) == ["do_nothing", "random", "model"]
    assert results.model.success == 1.0
    path = write_results(results, tmp_path, rollouts=recorder.rollouts())
    written = json.loads(path.read_text())
    assert written["oracle_planner"] is written["oracle_seconds_per_plan"] is None
    assert np.isnan(recorder.rollouts().states).all()
    assert read_results(path) == results
    assert NO_ORACLE in render_evaluation(results, path)
    assert NO_ORACLE in write_report(tmp_path).read_text(encoding="utf-8")


def test_agents_must_hold_one_that_plans_and_names_must_be_free(env, make_agent):
    with pytest.raises(UserError, match="an agent that plans with a world model, called 'model'"):
        _run(env, {"mine": Straight()})
    with pytest.raises(UserError, match="'oracle' is a row of every evaluation"):
        _run(env, {"oracle": Straight(), "model": make_agent()})


def test_an_agent_is_evaluated_under_the_rules_it_plans_by(env, make_agent):
    with pytest.raises(UserError, match=r"protocol\.num_action_steps = 1 .*, 6 of the agent"):
        _run(env, make_agent(), protocol=PROTOCOLS["mpc"])


def test_horizon_and_replanning_hold_for_the_oracle_too(env, make_agent):
    short = Protocol(name="short", horizon=1, num_action_steps=1, max_env_steps=10)
    results = _run(env, make_agent(protocol=short), num_tasks=4)
    # Greedy one-block plans; two blocks suffice on this task.
    assert results.rows["oracle"].success == results.model.success


def test_a_slow_oracle_plans_with_the_numbers_of_the_protocol(env, make_agent):
    hasty = Protocol(name="hasty", oracle_samples=10, oracle_iterations=1)
    results = _run(env, make_agent(protocol=hasty), num_tasks=8)
    assert results.model.success == 1.0
    assert results.rows["oracle"].success < 1.0
    with pytest.raises(UserError, match="sets num_samples and num_iterations of the oracle's"):
        _run(env, make_agent(protocol=hasty, planner=Numberless()), num_tasks=4)


def test_checkpoint_of_another_environment_is_refused(env, make_agent):
    other = Normalizer.from_statistics(action_mean=[0.0], action_std=[1.0])
    with pytest.raises(UserError, match="another environment"):
        _run(env, make_agent(normalizer=other))


def test_progress_names_the_rows(env, make_agent, capsys):
    _run(env, make_agent(), num_tasks=2, show_progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    for name in ("do_nothing", "random", "oracle", "model"):
        assert name in shown.err
