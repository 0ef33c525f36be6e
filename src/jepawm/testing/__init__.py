"""Hold a part to its contract; and problems whose optimum is known, for tests of planners.

`check_planner(MyPlanner())` returns nothing, or raises a `ContractError` that says which rule is
broken, what was found and how to fix it. It belongs in the tests of whoever writes a part.
"""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.contracts import (
    BuildsEncoder,
    CostFn,
    Encoder,
    Objective,
    Planner,
    SharesContext,
    WorldModel,
)
from jepawm.planning.proposing import takes_proposals
from jepawm.planning.terms.heads import bind
from jepawm.testing.environments import (
    check_collection_policy,
    check_data_format,
    check_env,
    check_simulator,
)
from jepawm.testing.heads import random_heads
from jepawm.testing.rules import (
    ContractError,
    Require,
    close,
    joined,
    new_generator,
    require_alone,
    require_finite,
    require_frozen,
    require_pure,
    rules,
    shape_of,
)
from jepawm.types import Context, Latent, Observation, Plan, concatenate

__all__ = [
    "ContractError",
    "Quadratic",
    "WalledPointMass",
    "check_collection_policy",
    "check_data_format",
    "check_encoder",
    "check_env",
    "check_objective",
    "check_planner",
    "check_simulator",
    "check_world_model",
]


def check_encoder(config: object, *, image_size: int = 64) -> None:
    """Check the configuration of an encoder and what it builds, on pictures `[*b, 3, Hpx, Wpx]`."""
    require = rules(config)
    require_frozen(config, "build")
    first, second = (cast(Encoder, _build(cast(BuildsEncoder, config))) for _ in range(2))
    require(
        isinstance(first, nn.Module),
        "build() returns an nn.Module",
        found=type(first).__name__,
        fix="derive the encoder from torch.nn.Module",
    )
    absent = [name for name in ("num_tokens", "dim", "grid") if not hasattr(first, name)]
    require(
        not absent,
        "an encoder has num_tokens, dim and grid",
        found=f"no {', '.join(absent)}",
        fix="set them in __init__",
    )
    require(
        first.grid[0] * first.grid[1] == first.num_tokens,
        "grid is (rows, columns) of num_tokens tokens",
        found=f"grid {first.grid} for {first.num_tokens} tokens",
        fix="(1, num_tokens) where tokens form no grid",
    )
    weights = [cast(nn.Module, one).state_dict() for one in (first, second)]
    require(
        all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0]),
        "the same torch.manual_seed builds the same weights",
        found="two builds that differ",
        fix="draw weights with torch's global generator and nothing else",
    )
    cast(nn.Module, first).eval()
    shape = (2, 3, 3, image_size, image_size)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=new_generator())
    before = pixels.clone()
    with torch.no_grad():
        tokens = first(pixels)
        _require_tokens(require, tokens, shape=(2, 3, first.num_tokens, first.dim))
        alone = torch.stack([torch.stack([first(one) for one in row]) for row in pixels])
        require_pure(require, (tokens, first(pixels)), before=before, after=pixels)
    require_alone(require, (tokens, alone), what="picture")


def check_world_model(
    model: object, *, action_dim: int, proprio_dim: int = 0, image_size: int = 64
) -> None:
    """Check a world model, in evaluation mode; `action_dim` is the width of an action block."""
    require = rules(model)
    require(
        isinstance(model, WorldModel) and isinstance(model.window, int) and model.window > 0,
        "a world model has window (at least 1), encode, predict and rollout",
        found=f"window {getattr(model, 'window', None)!r}",
        fix="see contracts.WorldModel",
    )
    model = cast(WorldModel, model)
    if isinstance(model, nn.Module):
        model.eval()
    generator, window, horizon = new_generator(), model.window, 3
    shape = (2, window, 3, image_size, image_size)
    obs = Observation(
        pixels=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
        proprio=torch.randn(2, window, proprio_dim, generator=generator) if proprio_dim else None,
    )
    actions = torch.randn(2, window + horizon, action_dim, generator=generator)
    before = joined(obs)
    with torch.no_grad():
        latents = model.encode(obs)
        require(
            latents.batch_shape == (2, window) and bool(joined(latents).isfinite().all()),
            "encode turns observations [*b] into finite latents [*b]",
            found=f"latents {tuple(latents.batch_shape)} of observations {(2, window)}",
            fix="keep all leading axes",
        )
        alone = concatenate([model.encode(obs[i : i + 1]) for i in range(2)], dim=0)
        require_pure(require, (latents, model.encode(obs)), before=before, after=joined(obs))
        require_alone(require, (latents, alone), what="observation")
        _check_predictions(require, model, latents=latents, actions=actions)


def check_objective(
    objective: object, *, num_tokens: int = 4, dim: int = 8, proprio_dim: int = 4
) -> None:
    """Check an objective on latents `[N, D]`, with proprio codes `[N, Dp]` unless that is 0.

    One that reads heads of a model is given some with random weights.
    """
    require = rules(objective)
    require_frozen(objective, "__call__")
    heads = random_heads(num_tokens=num_tokens, dim=dim, proprio_dim=proprio_dim)
    score, generator = bind(cast(Objective, objective), heads), new_generator()

    def latent(*batch: int) -> Latent:
        tokens = torch.randn(*batch, num_tokens, dim, generator=generator)
        proprio = torch.randn(*batch, num_tokens, proprio_dim, generator=generator)
        return Latent(tokens=tokens, proprio=proprio if proprio_dim else None)

    predicted, goal = latent(2, 3, 4), latent(2)
    actions = torch.randn(2, 3, 4, 2, generator=generator)
    before = torch.cat([joined(predicted), joined(goal), actions.flatten()])
    cost = score(predicted, goal, actions)
    require(
        isinstance(cost, Tensor) and cost.shape == (2, 3),
        "an objective returns costs [B, K] of latents [B, K, H]",
        found=shape_of(cost),
        fix="reduce over steps, tokens and channels, not over candidates or problems",
    )
    require_finite(require, cost, what="costs")
    after = torch.cat([joined(predicted), joined(goal), actions.flatten()])
    require_pure(require, (cost, score(predicted, goal, actions)), before=before, after=after)
    rows = [
        torch.cat(
            [
                score(predicted[i : i + 1, k : k + 1], goal[i : i + 1], actions[i, k][None, None])
                for k in range(3)
            ],
            dim=1,
        )
        for i in range(2)
    ]
    require_alone(require, (cost, torch.cat(rows)), what="candidate")


def check_planner(planner: object, *, horizon: int = 3, action_dim: int = 2) -> None:
    """Check a planner on quadratics, in and out of bounds; without gradients around it, as agents do."""
    require = rules(planner)
    require_frozen(planner, "plan", "needs_gradients")
    search = cast(Planner, planner)
    require(
        isinstance(search.needs_gradients, bool),
        "needs_gradients is a bool of the class",
        found=repr(search.needs_gradients),
        fix="write needs_gradients: ClassVar[bool] = False",
    )
    optimum = torch.linspace(-0.8, 0.8, 2 * horizon * action_dim).view(2, horizon, action_dim)
    init = torch.full_like(optimum, 0.05)
    before, cost = init.clone(), _mean_cost(optimum)
    plan = _plan(search, cost, init=init)
    _check_plan(require, plan, cost=cost, init=before)
    other = _mean_cost(torch.stack([optimum[0], -optimum[1]]))
    beside = _plan(search, other, init=init)
    require_pure(
        require, (plan.actions, _plan(search, cost, init=init).actions), before=before, after=init
    )
    require(
        close(plan.actions[0], beside.actions[0]),
        "the plan of a problem does not depend on the problems beside it",
        found="another plan for problem 0 once problem 1 had another optimum",
        fix="keep elites, means and step sizes apart for each problem",
    )
    high = torch.full((action_dim,), 0.3)
    bounded = _plan(search, cost, init=init, bounds=(-high, high)).actions
    require(
        bool((bounded.abs() <= 0.3 + 1e-6).all()),
        "actions stay within bounds",
        found=f"{bounded.abs().max():.3g} where 0.3 is allowed",
        fix="clamp candidates and the plan",
    )


@dataclass(frozen=True, kw_only=True)
class Quadratic:
    """Cost of a plan: its squared distance to the optimum; the least cost is 0."""

    optimum: Float[Tensor, "B H A"]
    """The best plans `[B, H, A]`."""

    def __call__(self, actions: Float[Tensor, "B K H A"]) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of plans `[B, K, H, A]`."""
        return (actions - self.optimum[:, None]).square().sum((-2, -1))


@dataclass(frozen=True, kw_only=True)
class WalledPointMass:
    """A linear point mass that is to pass through the door of a wall and stop at its goal.

    Actions are accelerations; velocity and position add them up, from rest at the start. The cost
    is the squared distance of the last position to the goal plus, for each step that crosses the
    line x = 0, the squared distance of the crossing to the door. The least cost is 0: the goal is
    reached through the door.
    """

    start: Float[Tensor, "B 2"]
    """Start `[B, 2]`."""
    goal: Float[Tensor, "B 2"]
    """Goal `[B, 2]`."""
    door: Float[Tensor, " B"]
    """Height `[B]` of the middle of the door."""
    half_width: float = 0.3
    """Half the height of the door."""
    time_step: float = 0.5
    """Time between two accelerations."""

    def positions(self, actions: Float[Tensor, "B K H 2"]) -> Float[Tensor, "B K T 2"]:
        """Return the positions `[B, K, H+1, 2]` under accelerations `[B, K, H, 2]`."""
        velocity = self.time_step * actions.cumsum(2)
        moved = self.start[:, None, None] + self.time_step * velocity.cumsum(2)
        first = self.start[:, None, None].expand(-1, actions.shape[1], 1, -1)
        return torch.cat([first, moved], dim=2)

    def __call__(self, actions: Float[Tensor, "B K H 2"]) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of accelerations `[B, K, H, 2]`."""
        x, y = self.positions(actions).unbind(-1)  # [B, K, H+1] each
        crosses = x[..., 1:].sign() != x[..., :-1].sign()
        step = x[..., 1:] - x[..., :-1]
        part = torch.where(crosses, -x[..., :-1] / torch.where(crosses, step, 1.0), 0.0)
        height = y[..., :-1] + part * (y[..., 1:] - y[..., :-1])
        missed = ((height - self.door[:, None, None]).abs() - self.half_width).clamp(min=0.0)
        distance = (torch.stack([x, y], -1)[..., -1, :] - self.goal[:, None]).square().sum(-1)
        return distance + torch.where(crosses, missed, 0.0).square().sum(-1)


def _require_tokens(require: Require, tokens: object, *, shape: tuple[int, ...]) -> None:
    require(
        isinstance(tokens, Tensor) and tokens.shape == shape and tokens.is_floating_point(),
        "pictures [*b, 3, Hpx, Wpx] become floating-point tokens [*b, num_tokens, dim]",
        found=f"{shape_of(tokens)} instead of {shape}",
        fix="keep all leading axes, even if there are none",
    )
    require_finite(require, cast(Tensor, tokens), what="tokens")


def _build(config: BuildsEncoder) -> object:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return config.build()


def _check_predictions(
    require: Require,
    model: WorldModel,
    *,
    latents: Latent,
    actions: Float[Tensor, "B T A"],
) -> None:
    """Check predict and rollout from latents `[B, W]`; actions reach beyond them."""
    window = model.window
    predicted = model.predict(latents, actions[:, :window])
    require(
        predicted.tokens.shape == latents.tokens.shape,
        "predict returns latents [B, w] for latents [B, w] and actions [B, w, A]",
        found=shape_of(predicted.tokens),
        fix="slot t predicts time t + 1",
    )
    changed = actions[:, :window].clone()
    changed[:, -1] += 1.0
    require(
        close(joined(model.predict(latents, changed)[:, :-1]), joined(predicted[:, :-1])),
        "slot t of predict knows actions up to t only",
        found="earlier slots that depend on the last action",
        fix="mask the attention to the future",
    )
    context, future = (
        Context(latents=latents, actions=actions[:, : window - 1]),
        actions[:, window - 1 :],
    )
    known, past = latents, context.actions
    for t in range(future.shape[1]):
        past = torch.cat([past, future[:, t : t + 1]], dim=1)
        following = model.predict(known[:, -window:], past[:, -window:])[:, -1:]
        known = concatenate([known, following], dim=1)
    rolled = model.rollout(context, future)
    require(
        rolled.batch_shape == future.shape[:2] and close(joined(rolled), joined(known[:, window:])),
        "rollout returns latents [B, H]: predict, fed with what it predicted",
        found=f"{tuple(rolled.batch_shape)} for {future.shape[1]} actions, or other numbers",
        fix="append the last slot to the last `window` latents, step by step",
    )
    if isinstance(model, SharesContext):
        shared = model.share_context(context)(future[:, None])[:, 0]
        require(
            close(joined(shared), joined(rolled)),
            "share_context rolls out what rollout does",
            found="other latents",
            fix="compare the two step by step",
        )


def _mean_cost(optimum: Float[Tensor, "B H A"]) -> CostFn:
    """Return a quadratic, divided by the numbers of a plan: steps of any usual size converge."""
    quadratic = Quadratic(optimum=optimum)
    return lambda actions: quadratic(actions) / optimum[0].numel()


def _plan(
    planner: Planner,
    cost: CostFn,
    *,
    init: Tensor,
    bounds: tuple[Tensor, Tensor] | None = None,
) -> Plan:
    arguments = {"bounds": bounds, "generator": new_generator()}
    with torch.no_grad():
        if not takes_proposals(planner):
            return planner.plan(cost, init, **arguments)
        proposals = init[:, None] + torch.linspace(-0.2, 0.2, planner.num_proposals)[:, None, None]
        return planner.plan(cost, init, **arguments, proposals=proposals)


def _check_plan(require: Require, plan: Plan, *, cost: CostFn, init: Tensor) -> None:
    require(
        plan.actions.shape == init.shape and plan.cost.shape == init.shape[:1],
        "a plan has actions [B, H, A] and cost [B]",
        found=f"{shape_of(plan.actions)} and {shape_of(plan.cost)}",
        fix="plan one sequence of actions for each problem",
    )
    require(
        plan.history.ndim == 2 and plan.history.shape[1] == len(init),
        "history holds the lowest cost [I, B] of each iteration",
        found=shape_of(plan.history),
        fix="stack one row for each iteration",
    )
    require_finite(require, plan.actions, what="planned actions")
    real, before = cost(plan.actions[:, None])[:, 0], cost(init[:, None])[:, 0]
    require(
        close(plan.cost, real),
        "cost is that of exactly the returned actions",
        found=f"{plan.cost.tolist()} where the actions cost {real.tolist()}",
        fix="evaluate the actions that are returned",
    )
    require(
        (real < before).all(),
        "a plan costs less than the initial guess on a quadratic",
        found=f"{real.tolist()} after {before.tolist()}",
        fix="return the best candidate; give the search more samples or iterations",
    )
