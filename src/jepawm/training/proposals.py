"""Train a proposer through a frozen world model: no expert, only what plans would lead to.

A step draws observations and goals from the data, lets the proposer plan from one to the other, rolls
its plans out in the world model, and follows the gradient of the cost back into the proposer. The
cheapest of a problem's plans takes most of the gradient, so that codes specialise; a rating of each
plan learns the logarithm of its cost, so that the best one is known without the world model.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Bounds, Objective
from jepawm.data.windows import Windows
from jepawm.engine.rollout_engine import RolloutEngine
from jepawm.models.proposer import Proposer, shape_of
from jepawm.models.world_model import JEPAWorldModel
from jepawm.planning.sampling import clamp
from jepawm.proposals import ProposalConfig
from jepawm.training.optim import (
    OptimConfig,
    batch_indices,
    build_optimizer,
    step_generator,
)
from jepawm.training.parts import PartHooks, PartState, part_optim, train_part
from jepawm.training.validation import encode_windows
from jepawm.types import Context, Latent, Trajectory, concatenate

_SCALING_WINDOWS = 512


@dataclass(frozen=True, kw_only=True)
class Problems:
    """A batch of problems drawn from data."""

    context: Context
    """What was observed, latents `[B, w]`."""
    goal: Latent
    """Goals `[B]`."""
    actions: Float[Tensor, "B H A"]
    """What the data did from there on, normalised."""
    own: Tensor
    """Whether the goal is where that led, `[B]`."""

    @property
    def horizon(self) -> int:
        """Return the number of blocks to the goal."""
        return self.actions.shape[1]


def draw_problems(
    model: JEPAWorldModel,
    batch: Trajectory,
    *,
    horizon: int,
    config: ProposalConfig,
    generator: torch.Generator,
    longest: int | None = None,
) -> Problems:
    """Cut problems out of windows of `w - 1 + horizon` blocks, the past included; all of one length.

    A goal is the frame that the data reached, then or sooner, or that of another window of the batch;
    plans have at most `longest` blocks (None: `horizon`).
    """
    now = batch.actions.shape[1] - horizon
    horizon = longest or horizon
    seen = model.encode(batch.obs[:, : now + 1])
    size = batch.actions.shape[0]
    sooner = torch.rand(size, generator=generator) < config.nearer
    early = torch.randint(0, horizon, (size,), generator=generator)
    reached = now + torch.where(sooner, early, torch.tensor(horizon))
    goal = model.encode(batch.obs[torch.arange(size), reached])
    other = torch.rand(size, generator=generator) < config.other_goals
    source = torch.where(other, torch.randperm(size, generator=generator), torch.arange(size))
    return Problems(
        context=Context(latents=seen, actions=batch.actions[:, :now]),
        goal=goal[source.to(goal.tokens.device)],
        actions=batch.actions[:, now : now + horizon],
        own=(source == torch.arange(size)) & ~sooner,
    )


@torch.no_grad()
def carry_on(
    problems: Problems, model: JEPAWorldModel, *, proposer: Proposer, num_blocks: int
) -> Problems:
    """Return the problems that are left after the first blocks of the plans that are rated best.

    They start where the world model says that these lead: where replanning takes place.
    """
    context, goal, horizon = problems.context, problems.goal, problems.horizon
    plan = proposer.propose(context, goal, horizon=horizon, num_plans=1)[:, 0, :num_blocks]
    window = context.latents.batch_shape[1]
    rolled = model.rollout(context, plan, window=window)  # [B, num_blocks]
    return Problems(
        context=follow(context, rolled, actions=plan),
        goal=goal,
        actions=problems.actions[:, num_blocks:],
        own=torch.zeros_like(problems.own),
    )


def proposal_loss(
    proposer: Proposer,
    model: JEPAWorldModel,
    *,
    problems: Problems,
    objective: Objective,
    config: ProposalConfig,
    scale: float,
    bounds: Bounds | None = None,
) -> dict[str, Tensor]:
    """Return the terms of the loss of a batch; `loss` is what to minimise.

    Costs are divided by `scale`, mostly what standing still costs: they have no unit. Plans are rolled out as an agent with `bounds` would execute them; what is beyond has a price of its own.
    """
    context, goal = problems.context, problems.goal
    drawn, ratings = proposer(context, goal, horizon=problems.horizon)  # [B, K, H, A], [B, K]
    plans = clamp(drawn, bounds)
    rollouts = RolloutEngine(model, context, window=context.latents.batch_shape[1])
    cost = rollouts.cost(plans, objective=objective, goal=goal)  # [B, K]
    cost = cost / scale
    truth = cost.detach().clamp(min=1e-6).log()
    terms = {
        "cost": cost.min(1).values.mean(),
        "rated_cost": cost.detach().gather(1, ratings.argmin(1, keepdim=True)).mean(),
        "mean_cost": cost.mean(),
        "rating": (ratings - truth).square().mean(),
        "action": plans.square().mean(),
        "beyond": (drawn - plans).square().mean(),
        "hindsight": _hindsight(plans, problems),
    }
    if config.replanning_weight > 0:
        terms["replanning"] = replanning_cost(
            proposer, model, problems=problems, objective=objective, bounds=bounds
        )
        terms["replanning"] = terms["replanning"] / scale
    terms["loss"] = (
        (1 - config.losers) * terms["cost"]
        + config.losers * terms["mean_cost"]
        + config.rating_weight * terms["rating"]
        + config.action_weight * terms["action"]
        + terms["beyond"]
        + config.hindsight_weight * terms["hindsight"]
    )
    if config.replanning_weight > 0:
        terms["loss"] = terms["loss"] + config.replanning_weight * terms["replanning"]
    return terms


def replanning_cost(
    proposer: Proposer,
    model: JEPAWorldModel,
    *,
    problems: Problems,
    objective: Objective,
    bounds: Bounds | None = None,
) -> Float[Tensor, ""]:
    """Return the mean cost where the world model ends if each block is the first of a new plan.

    Its gradient passes through the whole loop of proposer and model: it trains a reactive policy. Half
    of the problems are enough for it, the loop is long.
    """
    size = -(-len(problems.actions) // 2)
    context, goal = problems.context[:size], problems.goal[:size]
    window = context.latents.batch_shape[1]
    rows = torch.arange(size, device=problems.actions.device)
    last, block = context.latents[:, -1:], problems.actions[:size, :1]
    for left in range(problems.horizon, 0, -1):
        plans, ratings = proposer(context, goal, horizon=left)
        block = clamp(plans[rows, ratings.argmin(1)][:, None, :1], bounds)[:, 0]  # [B, 1, A]
        last = model.rollout(context, block, window=window)  # [B, 1]
        context = follow(context, last, actions=block)
    return objective(last.map(lambda part: part[:, None]), goal, block[:, None]).mean()


def follow(context: Context, latents: Latent, *, actions: Float[Tensor, "B T A"]) -> Context:
    """Return the context, as long as before, after actions that led to latents `[B, T]`."""
    window, num_done = context.latents.batch_shape[1], actions.shape[1]
    return Context(
        latents=concatenate([context.latents, latents], dim=1)[:, -window:],
        actions=torch.cat([context.actions, actions], dim=1)[:, num_done:],
    )


def _hindsight(plans: Float[Tensor, "B K H A"], problems: Problems) -> Float[Tensor, ""]:
    """Return the squared distance of the nearest plan to what the data did, where that was the goal."""
    apart = (plans - problems.actions[:, None]).square().mean((-2, -1)).min(1).values  # [B]
    own = problems.own.to(apart)
    return (own * apart).sum() / own.sum().clamp(min=1.0)


@dataclass(kw_only=True)
class ProposerState(PartState):
    """What training a proposer changes."""

    proposer: Proposer
    """The network."""
    scale: float
    """Mean cost of standing still for as long as the longest plan, on the problems to learn from."""

    @property
    def module(self) -> Proposer:
        """Return the network."""
        return self.proposer


def new_state(
    model: JEPAWorldModel,
    windows: Windows,
    *,
    objective: Objective,
    config: ProposalConfig,
    horizon: int,
    seed: int,
) -> ProposerState:
    """Build a proposer for a world model, its inputs scaled by some windows of the data."""
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        latents, actions = encode_windows(
            model, windows, num_windows=_SCALING_WINDOWS, device=device
        )
        scale = cost_of_standing_still(
            objective, latents, actions=actions, horizon=horizon, config=config
        )
        shape = shape_of(latents, action_dim=model.action_dim, horizon=horizon)
        proposer = Proposer(config.proposer, shape)
    proposer.to(device).fit_inputs(latents)
    optimizer = build_optimizer(proposer, optim_of(config))
    return ProposerState(proposer=proposer, optimizer=optimizer, scale=scale)


def cost_of_standing_still(
    objective: Objective,
    latents: Latent,
    *,
    actions: Float[Tensor, "n T A"],
    horizon: int,
    config: ProposalConfig,
) -> float:
    """Return the mean cost of staying where latents `[n, T+1]` are, with goals as they are drawn.

    One scale for plans of every length: divided by their own, short ones would weigh most.
    """
    now = actions.shape[1] - horizon
    here, there = latents[:, now : now + 1], latents[:, -1]
    others = there[torch.randperm(len(actions)).to(actions.device)]
    rolled = here.map(lambda part: part[:, None])  # [n, 1, 1]
    own, other = (
        float(objective(rolled, goal, actions[:, None, -1:]).mean().abs())
        for goal in (there, others)
    )
    return max(
        (1 - config.other_goals) * own + config.other_goals * other, torch.finfo(torch.float32).tiny
    )


def train_proposer(
    state: ProposerState,
    model: JEPAWorldModel,
    *,
    windows: Windows,
    objective: Objective,
    config: ProposalConfig,
    seed: int,
    hooks: PartHooks,
    bounds: Bounds | None = None,
) -> None:
    """Train until `config.num_steps`, from wherever the state is, or until a stop is asked for.

    Every random choice is a function of the seed and the step.
    """
    device = next(state.proposer.parameters()).device

    def terms_of(step: int) -> dict[str, Tensor]:
        index = batch_indices(
            num_windows=len(windows), batch_size=config.batch_size, seed=seed, step=step
        )
        generator = step_generator(seed, step)
        with torch.no_grad():
            batch = windows.batch(index).to(device)
            problems = draw_problems(
                model,
                batch,
                horizon=state.proposer.horizon,
                config=config,
                generator=generator,
                longest=longest_plan(state, config),
            )
            num_done = draw_blocks_done(problems.horizon, config, generator=generator)
            if num_done:
                problems = carry_on(problems, model, proposer=state.proposer, num_blocks=num_done)
        return proposal_loss(
            state.proposer,
            model,
            problems=problems,
            objective=objective,
            config=config,
            scale=state.scale,
            bounds=bounds,
        )

    train_part(
        state,
        terms_of,
        optim=optim_of(config),
        hooks=hooks,
        name="proposer",
        check=", or check the world model by `jepawm eval`",
    )


def draw_blocks_done(horizon: int, config: ProposalConfig, *, generator: torch.Generator) -> int:
    """Return how many blocks of a plan of `horizon` blocks are behind the problems of a step."""
    if horizon == 1 or float(torch.rand((), generator=generator)) >= config.shorter:
        return 0
    return int(torch.randint(1, horizon, (), generator=generator))


def longest_plan(state: ProposerState, config: ProposalConfig) -> int:
    """Return the blocks of the longest plans of this step."""
    growing = config.curriculum * config.num_steps
    part = 1.0 if growing == 0.0 else min(1.0, (state.step + 1) / growing)
    return max(1, math.ceil(part * state.proposer.horizon))


def optim_of(config: ProposalConfig) -> OptimConfig:
    """Return the optimiser's settings."""
    return part_optim(
        num_steps=config.num_steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
    )
