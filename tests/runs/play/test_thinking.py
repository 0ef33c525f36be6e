"""Answers to the page: plans as an agent makes them, executed as the environment does; refusals."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from jepawm.errors import UserError
from jepawm.hub.load import load
from jepawm.planning.cem import CEM
from jepawm.runs.play.messages import PLANNERS, Ask
from jepawm.runs.play.pictures import STAGES
from jepawm.runs.play.thinking import Player, Players, build_planner
from jepawm.types import Task

ASK = Ask(do="plan", model="wall", start=(16.0, 48.0), goal=(50.0, 14.0), samples=8, iterations=2)


@cache
def player() -> Player:
    return Player(load("wall"))


@pytest.mark.parametrize("planner", PLANNERS)
def test_every_planner_answers_in_plain_json(planner: str):
    answer = player().answer(replace(ASK, planner=planner, budget=0.2))
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert len(answer["path"]) == 7
    costs = [cost for step in answer["iterations"] for cost in step["costs"]]
    assert (answer["evaluated"] == 0) == (planner == "direct")
    assert bool(costs) == (planner != "direct")
    for step in answer["iterations"]:
        assert len(step["paths"]) == len(step["costs"]) <= 24


def test_the_cheapest_candidates_come_first_and_the_history_is_theirs():
    answer = player().answer(replace(ASK, planner="cem", samples=64, iterations=4))
    for step in answer["iterations"]:
        half = step["costs"][:12]
        assert half == sorted(half)
        lowest = answer["iterations"][0]["history"][step["iteration"]]
        assert half[0] == pytest.approx(lowest, abs=1e-5)


def test_the_landscape_is_one_of_repeated_actions():
    answer = player().answer(replace(ASK, planner="cem", landscape=5))
    cost = np.array(answer["landscape"]["cost"], dtype=float)
    assert cost.shape == (5, 5)
    down, up = cost[4, 4], cost[0, 4]
    assert up < down  # the goal is above, y points down: actions (+, -) lead there
    assert len(answer["landscape"]["route"]) == 3


def test_executing_is_what_the_environment_does():
    answer = player().answer(replace(ASK, do="execute", planner="propose", seed=3))
    assert len(answer["real_path"]) == 31
    goal = player().stage.places(np.array([ASK.goal]))[0]
    away = np.linalg.norm(np.array(answer["real_path"][-1]) - goal) * 65
    assert away == pytest.approx(answer["distance"], abs=0.02)
    noisy = replace(ASK, do="execute", planner="direct", noise=0.5, seed=3)
    assert player().answer(noisy)["real_path"] == player().answer(noisy)["real_path"]
    other = player().answer(replace(noisy, seed=4))
    assert other["real_path"] != player().answer(noisy)["real_path"]


def test_states_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="states of wall have 2 numbers"):
        player().answer(replace(ASK, start=(1.0, 2.0, 3.0)))
    with pytest.raises(UserError, match="the goal of task 0 is"):
        player().answer(replace(ASK, goal=(1.0, 2e9)))


def test_models_that_are_not_on_the_page_are_not_loaded():
    players = Players(player(), {"pusht": "pusht"})
    assert players.names == ["wall", "pusht"]
    for name in ("metaworld_reach", "../wall", "/etc"):
        with pytest.raises(UserError, match="this model is not on the page"):
            players.answer(replace(ASK, model=name))


def test_a_model_that_cannot_be_played_says_so(tiny_run):
    with pytest.raises(
        UserError, match=r"no decoder of pictures; train one by `jepawm train-decoder"
    ):
        Player(load(tiny_run))
    with pytest.raises(UserError, match="metaworld_reach, which cannot be played"):
        Player(load("metaworld_reach"))


def test_planners_take_the_numbers_of_the_page():
    planner = build_planner(replace(ASK, planner="cem", budget=0.5), frameskip=5)
    assert planner == CEM(num_samples=8, num_elites=2, num_iterations=2, time_budget_s=0.5)


@pytest.mark.parametrize("name", STAGES)
def test_things_are_where_the_page_draws_them(name: str):
    """What moves from one place to another is seen at both, within two pixels of 64."""
    env, stage = load(name).make_env(), STAGES[name]
    handle = stage.handles[-1]  # of Push-T the agent: a disc is where its middle is
    column = list(handle.columns)
    state = np.array(env.sample_tasks(4, num_tasks=1)[0].start)
    low, high = np.array(stage.low), np.array(stage.high)
    corners = np.stack([state, state])
    corners[0, column], corners[1, column] = low + 0.02 * (high - low), high - 0.02 * (high - low)
    both = [Task(start=tuple(row), goal=tuple(row)) for row in corners]
    try:
        pixels = env.reset(both).pixels.float()
    except UserError as error:
        pytest.skip(str(error))  # no OpenGL
    changed = (pixels[0] - pixels[1]).abs().sum(0).numpy() > 60
    rows, columns = np.nonzero(changed)
    seen = np.array([columns.mean(), rows.mean()]) + 0.5
    places = np.array(stage.offset) + np.array(stage.scale) * corners[:, column]
    assert np.abs(seen - 64 * places.mean(0)).max() < 2.0
