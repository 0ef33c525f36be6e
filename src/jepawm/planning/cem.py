"""The cross-entropy method: the planner of the paper."""

import logging
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from jepawm.errors import UserError
from jepawm.planning.sampling import (
    check_count,
    check_problem,
    clamp,
    draw_noise,
    drop_unusable,
)
from jepawm.protocols import Bounds, CostFn
from jepawm.types import Plan, TensorStruct

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CEMState(TensorStruct):
    """A normal distribution over plans, independent in every entry."""

    mean: Float[Tensor, "B H A"]
    """Mean `[B, H, A]`."""
    std: Float[Tensor, "B H A"]
    """Standard deviation `[B, H, A]`."""


@dataclass(frozen=True, kw_only=True)
class CEMStep(TensorStruct):
    """One iteration, with all that it looked at."""

    state: CEMState
    """The distribution after the update."""
    samples: Float[Tensor, "B K H A"]
    """Candidates `[B, K, H, A]` within the bounds."""
    cost: Float[Tensor, "B K"]
    """Their costs `[B, K]`; infinite for dropped candidates."""
    elites: Int[Tensor, "B E"]
    """Indices `[B, E]` of the candidates with the lowest costs, best first."""
    num_dropped: int
    """How many candidates were dropped because their cost was not finite."""


@dataclass(frozen=True, kw_only=True)
class CEM:
    """Draw plans, keep the best, refit mean and standard deviation, repeat; return the mean."""

    num_samples: int = 300
    """Candidates per problem and iteration."""
    num_elites: int = 10
    """Candidates that the distribution is refitted to."""
    num_iterations: int = 30
    """Refits."""
    init_std: float = 1.0
    """Standard deviation at the start, in units of normalised actions."""
    momentum_mean: float = 0.0
    """Part of the old mean that is kept at each refit, 0 to 1."""
    momentum_std: float = 0.0
    """Part of the old standard deviation that is kept at each refit, 0 to 1."""
    min_std: float = 0.0
    """Least standard deviation after a refit; the paper has none."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            UserError: if a number is out of range; the message says what is allowed.
        """
        check_count("num_samples", self.num_samples, least=2)
        check_count("num_elites", self.num_elites, least=2)
        check_count("num_iterations", self.num_iterations, least=1)
        if self.num_elites > self.num_samples:
            raise UserError(
                f"planner.num_elites = {self.num_elites} is more than planner.num_samples = "
                f"{self.num_samples}; take fewer elites or more samples"
            )
        if not self.init_std > 0.0:
            raise UserError(f"planner.init_std = {self.init_std}; give a number above 0")
        if not self.min_std >= 0.0:
            raise UserError(f"planner.min_std = {self.min_std}; give 0 or more")
        for name in ("momentum_mean", "momentum_std"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UserError(f"planner.{name} = {getattr(self, name)}; give 0 or more, below 1")

    def plan(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,
    ) -> Plan:
        """Plan from the initial mean `init` `[B, H, A]`.

        Raises:
            UserError: if the horizon is 0, a bound is reversed, or no candidate has a finite cost.
        """
        check_problem(init, bounds)
        state = self.start(clamp(init[:, None], bounds)[:, 0])
        history: list[Tensor] = []
        num_dropped = 0
        for _ in range(self.num_iterations):
            noise = draw_noise(init, self.num_samples, generator=generator)
            step = self.step(state, noise, cost=cost, bounds=bounds)
            state = step.state
            history.append(step.cost.amin(1))  # [B]
            num_dropped += step.num_dropped
        if num_dropped:
            total = self.num_iterations * self.num_samples * init.shape[0]
            logger.warning("dropped %d of %d candidates without a finite cost", num_dropped, total)
        best = clamp(state.mean[:, None], bounds)  # [B, 1, H, A]; a mean can round over a bound
        return Plan(
            actions=best[:, 0],
            cost=cost(best)[:, 0],
            history=torch.stack(history),  # [I, B]
            num_dropped=num_dropped,
        )

    def start(self, init: Float[Tensor, "B H A"]) -> CEMState:
        """Return the distribution before the first iteration, around `init` `[B, H, A]`."""
        return CEMState(mean=init, std=torch.full_like(init, self.init_std))

    def step(
        self,
        state: CEMState,
        noise: Float[Tensor, "B K H A"],
        *,
        cost: CostFn,
        bounds: Bounds | None,
    ) -> CEMStep:
        """Do one iteration with standard normal `noise` `[B, K, H, A]`.

        Candidate 0 is the mean itself.
        """
        samples = torch.addcmul(state.mean[:, None], state.std[:, None], noise)  # [B, K, H, A]
        samples[:, 0] = state.mean
        samples = clamp(samples, bounds)
        ranked = drop_unusable(cost(samples))
        elites = ranked.cost.topk(self.num_elites, dim=1, largest=False).indices  # [B, E]
        return CEMStep(
            state=self._refit(state, samples, elites=elites, usable=ranked.usable),
            samples=samples,
            cost=ranked.cost,
            elites=elites,
            num_dropped=ranked.num_dropped,
        )

    def _refit(
        self, state: CEMState, samples: Tensor, *, elites: Tensor, usable: Tensor
    ) -> CEMState:
        """Return the moments of the elites that are usable; their variance is the unbiased one."""
        index = elites[:, :, None, None].expand(-1, -1, *samples.shape[2:])
        chosen = samples.gather(1, index)  # [B, E, H, A]
        weight = usable.gather(1, elites)[:, :, None, None].to(samples.dtype)  # [B, E, 1, 1]
        count = weight.sum(1)  # [B, 1, 1]
        mean = (weight * chosen).sum(1) / count
        variance = (weight * (chosen - mean[:, None]).square()).sum(1) / (count - 1).clamp(min=1)
        std = torch.lerp(variance.sqrt(), state.std, self.momentum_std)
        return CEMState(
            mean=torch.lerp(mean, state.mean, self.momentum_mean),
            std=std.clamp(min=self.min_std),
        )
