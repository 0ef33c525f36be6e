"""A proposer learns through a frozen world model: on dynamics that are known, without any expert."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from jepawm.build import build_world_model
from jepawm.errors import UserError
from jepawm.models.encoders import EncoderConfig, build_encoder
from jepawm.models.predictor import PredictorConfig
from jepawm.models.proposer import Proposer, shape_of
from jepawm.models.proprio import ProprioConfig
from jepawm.models.world_model import JEPAWorldModel
from jepawm.planning.objectives import LatentDistance
from jepawm.proposals import ProposalConfig, ProposerConfig
from jepawm.training.optim import build_optimizer, set_schedule, step_generator
from jepawm.training.proposals import (
    Problems,
    ProposerState,
    carry_on,
    draw_blocks_done,
    draw_problems,
    longest_plan,
    optim_of,
    proposal_loss,
    replanning_cost,
)
from jepawm.types import Context, Latent, Observation, Trajectory

SMALL = ProposalConfig(
    proposer=ProposerConfig(num_plans=3, width=32, depth=1), num_steps=120, learning_rate=5e-3
)
HORIZON = 3


class Moves(JEPAWorldModel):
    """A world whose latent, two numbers, moves by the action."""

    def predict(self, latents: Latent, actions: Tensor) -> Latent:
        return Latent(tokens=latents.tokens + actions.unsqueeze(-2))


def moves() -> JEPAWorldModel:
    model = build_world_model(
        build_encoder(EncoderConfig(dim=2, image_size=16)),
        PredictorConfig(window=2, depth=1, num_heads=1, visual_dim=8),
        proprio=ProprioConfig(),
        action_dim=2,
        proprio_dim=0,
    )
    model.__class__ = Moves
    model.share_context = lambda context, window=None: _Plain(model, context, window)
    return model.eval().requires_grad_(requires_grad=False)


def _Plain(model, context, window):  # noqa: N802 (stands for the class)
    from jepawm.engine.rollout_engine import PlainRollout

    return PlainRollout(model, context, window=window or model.window)


def problems(step: int, *, batch: int = 64) -> Problems:
    """Draw starts and goals up to 3 away; the data went to its own goal, or somewhere else."""
    generator = step_generator(0, step)
    start = torch.randn(batch, 1, 1, 2, generator=generator)
    way = torch.randn(batch, 2, generator=generator)
    own = torch.arange(batch) % 2 == 0
    actions = way[:, None].expand(-1, HORIZON, -1) / HORIZON
    return Problems(
        context=Context(latents=Latent(tokens=start), actions=torch.zeros(batch, 0, 2)),
        goal=Latent(tokens=start[:, 0] + way[:, None]),
        actions=torch.where(own[:, None, None], actions, -5.0),
        own=own,
    )


def new_state(config: ProposalConfig = SMALL) -> ProposerState:
    torch.manual_seed(0)
    one = problems(0)
    proposer = Proposer(config.proposer, shape_of(one.goal, action_dim=2, horizon=HORIZON))
    return ProposerState(
        proposer=proposer, optimizer=build_optimizer(proposer, optim_of(config)), scale=1.0
    )


def train(state: ProposerState, config: ProposalConfig = SMALL, *, until: int) -> dict[str, Tensor]:
    terms = {}
    while state.step < until:
        set_schedule(state.optimizer, optim_of(config), step=state.step)
        terms = proposal_loss(
            state.proposer,
            moves(),
            problems=problems(state.step),
            objective=LatentDistance(),
            config=config,
            scale=state.scale,
        )
        state.optimizer.zero_grad()
        terms["loss"].backward()
        state.optimizer.step()
        state.step += 1
    return terms


def test_plans_reach_goals_and_ratings_know_the_best():
    state = new_state()
    before = train(state, until=1)
    after = train(state, until=SMALL.num_steps)
    assert float(before["cost"]) > 0.5
    assert float(after["cost"]) < 0.02
    assert float(after["rated_cost"]) < 0.1
    fresh = problems(10_000)
    plans = state.proposer.propose(fresh.context, fresh.goal, horizon=HORIZON, num_plans=1)
    reached = fresh.context.latents.tokens[:, 0, 0] + plans[:, 0].sum(1)
    away = (reached - fresh.goal.tokens[:, 0]).norm(dim=-1)
    assert float(away.mean()) < 0.4  # the goals are 1.25 away on average


def test_hindsight_draws_to_what_the_data_did_where_that_was_the_goal():
    config = replace(SMALL, hindsight_weight=1.0)
    with_it = train(new_state(config), config, until=SMALL.num_steps)
    without = train(new_state(), until=SMALL.num_steps)
    assert float(with_it["hindsight"]) < 0.5 * float(without["hindsight"])
    assert float(with_it["hindsight"]) < 0.1  # the marked actions of -5 are not imitated


def test_terms_add_up():
    config = replace(SMALL, hindsight_weight=0.7, action_weight=0.3, losers=0.4, rating_weight=0.2)
    terms = proposal_loss(
        new_state().proposer,
        moves(),
        problems=problems(0),
        objective=LatentDistance(),
        config=config,
        scale=2.0,
    )
    total = 0.6 * terms["cost"] + 0.4 * terms["mean_cost"] + 0.2 * terms["rating"]
    total = total + 0.5 * terms["replanning"]  # its weight if not given
    total = total + 0.3 * terms["action"] + 0.7 * terms["hindsight"] + terms["beyond"]
    torch.testing.assert_close(terms["loss"], total)
    assert terms["cost"] <= terms["rated_cost"] <= terms["mean_cost"] * SMALL.proposer.num_plans


def test_stopped_and_resumed_is_the_same():
    whole = new_state()
    train(whole, until=12)
    first = new_state()
    train(first, until=5)
    second = new_state()
    second.proposer.load_state_dict(first.proposer.state_dict())
    second.restore({k: v.clone() for k, v in first.tensors().items()})
    assert second.step == 5
    train(second, until=12)
    for one, other in zip(whole.proposer.parameters(), second.proposer.parameters(), strict=True):
        assert torch.equal(one, other)


def drawn(config: ProposalConfig, *, seed: int = 0, past: int = 0) -> Problems:
    """Draw problems of windows whose frames hold their own number."""
    number = 20 * torch.arange(8)[:, None] + torch.arange(HORIZON + past + 1)  # [8, T+1]
    pixels = number[..., None, None, None].expand(-1, -1, 3, 16, 16).to(torch.uint8)
    batch = Trajectory(obs=Observation(pixels=pixels), actions=torch.zeros(8, HORIZON + past, 2))
    model = moves()
    model.encode = lambda obs: Latent(tokens=obs.pixels[..., :1, 0, :1].float())
    return draw_problems(
        model,
        batch,
        horizon=HORIZON,
        config=config,
        generator=torch.Generator().manual_seed(seed),
    )


def test_goals_lie_a_horizon_ahead_in_the_same_episode_or_in_another():
    own = drawn(ProposalConfig(nearer=0.0, other_goals=0.0), past=1)
    assert own.context.latents.tokens.flatten(1).tolist() == [
        [20.0 * i, 20.0 * i + 1] for i in range(8)
    ]
    assert own.goal.tokens.flatten().tolist() == [20.0 * i + 1 + HORIZON for i in range(8)]
    assert own.own.all()
    other = drawn(ProposalConfig(nearer=0.0, other_goals=1.0))
    goals = other.goal.tokens.flatten()
    assert sorted(goals.tolist()) == [20.0 * i + HORIZON for i in range(8)]
    assert torch.equal(other.own, goals == 20.0 * torch.arange(8) + HORIZON)
    assert not other.own.all()


def test_some_goals_were_reached_sooner():
    problems = drawn(ProposalConfig(nearer=0.5, other_goals=0.0))
    away = problems.goal.tokens.flatten() - 20.0 * torch.arange(8)
    assert set(away.tolist()) <= {0.0, 1.0, 2.0, 3.0}
    assert torch.equal(problems.own, away == HORIZON)
    assert 0 < int(problems.own.sum()) < 8
    assert problems.horizon == HORIZON


def test_some_steps_plan_the_rest_of_a_plan():
    lengths = []
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        lengths.append(draw_blocks_done(HORIZON, ProposalConfig(shorter=0.5), generator=generator))
    assert set(lengths) == {0, 1, 2}
    assert 15 < lengths.count(0) < 45
    generator = torch.Generator()
    assert draw_blocks_done(1, ProposalConfig(shorter=1.0), generator=generator) == 0
    assert draw_blocks_done(HORIZON, ProposalConfig(shorter=0.0), generator=generator) == 0


def test_the_rest_starts_where_the_first_blocks_lead():
    state, before = new_state(), problems(0)
    model, proposer = moves(), state.proposer
    after = carry_on(before, model, proposer=proposer, num_blocks=2)
    plan = proposer.propose(before.context, before.goal, horizon=HORIZON, num_plans=1)[:, 0]
    reached = before.context.latents.tokens[:, 0, 0] + plan[:, :2].sum(1)
    torch.testing.assert_close(after.context.latents.tokens[:, 0, 0], reached)
    assert after.horizon == 1
    assert after.goal is before.goal
    assert not after.own.any()


def test_the_rest_keeps_the_past():
    past = Context(
        latents=Latent(tokens=torch.randn(4, 2, 1, 2)), actions=torch.full((4, 1, 2), 7.0)
    )
    one = Problems(
        context=past,
        goal=past.latents[:, 0],
        actions=torch.zeros(4, HORIZON, 2),
        own=torch.ones(4, dtype=torch.bool),
    )
    config = replace(SMALL, proposer=replace(SMALL.proposer, window=2))
    proposer = new_state(config).proposer
    plan = proposer.propose(past, one.goal, horizon=HORIZON, num_plans=1)[:, 0]
    rest = carry_on(one, moves(), proposer=proposer, num_blocks=1)
    torch.testing.assert_close(rest.context.actions, plan[:, :1])
    torch.testing.assert_close(rest.context.latents.tokens[:, 0], past.latents.tokens[:, 1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_steps", -1),
        ("batch_size", 0),
        ("shorter", 1.5),
        ("losers", -0.1),
        ("other_goals", 2.0),
        ("learning_rate", float("nan")),
        ("action_weight", -1.0),
        ("hindsight_weight", float("inf")),
        ("rating_weight", -1.0),
    ],
)
def test_numbers_out_of_range_are_refused(name: str, value: float):
    with pytest.raises(UserError, match=rf"proposals\.{name} = "):
        ProposalConfig(**{name: value})


def test_plans_stay_within_the_bounds_of_the_agent():
    bounds = (torch.full((2,), -0.2), torch.full((2,), 0.2))
    state = new_state()
    for step in range(60):
        set_schedule(state.optimizer, optim_of(SMALL), step=step)
        terms = proposal_loss(
            state.proposer,
            moves(),
            problems=problems(step),
            objective=LatentDistance(),
            config=SMALL,
            scale=1.0,
            bounds=bounds,
        )
        state.optimizer.zero_grad()
        terms["loss"].backward()
        state.optimizer.step()
    assert float(terms["beyond"].detach()) < 0.05
    fresh = problems(10_000)
    plans = state.proposer.propose(fresh.context, fresh.goal, horizon=HORIZON, num_plans=3)
    assert float(plans.abs().mean()) < 0.3  # 0.36 without bounds


def test_plans_grow_along_the_curriculum():
    state = new_state()
    config = replace(SMALL, num_steps=100, curriculum=0.3)
    longest = []
    for state.step in (0, 9, 10, 20, 99):
        longest.append(longest_plan(state, config))
    assert longest == [1, 1, 2, 3, 3]
    assert longest_plan(state, SMALL) == HORIZON
    batch = Trajectory(
        obs=Observation(pixels=torch.zeros(4, HORIZON + 1, 3, 16, 16, dtype=torch.uint8)),
        actions=torch.zeros(4, HORIZON, 2),
    )
    drawn = draw_problems(
        moves(), batch, horizon=HORIZON, config=config, generator=step_generator(0, 0), longest=2
    )
    assert drawn.horizon == 2
    assert drawn.context.latents.batch_shape == (4, 1)


def test_replanning_is_trained_through_the_loop():
    """The first of three blocks is seen thrice: what it lacks, later ones can add."""

    def after(config: ProposalConfig) -> float:
        state = new_state(config)
        train(state, config, until=SMALL.num_steps)
        fresh = problems(10_000)
        cost = replanning_cost(state.proposer, moves(), problems=fresh, objective=LatentDistance())
        return float(cost.detach())

    with_it = after(replace(SMALL, shorter=0.0, replanning_weight=1.0))
    without = after(replace(SMALL, shorter=0.0, replanning_weight=0.0))
    assert with_it < 0.02
    assert with_it < 0.5 * without


def test_replanning_keeps_the_bounds():
    bounds = (torch.full((2,), -0.1), torch.full((2,), 0.1))
    state, far = new_state(), problems(0)
    far = replace(far, goal=Latent(tokens=far.goal.tokens + 100.0))
    cost = replanning_cost(
        state.proposer, moves(), problems=far, objective=LatentDistance(), bounds=bounds
    )
    assert float(cost.detach()) > (99.0 - 3 * 0.1 - 4.0) ** 2
