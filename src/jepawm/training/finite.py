"""Find the first step whose loss or gradient is no number, without an accelerator that waits for it."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.errors import UserError
from jepawm.processes import mean_over_processes


class NotFiniteError(UserError):
    """A step whose loss or gradient is no number; a run may go back and leave its batch out."""

    def __init__(self, what: str, *, step: int) -> None:
        """Take what was found, and the step, counted from 1."""
        super().__init__(
            f"{what}; the last checkpoint is kept; lower optim.learning_rate or optim.clip_norm and "
            "train again, or go on without such batches: --resume with loop.recoveries above 0"
        )
        self.what, self.step = what, step


class FiniteCheck:
    """Refuse losses and gradients that are not finite.

    On a CPU at once, before they reach the weights. An accelerator notes the first such step in its
    own memory and goes on; `read` asks for it with the numbers of a row, `settle` before each checkpoint,
    so that the last checkpoint is always of finite numbers.
    """

    def __init__(self, *, late: bool) -> None:
        """Take whether to ask only in `settle`."""
        self._late = late
        self._step: Tensor | None = None  # first step that was not finite; -1: none
        self._values: Tensor | None = None  # its terms, then the norm of its gradient
        self._names: list[str] = []  # of the terms

    def note(self, step: int, terms: Mapping[str, Tensor], *, grad_norm: Float[Tensor, ""]) -> None:
        """Take the terms of the loss of a step, in this process, and the norm of its gradient.

        With several processes the norm is that of all, so that all of them see the same.
        """
        if not self._late:
            if not math.isfinite(grad_norm.item()):
                means = mean_over_processes(terms).items()
                raise _refusal(step, {n: value.item() for n, value in means}, grad_norm.item())
            return
        if self._names != list(terms):  # an encoder that stops takes its terms along
            self.settle()
            self._names = list(terms)
        values = torch.stack([*(value.detach().float() for value in terms.values()), grad_norm])
        if self._step is None or self._values is None:
            self._step = torch.full_like(grad_norm, -1.0)
            self._values = torch.zeros_like(values)
        first = (self._step < 0) & ~grad_norm.isfinite()
        self._step = torch.where(first, float(step), self._step)
        self._values = torch.where(first, values, self._values)

    def settle(self) -> None:
        """Refuse what was noted since the last time."""
        if self._step is not None:
            self.read(torch.empty(0, device=self._step.device))

    def read(self, numbers: Float[Tensor, " n"]) -> list[float]:
        """Return numbers of the device, unless what was noted is refused: the device is waited for once."""
        if self._step is None or self._values is None:
            return numbers.tolist()
        step, *values = torch.cat([self._step[None], self._values, numbers.float()]).tolist()
        noted = len(self._values)
        self._step = self._values = None
        if step >= 0:
            terms = dict(zip(self._names, values[: noted - 1], strict=True))
            raise _refusal(int(step), terms, values[noted - 1])
        return values[noted:]


def _refusal(step: int, terms: Mapping[str, float], grad_norm: float) -> NotFiniteError:
    what, value = "loss", terms["loss"]
    if math.isfinite(value):
        what, value = "gradient", grad_norm
    values = ", ".join(f"{name} {value:.3g}" for name, value in terms.items())
    return NotFiniteError(f"the {what} became {value} at step {step} ({values})", step=step)
