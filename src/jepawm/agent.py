"""Act towards a goal: close a planner over a world model and an objective, and replan."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import (
    Bounds,
    CostFn,
    Objective,
    Planner,
    Proposer,
    WorldModel,
)
from jepawm.door import admit, require_evaluation, require_fitting
from jepawm.engine.config import EngineConfig
from jepawm.engine.rollout_engine import RolloutEngine
from jepawm.errors import UserError
from jepawm.normalizer import Normalizer
from jepawm.planning.binding import OtherGoals, bind_to
from jepawm.planning.draws import ProblemGenerators
from jepawm.planning.proposing import Propose, ask, takes_proposals
from jepawm.planning.terms.heads import NO_HEADS, Heads
from jepawm.protocol import Protocol
from jepawm.texts import Text
from jepawm.types import Context, Latent, Observation, Plan, concatenate


@dataclass(frozen=True, kw_only=True)
class AgentConfig:
    """How the planning agent uses the model."""

    window: int = 2
    """Observations that a plan starts from, at most predictor.window."""
    warm_start: bool = False
    """Start a plan from what is left of the one before; the paper starts from zero."""
    action_bounds: tuple[float, ...] = ()
    """Largest absolute value of each normalised environment action, in its standard deviations: one
    number for all, or one for each; empty: free, as the paper is in simulation."""
    engine: EngineConfig = EngineConfig()
    """How candidates are rolled out."""

    def __post_init__(self) -> None:
        """Refuse bounds that leave nothing to do."""
        if not all(bound > 0.0 for bound in self.action_bounds):
            raise UserError(
                f"agent.action_bounds = {self.action_bounds}; give numbers above 0, or none"
            )

    def bounds(
        self, *, action_dim: int, frameskip: int, device: torch.device | None = None
    ) -> Bounds | None:
        """Return the bounds of a block of `frameskip` environment actions; None if it is free."""
        given = self.action_bounds
        if not given:
            return None
        if len(given) not in (1, action_dim):
            raise UserError(
                f"agent.action_bounds has {len(given)} numbers for actions of width {action_dim}; "
                "give one for all, or one for each"
            )
        repeats = frameskip * action_dim // len(given)
        high = torch.tensor(given, device=device).repeat(repeats)  # [A]
        return -high, high


class PlanningAgent:
    """Plan in the latent space of a world model; execute some steps of the plan, then replan.

    It works on the device of its normaliser, batched over `B` problems in lockstep.
    """

    def __init__(
        self,
        model: WorldModel,
        *,
        objective: Objective,
        planner: Planner,
        normalizer: Normalizer,
        protocol: Protocol,
        config: AgentConfig = AgentConfig(),
        proposer: Proposer | None = None,
        heads: Heads = NO_HEADS,
        seed: int = 0,
    ) -> None:
        """Take the parts, and how far to plan and how often (`protocol`)."""
        if not 1 <= config.window <= model.window:
            raise UserError(f"agent.window = {config.window}; the model allows 1 to {model.window}")
        require_fitting(model, normalizer, frameskip=protocol.frameskip)
        self.planner = planner
        self.objective = objective
        self.normalizer = normalizer
        self.protocol = protocol
        self.config = config
        if takes_proposals(planner) and proposer is None:
            raise UserError(
                f"planner.num_proposals of {type(planner).__name__} asks for a proposer, and there is "
                "none; give PlanningAgent one, or 0"
            )
        self._model = model
        self._proposer = proposer
        self._bound = bind_to(objective, heads, model=model, normalizer=normalizer)
        self._others = OtherGoals(objective, planner, bound=self._bound)
        self._replanning = RecedingHorizon(
            planner, protocol=protocol, config=config, normalizer=normalizer, seed=seed
        )
        self._history = History(config.window, self._replanning.action_dim)
        self._goal: Latent | None = None
        self._seen_goal: Observation | None = None
        self._planned_from: Context | None = None

    @property
    def bounds(self) -> Bounds | None:
        """Return the lowest and highest normalised action block; None if actions are free."""
        return self._replanning.bounds

    @property
    def last_plan(self) -> Plan | None:
        """Return the plan in execution; None before the first one."""
        return self._replanning.last_plan

    @property
    def num_dropped(self) -> int:
        """Return how many candidates of this episode had no finite cost and were dropped."""
        return self._replanning.num_dropped

    @property
    def num_searched(self) -> int:
        """Return how many plans of this episode were searched because their proposals were poor."""
        return self._replanning.num_searched

    def reseed(self, seed: int) -> None:
        """Start the random numbers of the planner anew."""
        self._replanning.reseed(seed)

    def reseed_tasks(self, seeds: Sequence[int]) -> None:
        """Start the random numbers of each task anew."""
        self._replanning.reseed_tasks(seeds)

    @torch.no_grad()
    def reset(self, goal: Observation | Text | None, num_steps: int | None = None) -> None:
        """Forget the past and take goals `[B]`, pictures or texts; None where none is needed.

        `num_steps` is the length of the episode in action blocks: plans shorten to what is left.
        None means that there is no end.
        """
        is_other = isinstance(goal, self._others.kinds)
        seen = self._seen_goal = None if is_other else self._admit(goal, "goal")
        self._goal = self._encode(seen) if seen else self._others.place(goal)
        self._replanning.reset(num_steps)
        self._history.clear()
        self._planned_from = None

    # Not inference_mode: a planner that follows gradients turns them on again for itself.
    @torch.no_grad()
    def act(self, obs: Observation) -> Float[Tensor, "B A"]:
        """Return the next action blocks `[B, A]`, in environment units, for observations `[B]`."""
        if self._goal is None:
            raise UserError("the agent has no goal; call reset(goal) before act(obs)")
        obs = self._admit(obs, "observation", goal=self._seen_goal)
        if self._replanning.steps_to_plan < self.config.window:
            self._history.append(self._encode(obs))
        if self._replanning.steps_to_plan == 0:
            context = self._history.context()
            asked = partial(self._proposer.propose, context, self._goal) if self._proposer else None
            cost = self._cost(context, self._goal)
            self._replanning.plan(cost, like=context.actions, propose=asked)
            self._planned_from = context
        action = self._replanning.pop()
        self._history.append_action(action)
        return self.normalizer.unnormalize_action(action)

    @torch.no_grad()
    def imagined(self) -> Latent:
        """Return latents `[B, H+1]` of the plan in execution: the observed one, then predictions."""
        context, plan = self._planned_from, self.last_plan
        if context is None or plan is None:
            raise UserError("the agent has imagined nothing yet; call act(obs) first")
        predicted = self._model.rollout(context, plan.actions, window=self.config.window)
        return concatenate([context.latents[:, -1:], predicted], dim=1)

    def _admit(self, obs: object, what: str, *, goal: Observation | None = None) -> Observation:
        require_evaluation(self._model)
        return admit(obs, what=what, model=self._model, normalizer=self.normalizer, goal=goal)

    def _encode(self, obs: Observation) -> Latent:
        device = self.normalizer.action_mean.device
        return self._model.encode(self.normalizer.observation(obs.to(device)))

    def _cost(self, context: Context, goal: Latent) -> CostFn:
        config = self.config
        engine = RolloutEngine(self._model, context, window=config.window, config=config.engine)
        return engine.cost_to(goal, objective=self._bound)


class RecedingHorizon:
    """Decide when to plan and how far ahead, and hand out the planned steps one by one."""

    def __init__(
        self,
        planner: Planner,
        *,
        protocol: Protocol,
        config: AgentConfig,
        normalizer: Normalizer,
        seed: int = 0,
    ) -> None:
        """Plan `protocol.horizon` blocks of actions and execute `protocol.num_action_steps`.

        With `config.warm_start` a plan begins at what is left of the one before, else at 0.
        """
        self._planner = planner
        self._protocol = protocol
        self._warm_start = config.warm_start
        self.action_dim = protocol.frameskip * normalizer.action_dim
        self.bounds = config.bounds(
            action_dim=normalizer.action_dim,
            frameskip=protocol.frameskip,
            device=normalizer.action_mean.device,
        )
        self.reseed(seed)
        self.reset(None)

    def reseed(self, seed: int) -> None:
        """Start the random numbers anew."""
        self._generator = torch.Generator().manual_seed(seed)

    def reseed_tasks(self, seeds: Sequence[int]) -> None:
        """Start the random numbers of each problem anew."""
        self._generator = ProblemGenerators.seeded(seeds)

    def reset(self, num_steps: int | None) -> None:
        """Start an episode of `num_steps` blocks; None means that it has no end."""
        self._steps_left = num_steps
        self._queue: deque[Tensor] = deque()
        self.last_plan: Plan | None = None
        self.num_dropped = self.num_searched = 0

    @property
    def steps_to_plan(self) -> float:
        """Return after how many steps the next plan is made; infinite if the episode ends first."""
        waiting = len(self._queue)
        if waiting and self._steps_left is not None and self._steps_left <= waiting:
            return float("inf")
        return float(waiting)

    def plan(
        self, cost: CostFn, *, like: Float[Tensor, "B _ A"], propose: Propose | None = None
    ) -> Plan:
        """Minimise `cost` on the problems, device and dtype of `like`; queue the first steps."""
        if self._steps_left is not None and self._steps_left < 1:
            raise UserError("the episode is over; call reset(goal, num_steps) to start another")
        length = plan_length(self._protocol.horizon, self._steps_left)
        num_executed = self._protocol.num_action_steps
        init = like.new_zeros(like.shape[0], length, self.action_dim)
        if self._warm_start and self.last_plan is not None:
            rest = self.last_plan.actions[:, num_executed:][:, :length]
            init[:, : rest.shape[1]] = rest
        more, dropped = ({}, 0) if propose is None else ask(propose, self._planner, like=init)
        plan = self._planner.plan(cost, init, bounds=self.bounds, generator=self._generator, **more)
        self.last_plan = plan
        self.num_dropped += dropped + plan.num_dropped
        self.num_searched += plan.num_searched
        self._queue.extend(plan.actions[:, :num_executed].unbind(1))
        return plan

    def pop(self) -> Float[Tensor, "B A"]:
        """Return the next normalised action blocks `[B, A]`."""
        if self._steps_left is not None:
            self._steps_left -= 1
        return self._queue.popleft()


def plan_length(horizon: int, steps_left: int | None) -> int:
    """Return the number of blocks to plan: never further than the end of the episode.

    With a terminal cost a longer plan would reach the goal only after the episode has ended.
    """
    return horizon if steps_left is None else min(horizon, steps_left)


class History:
    """Remember the last `window` latents and the actions between them."""

    def __init__(self, window: int, action_dim: int) -> None:
        """Take the number of latents to remember and the width of an action block."""
        self._action_dim = action_dim
        self._latents: deque[Latent] = deque(maxlen=window)
        self._actions: deque[Tensor] = deque(maxlen=window)

    def clear(self) -> None:
        """Forget all."""
        self._latents.clear()
        self._actions.clear()

    def append(self, latent: Latent) -> None:
        """Add the latent `[B]` of this instant."""
        self._latents.append(latent)

    def append_action(self, action: Float[Tensor, "B A"]) -> None:
        """Add the normalised action `[B, A]` taken at this instant."""
        self._actions.append(action)

    def context(self) -> Context:
        """Return latents `[B, w]` and the actions `[B, w-1]` between them."""
        latents = concatenate([latent[:, None] for latent in self._latents], dim=1)
        num_between = len(self._latents) - 1
        between = list(self._actions)[len(self._actions) - num_between :]
        if between:
            return Context(latents=latents, actions=torch.stack(between, dim=1))
        none = latents.tokens.new_zeros(latents.tokens.shape[0], 0, self._action_dim)
        return Context(latents=latents, actions=none)
