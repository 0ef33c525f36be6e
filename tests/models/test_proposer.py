"""A proposer: one plan for each code, rated, for latents of every layout."""

import pytest
import torch

from jepawm.errors import UserError
from jepawm.models.proposer import Proposer, ProposerShape, shape_of
from jepawm.proposals import ProposerConfig
from jepawm.types import Context, Latent

LAYOUTS = {  # tokens, width, proprio width, copies of the proprio code
    "one token": (1, 6, 0, 0),
    "one token and proprio": (1, 6, 3, 1),
    "grid": (4, 5, 0, 0),
    "grid and proprio": (4, 5, 3, 4),
    "grid and a proprio token": (4, 5, 3, 1),
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


def latents(layout: str, *batch: int, seed: int = 0) -> Latent:
    tokens, width, proprio, copies = LAYOUTS[layout]
    generator = torch.Generator().manual_seed(seed)
    code = torch.randn(*batch, copies, proprio, generator=generator) if proprio else None
    return Latent(tokens=torch.randn(*batch, tokens, width, generator=generator), proprio=code)


def build(layout: str = "one token", *, horizon: int = 4, **sizes: int) -> Proposer:
    torch.manual_seed(0)
    config = ProposerConfig(**{"num_plans": 3, "width": 16, "depth": 1, **sizes})
    shape = shape_of(latents(layout, 2), action_dim=2, horizon=horizon)
    return Proposer(config, shape).requires_grad_(requires_grad=False)


def context(layout: str, *, window: int = 1) -> Context:
    return Context(latents=latents(layout, 2, window), actions=torch.zeros(2, window - 1, 2))


@every_layout
def test_a_plan_and_a_rating_for_each_code(layout: str):
    proposer = build(layout)
    for horizon in (1, 4):
        plans, ratings = proposer(context(layout), latents(layout, 2, seed=1), horizon=horizon)
        assert plans.shape == (2, 3, horizon, 2)
        assert ratings.shape == (2, 3)
        assert len(plans.flatten(2).unique(dim=1)[0]) == 3  # each code its own


@every_layout
def test_goal_and_observation_change_the_plans(layout: str):
    proposer, seen, goal = build(layout), context(layout), latents(layout, 2, seed=1)
    plans, _ = proposer(seen, goal, horizon=4)
    other, _ = proposer(seen, latents(layout, 2, seed=2), horizon=4)
    assert not torch.allclose(plans, other)
    moved = Context(latents=latents(layout, 2, 1, seed=3), actions=seen.actions)
    assert not torch.allclose(plans, proposer(moved, goal, horizon=4)[0])


def test_past_actions_are_not_looked_at():
    """What a recording did, or the agent before, cannot come out of a proposer."""
    proposer, goal = build(window=2), latents("one token", 2, seed=1)
    seen = context("one token", window=2)
    marked = Context(latents=seen.latents, actions=torch.full_like(seen.actions, 7.25))
    assert torch.equal(proposer(seen, goal, horizon=4)[0], proposer(marked, goal, horizon=4)[0])


def test_missing_past_is_the_first_latent_repeated():
    proposer, goal = build(window=3), latents("one token", 2, seed=1)
    short = context("one token")
    repeated = Latent(tokens=short.latents.tokens.expand(-1, 3, -1, -1))
    long = Context(latents=repeated, actions=torch.zeros(2, 2, 2))
    assert torch.equal(proposer(short, goal, horizon=4)[0], proposer(long, goal, horizon=4)[0])


def test_the_plans_rated_best_come_first():
    proposer, seen, goal = build(), context("one token"), latents("one token", 2, seed=1)
    plans, ratings = proposer(seen, goal, horizon=4)
    best = proposer.propose(seen, goal, horizon=4, num_plans=2)
    for problem, order in enumerate(ratings.argsort(dim=1)):
        assert torch.equal(best[problem], plans[problem, order[:2]])


def test_inputs_are_scaled_by_their_channels():
    proposer, many = build("one token and proprio"), latents("one token and proprio", 500)
    scaled = Latent(tokens=1e3 * many.tokens + 5.0, proprio=many.proprio)
    proposer.fit_inputs(scaled)
    torch.testing.assert_close(proposer.token_mean, scaled.tokens.flatten(0, -2).mean(0))
    seen = Context(latents=scaled[:2][:, None], actions=torch.zeros(2, 0, 2))
    plans, _ = proposer(seen, scaled[2:4], horizon=4)
    assert float(plans.abs().max()) < 10.0


@pytest.mark.parametrize("horizon", [0, 5])
def test_a_horizon_beyond_its_own_is_refused(horizon: int):
    with pytest.raises(UserError, match=rf"plans 1 to 4 action blocks and was asked for {horizon}"):
        build()(context("one token"), latents("one token", 2), horizon=horizon)


@pytest.mark.parametrize("count", [0, 4])
def test_more_plans_than_codes_are_refused(count: int):
    with pytest.raises(UserError, match=rf"num_proposals = {count}, and this proposer makes 3"):
        build().propose(context("one token"), latents("one token", 2), horizon=4, num_plans=count)


@pytest.mark.parametrize("name", ["num_plans", "window", "width", "depth", "num_queries"])
def test_sizes_out_of_range_are_refused(name: str):
    for value in (0, 10**6):
        with pytest.raises(UserError, match=rf"proposer\.{name} = {value}; give 1 to"):
            ProposerConfig(**{name: value})


def test_a_shape_is_that_of_latents():
    assert shape_of(latents("grid and proprio", 2), action_dim=7, horizon=3) == ProposerShape(
        num_tokens=4, latent_dim=5, proprio_dim=3, action_dim=7, horizon=3
    )
