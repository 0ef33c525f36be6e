"""Affine maps; in inference on a CPU oneDNN adds bias and GELU while it multiplies."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class LimitedLinear(nn.Linear):
    """An affine map that takes numbers beyond a limit as the limit."""

    def __init__(self, in_features: int, out_features: int, *, limit: float | None) -> None:
        """Take the widths and the largest absolute value of an input; None: no limit."""
        super().__init__(in_features, out_features)
        self.limit = limit

    def forward(self, input: Float[Tensor, "*b n_in"]) -> Float[Tensor, "*b n_out"]:  # noqa: A002
        """Map inputs `[*b, n_in]` to `[*b, n_out]`."""
        return super().forward(
            input if self.limit is None else input.clamp(-self.limit, self.limit)
        )


WORTH_PACKING = 16
"""Products with a weight after which arranging it for the processor has paid, whatever their size."""


def linear(
    x: Float[Tensor, "*b n_in"],
    weight: Float[Tensor, "all_out n_in"],
    *,
    bias: Float[Tensor, " all_out"] | None,
    rows: slice = slice(None),
    gelu: bool = False,
) -> Float[Tensor, "*b n_out"]:
    """Return `x weight^T + bias`, or some of its channels (`rows`), through GELU if wanted."""
    some = None if bias is None else bias[rows]
    if not torch.compiler.is_compiling() and _fusable(x, weight):
        packed = _PACKED.get()
        used = (
            weight[rows]
            if packed is None
            else packed.find(weight, rows, num_inputs=x.numel() // x.shape[-1])
        )
        after = ("gelu", [], "none") if gelu else ("none", [], "")
        return torch.ops.mkldnn._linear_pointwise(x, used, some, *after)  # noqa: SLF001
    out = F.linear(x, weight[rows], some)
    return F.gelu(out) if gelu else out


class PackedWeights:
    """Copies of weights in the processor's own arrangement, made once they are used much.

    It is for as long as the weights stay as they are, such as one plan.
    """

    def __init__(self) -> None:
        """Start without copies."""
        self._uses: dict[tuple[int, int | None, int | None], int] = {}
        self._packed: dict[tuple[int, int | None, int | None], Tensor] = {}
        self._alive: list[Tensor] = []  # what is alive keeps its id

    @contextmanager
    def used(self) -> Iterator[None]:
        """Let `linear` use the copies."""
        if torch.compiler.is_compiling():
            yield
            return
        token = _PACKED.set(self)
        try:
            yield
        finally:
            _PACKED.reset(token)

    def find(self, weight: Tensor, rows: slice, *, num_inputs: int) -> Tensor:
        """Return rows of a weight for a product with so many inputs, packed if it was used much."""
        key = (id(weight), rows.start, rows.stop)
        if key in self._packed:
            return self._packed[key]
        if key not in self._uses:
            self._alive.append(weight)
        self._uses[key] = self._uses.get(key, 0) + 1
        if self._uses[key] < WORTH_PACKING:
            return weight[rows]
        plain = weight.detach()[rows].contiguous()
        self._packed[key] = torch.ops.mkldnn._reorder_linear_weight(plain, num_inputs)  # noqa: SLF001
        return self._packed[key]


_PACKED: ContextVar[PackedWeights | None] = ContextVar("packed_weights", default=None)


def _fusable(x: Tensor, weight: Tensor) -> bool:
    """Return whether oneDNN can do it: it knows no gradients, and torch's linear is slower.

    That one first writes the bias into the result, which costs a fifth of the time at the widths
    of the paper's models.
    """
    return (
        not torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and type(weight) in (Tensor, torch.nn.Parameter)  # no shards, no other subclass
        and torch.backends.mkldnn.enabled
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
    )
