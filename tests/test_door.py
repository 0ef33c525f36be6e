"""The agent's door: every wrong model, goal or observation is one clear error, the others act."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import jepawm
from jepawm.agent import PlanningAgent
from jepawm.door import admit
from jepawm.errors import UserError
from jepawm.hub import LoadedModel
from jepawm.models.world_model import JEPAWorldModel
from jepawm.normalizer import Normalizer
from jepawm.planning.cem import CEM
from jepawm.protocol import Protocol
from jepawm.types import Observation

SIZE = 64
PLANNER = CEM(num_samples=8, num_elites=2, num_iterations=2)


@cache
def loaded() -> LoadedModel:
    return jepawm.load("wall")


@cache
def start_and_goal() -> tuple[Observation, Observation]:
    env = loaded().make_env()
    obs = env.reset(env.sample_tasks(1, num_tasks=2))
    return obs, env.goal_observation()


@cache
def model_of_any_size() -> JEPAWorldModel:
    model = jepawm.load("wall").model
    model.image_size = None
    return model


def new_agent() -> PlanningAgent:
    return loaded().agent(planner=PLANNER)


def raw(pixels: object, proprio: object = None) -> Observation:
    """Return an observation of anything: the tests check types where users' code does not."""
    obs = object.__new__(Observation)
    object.__setattr__(obs, "pixels", pixels)
    object.__setattr__(obs, "proprio", proprio)
    return obs


def seen(change: Callable[[torch.Tensor], object]) -> Observation:
    return raw(change(start_and_goal()[0].pixels))


WRONG_PIXELS = {
    "float 0..1": (
        lambda x: x.float() / 255,
        r"is float32; give uint8 .*for numbers from 0 to 1 by \(255 \* x\)\.round\(\)",
    ),
    "float64": (lambda x: x.double(), "is float64"),
    "half": (lambda x: x.half(), "is float16"),
    "NaN": (lambda x: x.float() * torch.nan, "is float32"),
    "int8": (lambda x: x.to(torch.int8), "is int8; give uint8"),
    "int64": (lambda x: x.long(), "is int64; give uint8"),
    "bool": (lambda x: x > 0, "is bool; give uint8"),
    "complex": (lambda x: x.to(torch.complex64), "is complex64; give uint8"),
    "one channel": (lambda x: x[:, :1], r"has the shape \(2, 1, 64, 64\)"),
    "four channels": (lambda x: torch.cat([x, x[:, :1]], 1), r"shape \(2, 4, 64, 64\)"),
    "channels last": (lambda x: x.permute(0, 2, 3, 1), r"channels last; give pixels\.permute"),
    "no batch axis": (lambda x: x[0], r"has no batch axis; .* pixels\[None\]"),
    "grey": (lambda x: x[0, 0], r"has the shape \(64, 64\)"),
    "a time axis": (lambda x: x[:, None], r"has the shape \(2, 1, 3, 64, 64\)"),
    "no pictures": (lambda x: x[:0], r"has the shape \(0, 3, 64, 64\)"),
    "no pixels": (lambda x: x[..., :0], r"has the shape \(2, 3, 64, 0\)"),
    "larger": (
        lambda x: torch.zeros(2, 3, 128, 128, dtype=torch.uint8),
        "are 128 x 128 pixels, and the model learned from 64 x 64; render or crop",
    ),
    "not square": (lambda x: x[..., :32], "are 64 x 32 pixels, and the model learned from"),
    "sparse": (lambda x: x.to_sparse(), "is a sparse, quantised or empty tensor"),
    "meta": (lambda x: x.to("meta"), "is a sparse, quantised or empty tensor"),
    "NumPy floats": (lambda x: x.numpy() / 255, "is float64; give uint8"),
    "NumPy objects": (lambda x: np.array([None, x], dtype=object), "is object; give uint8"),
    "None": (lambda x: None, "is None; give a tensor"),
    "a list": (lambda x: x.tolist(), "is a list; give a tensor"),
}


@pytest.mark.parametrize("what", ["goal", "observation"])
@pytest.mark.parametrize("name", WRONG_PIXELS)
def test_pictures_that_are_none_are_refused(name: str, what: str):
    change, message = WRONG_PIXELS[name]
    agent = new_agent()
    agent.reset(start_and_goal()[1])
    give = {"goal": agent.reset, "observation": agent.act}[what]
    with pytest.raises(UserError, match=message) as caught:
        give(seen(change))
    assert str(caught.value).startswith(f"{what}.pixels ")


@pytest.mark.parametrize(("given", "kind"), [(None, "None"), ({"pixels": 1}, "a dict")])
def test_what_is_no_observation_is_refused(given: object, kind: str):
    with pytest.raises(UserError, match=f"the goal is {kind}; give a jepawm.types.Observation"):
        admit(given, what="goal", model=loaded().model, normalizer=loaded().normalizer)


@pytest.mark.parametrize(("num_goals", "num_seen"), [(1, 2), (3, 2), (2, 1)])
def test_goals_and_observations_are_as_many(num_goals: int, num_seen: int):
    agent = new_agent()
    pixels = start_and_goal()[0].pixels[:1]
    agent.reset(Observation(pixels=pixels.repeat(num_goals, 1, 1, 1)))
    message = rf"{num_goals} goals of 64 x 64 pixels, and now {num_seen} observations of 64 x 64"
    with pytest.raises(UserError, match=message):
        agent.act(Observation(pixels=pixels.repeat(num_seen, 1, 1, 1)))


def test_a_batch_that_changes_between_acts_is_refused_and_harms_nothing():
    obs, goal = start_and_goal()
    agent, other = new_agent(), new_agent()
    actions = []
    for one in (agent, other):
        one.reset(goal)
        actions.append(one.act(obs))
    with pytest.raises(UserError, match=r"2 goals .* and now 1 observations"):
        agent.act(obs[:1])
    assert torch.equal(agent.act(obs), other.act(obs))
    assert torch.equal(actions[0], actions[1])


def test_arrays_of_numpy_act_as_tensors_do():
    obs, goal = start_and_goal()
    arrays = [raw(one.pixels.numpy()[:, ::-1].copy()[:, ::-1]) for one in (obs, goal)]
    plans = []
    for start, target in ((obs, goal), arrays):
        agent = new_agent()
        agent.reset(target)
        plans.append(agent.act(start))
    assert torch.equal(plans[0], plans[1])


def test_an_array_may_change_after_it_was_given():
    pixels = start_and_goal()[0].pixels.numpy().copy()
    taken = admit(
        raw(pixels), what="goal", model=loaded().model, normalizer=loaded().normalizer
    ).pixels.clone()
    agent = new_agent()
    agent.reset(raw(pixels))
    pixels[:] = 0
    assert torch.equal(taken, start_and_goal()[0].pixels)
    agent.act(start_and_goal()[0])


def test_a_model_in_training_mode_is_refused():
    trained = jepawm.load("wall")
    agent = trained.agent(planner=PLANNER)
    obs, goal = start_and_goal()
    agent.reset(goal)
    trained.model.encoder.train()
    for act in (lambda: agent.act(obs), lambda: agent.reset(goal)):
        with pytest.raises(UserError, match=r"in training mode.*call model\.eval\(\)"):
            act()
    trained.model.eval()
    agent.reset(goal)
    assert torch.isfinite(agent.act(obs)).all()


def test_a_frameskip_that_is_not_the_models_is_refused():
    with pytest.raises(UserError, match=r"frameskip = 4 makes .* 4 x 2 = 8 numbers.* takes 10"):
        loaded().agent(protocol=Protocol(name="other", frameskip=4, max_env_steps=8))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("action_mean", torch.nan, "action_mean holds nan"),
        ("action_std", torch.inf, "action_std holds inf"),
        ("action_std", 0.0, r"action_std = \[0\.0, .*give numbers above 0"),
        ("action_std", -1.0, r"action_std = \[-1\.0, .*give numbers above 0"),
    ],
)
def test_statistics_that_give_no_plan_are_refused(name: str, value: float, message: str):
    good = loaded().normalizer
    bad = getattr(good, name).clone()
    bad[0] = value
    changed = replace(loaded(), normalizer=replace(good, **{name: bad}))
    with pytest.raises(UserError, match=rf"normalizer\.{message}"):
        changed.agent(planner=PLANNER)


STATISTICS = Normalizer.from_statistics(
    action_mean=[0.0], action_std=[1.0], proprio_mean=[1.0, 2.0], proprio_std=[1.0, 1.0]
)
PIXELS = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("proprio", "message"),
    [
        (torch.zeros(3, 1), r"has the shape \(3, 1\); give \[3, 2\]"),  # would be broadcast
        (torch.zeros(1, 2), r"has the shape \(1, 2\); give \[3, 2\]"),
        (torch.zeros(2), r"has the shape \(2,\)"),
        (torch.zeros(3, 2) > 0, "is bool; give numbers"),
        (torch.zeros(3, 2, dtype=torch.complex64), "is complex64; give numbers"),
        (torch.full((3, 2), torch.nan), "holds NaN or infinite numbers"),
        (np.full((3, 2), 1e300), "holds NaN or infinite numbers"),  # beyond float32
        (np.full((3, 2), "a"), "is str32; give numbers"),
        ([[0.0, 0.0]] * 3, "is a list; give a tensor"),
    ],
)
def test_a_wrong_state_of_the_robot_is_refused(proprio: object, message: str):
    with pytest.raises(UserError, match=rf"observation\.proprio {message}"):
        admit(
            raw(PIXELS, proprio),
            what="observation",
            model=model_of_any_size(),
            normalizer=STATISTICS,
            goal=Observation(pixels=PIXELS),
        )


@pytest.mark.parametrize(
    "proprio",
    [
        torch.ones(3, 2),
        torch.ones(3, 2, dtype=torch.float64),
        torch.ones(3, 2, dtype=torch.int64),
        np.ones((3, 2)),
        np.ones((3, 2), dtype=">f4"),
        np.ones((3, 2), dtype=np.longdouble),
    ],
)
def test_numbers_of_any_kind_are_a_state(proprio: object):
    given = raw(PIXELS, proprio)
    taken = admit(given, what="goal", model=model_of_any_size(), normalizer=STATISTICS)
    assert taken.proprio is not None
    assert torch.equal(taken.proprio, torch.ones(3, 2))


def test_pictures_of_any_size_are_taken_where_the_models_own_is_not_known():
    pixels = torch.zeros(1, 3, 20, 30, dtype=torch.uint8)
    taken = admit(raw(pixels), what="goal", model=model_of_any_size(), normalizer=STATISTICS)
    assert taken.pixels is pixels
