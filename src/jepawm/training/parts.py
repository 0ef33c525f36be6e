"""What training any part beside a frozen world model shares: its loop, its optimiser, its state on disk."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.errors import UserError
from jepawm.training.optim import OptimConfig, set_schedule
from jepawm.training.state import moments_of, restore_moments

_WARMUP_STEPS, _LOG_EVERY, _SAVE_EVERY = 20, 10, 200


@dataclass(kw_only=True)
class PartState:
    """What training a part changes."""

    optimizer: torch.optim.AdamW
    """Its optimiser."""
    step: int = 0
    """Optimiser steps done."""

    @property
    @abstractmethod
    def module(self) -> nn.Module:
        """Return the network."""

    def tensors(self) -> dict[str, Tensor]:
        """Return by name what a resumption needs besides the weights."""
        return {**moments_of(self.module, self.optimizer), "step": torch.tensor(self.step)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` returned; the weights are loaded before."""
        if "step" not in tensors:
            raise UserError("the training state lacks step; train anew by --overwrite")
        self.step = int(tensors["step"])
        if self.step > 0:
            restore_moments(self.module, self.optimizer, tensors=tensors)


@dataclass(frozen=True, kw_only=True)
class PartHooks:
    """What the loop calls."""

    log: Callable[[int, Mapping[str, float]], None]
    """Take the metrics of a step."""
    save: Callable[[], None]
    """Write the state."""
    stop: Callable[[], bool]
    """Whether to stop now."""


def part_optim(*, num_steps: int, batch_size: int, learning_rate: float) -> OptimConfig:
    """Return the optimiser's settings of a part."""
    return OptimConfig(
        num_steps=num_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        warmup_steps=min(_WARMUP_STEPS, num_steps),
    )


def train_part(
    state: PartState,
    terms_of: Callable[[int], Mapping[str, Float[Tensor, ""]]],
    *,
    optim: OptimConfig,
    hooks: PartHooks,
    name: str,
    check: str,
) -> None:
    """Train until `optim.num_steps`, from wherever the state is, or until a stop is asked for.

    Args:
        state: the part.
        terms_of: returns the terms of a step, of which `loss` is minimised; all random choices are a
            function of the step.
        optim: the optimiser's settings.
        hooks: what logs, saves and stops.
        name: how a message calls the part.
        check: what such a message says of a loss that is no number.
    """
    while state.step < optim.num_steps and not hooks.stop():
        set_schedule(state.optimizer, optim, step=state.step)
        terms = terms_of(state.step)
        loss = terms["loss"]
        if not bool(loss.isfinite()):
            raise UserError(
                f"the loss of the {name} is {loss.item()} at step {state.step}; take a lower "
                f"--learning-rate{check}"
            )
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(state.module.parameters(), optim.clip_norm)
        state.optimizer.step()
        state.step += 1
        if state.step % _LOG_EVERY == 0 or state.step == optim.num_steps:
            hooks.log(state.step, {name: term.item() for name, term in terms.items()})
        if state.step % _SAVE_EVERY == 0:
            hooks.save()
