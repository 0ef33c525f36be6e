"""Act towards a goal: close a planner over a world model and an objective, and replan."""

from collections import deque
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Bounds, CostFn, Objective, Planner, WorldModel
from jepawm.engine.config import EngineConfig
from jepawm.engine.rollout_engine import RolloutEngine
from jepawm.errors import UserError
from jepawm.normalizer import Normalizer
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
        """Check the bounds.

        Raises:
            UserError: if one is not above 0.
        """
        if not all(bound > 0.0 for bound in self.action_bounds):
            raise UserError(
                f"agent.action_bounds = {self.action_bounds}; give numbers above 0, or none"
            )

    def bounds(
        self, *, action_dim: int, frameskip: int, device: torch.device | None = None
    ) -> Bounds | None:
        """Return the bounds of a block of `frameskip` environment actions; None if it is free.

        Raises:
            UserError: if there are neither one number nor as many as the action has.
        """
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
        *,
        model: WorldModel,
        objective: Objective,
        planner: Planner,
        normalizer: Normalizer,
        frameskip: int,
        horizon: int,
        num_action_steps: int,
        window: int,
        generator: torch.Generator,
        bounds: Bounds | None = None,
        warm_start: bool = False,
        engine: EngineConfig | None = None,
    ) -> None:
        """Take the parts.

        `window` is the plan context: the number of observations that a plan starts from, and of
        latents that each prediction sees. `engine` says how candidates are rolled out.

        Raises:
            UserError: if the window or the number of executed steps does not fit.
        """
        if not 1 <= window <= model.window:
            raise UserError(f"agent.window = {window}; the model allows 1 to {model.window}")
        action_dim = frameskip * normalizer.action_dim
        self._horizon = RecedingHorizon(
            planner=planner,
            horizon=horizon,
            num_action_steps=num_action_steps,
            action_dim=action_dim,
            generator=generator,
            bounds=bounds,
            warm_start=warm_start,
        )
        self._model = model
        self._objective = objective
        self._normalizer = normalizer
        self._window = window
        self._engine = engine or EngineConfig()
        self._history = History(window, action_dim)
        self._goal: Latent | None = None
        self._planned_from: Context | None = None

    @property
    def last_plan(self) -> Plan | None:
        """Return the plan in execution; None before the first one."""
        return self._horizon.last_plan

    @property
    def num_dropped(self) -> int:
        """Return how many candidates of this episode had no finite cost and were dropped."""
        return self._horizon.num_dropped

    @torch.no_grad()
    def reset(self, goal: Observation, num_steps: int | None = None) -> None:
        """Forget the past and take goals `[B]`.

        `num_steps` is the length of the episode in action blocks: plans shorten to what is left.
        None means that there is no end.
        """
        self._goal = self._encode(goal)
        self._horizon.reset(num_steps)
        self._history.clear()
        self._planned_from = None

    # Not inference_mode: a planner that follows gradients turns them on again for itself.
    @torch.no_grad()
    def act(self, obs: Observation) -> Float[Tensor, "B A"]:
        """Return the next action blocks `[B, A]`, in environment units, for observations `[B]`.

        Raises:
            UserError: if there is no goal yet, or the episode is over.
        """
        if self._goal is None:
            raise UserError("the agent has no goal; call reset(goal) before act(obs)")
        if self._horizon.steps_to_plan < self._window:
            self._history.append(self._encode(obs))
        if self._horizon.steps_to_plan == 0:
            context = self._history.context()
            self._horizon.plan(self._cost(context, self._goal), like=context.actions)
            self._planned_from = context
        action = self._horizon.pop()
        self._history.append_action(action)
        return self._normalizer.unnormalize_action(action)

    @torch.no_grad()
    def imagined(self) -> Latent:
        """Return latents `[B, H+1]` of the plan in execution: the observed one, then predictions.

        Raises:
            UserError: if there is no plan yet.
        """
        context, plan = self._planned_from, self.last_plan
        if context is None or plan is None:
            raise UserError("the agent has imagined nothing yet; call act(obs) first")
        predicted = self._model.rollout(context, plan.actions, window=self._window)
        return concatenate([context.latents[:, -1:], predicted], dim=1)

    def _encode(self, obs: Observation) -> Latent:
        device = self._normalizer.action_mean.device
        return self._model.encode(self._normalizer.observation(obs.to(device)))

    def _cost(self, context: Context, goal: Latent) -> CostFn:
        engine = RolloutEngine(self._model, context, window=self._window, config=self._engine)

        def cost(actions: Float[Tensor, "B K H A"]) -> Float[Tensor, "B K"]:
            return engine.cost(actions, objective=self._objective, goal=goal)

        return cost


class RecedingHorizon:
    """Decide when to plan and how far ahead, and hand out the planned steps one by one."""

    def __init__(
        self,
        *,
        planner: Planner,
        horizon: int,
        num_action_steps: int,
        action_dim: int,
        generator: torch.Generator,
        bounds: Bounds | None = None,
        warm_start: bool = False,
    ) -> None:
        """Plan `horizon` blocks of width `action_dim` and execute `num_action_steps` of them.

        With `warm_start` a plan begins at what is left of the one before; the paper begins at 0.

        Raises:
            UserError: if the horizon is below 1 or more steps are executed than planned.
        """
        if horizon < 1:
            raise UserError(f"protocol.horizon = {horizon}; give at least 1")
        if not 1 <= num_action_steps <= horizon:
            raise UserError(
                f"protocol.num_action_steps = {num_action_steps}; give 1 to protocol.horizon = "
                f"{horizon}"
            )
        self._planner = planner
        self._max_length = horizon
        self._num_action_steps = num_action_steps
        self._action_dim = action_dim
        self._generator = generator
        self._bounds = bounds
        self._warm_start = warm_start
        self.reset(None)

    def reset(self, num_steps: int | None) -> None:
        """Start an episode of `num_steps` blocks; None means that it has no end."""
        self._steps_left = num_steps
        self._queue: deque[Tensor] = deque()
        self.last_plan: Plan | None = None
        self.num_dropped = 0

    @property
    def steps_to_plan(self) -> float:
        """Return after how many steps the next plan is made; infinite if the episode ends first."""
        waiting = len(self._queue)
        if waiting and self._steps_left is not None and self._steps_left <= waiting:
            return float("inf")
        return float(waiting)

    def plan(self, cost: CostFn, *, like: Float[Tensor, "B _ A"]) -> Plan:
        """Minimise `cost` on the problems, device and dtype of `like`; queue the first steps.

        Raises:
            UserError: if the episode is over.
        """
        if self._steps_left is not None and self._steps_left < 1:
            raise UserError("the episode is over; call reset(goal, num_steps) to start another")
        length = plan_length(self._max_length, self._steps_left)
        init = like.new_zeros(like.shape[0], length, self._action_dim)
        if self._warm_start and self.last_plan is not None:
            rest = self.last_plan.actions[:, self._num_action_steps :][:, :length]
            init[:, : rest.shape[1]] = rest
        plan = self._planner.plan(cost, init, bounds=self._bounds, generator=self._generator)
        self.last_plan = plan
        self.num_dropped += plan.num_dropped
        self._queue.extend(plan.actions[:, : self._num_action_steps].unbind(1))
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
