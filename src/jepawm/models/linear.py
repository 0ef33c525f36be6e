"""Affine maps; in inference on a CPU oneDNN adds bias and GELU while it multiplies."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from jepawm.kernels.split_products import SplitWeight, is_splitting, split_linear, split_weight

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
    dtype = None if torch.compiler.is_compiling() else _fused_dtype(x, weight)
    if (packed := splitting(x, weight)) is not None:
        return split_linear(x, packed.find_split(weight, rows), bias=some, gelu=gelu)
    if dtype is not None:
        packed = _PACKED.get()
        if packed is None:
            used = weight[rows].to(dtype)
        else:
            used = packed.find(weight, rows, dtype=dtype, num_inputs=x.numel() // x.shape[-1])
        some = None if some is None else some.to(dtype)
        after = ("gelu", [], "none") if gelu else ("none", [], "")
        return torch.ops.mkldnn._linear_pointwise(x.to(dtype), used, some, *after)  # noqa: SLF001
    # A product with several strides in front is done as many small ones, with copies of the weight.
    out = F.linear(x.contiguous(), weight[rows], some)
    return F.gelu(out) if gelu else out


def splitting(x: Tensor, weight: Tensor) -> "PackedWeights | None":
    """Return where split weights are kept, if products with this one are to be split."""
    packed = _PACKED.get() if is_splitting() else None
    return None if packed is None or _fused_dtype(x, weight) != torch.float32 else packed


_Key = tuple[int, int | None, int | None, torch.dtype]
"""Weight, rows and type."""


class PackedWeights:
    """Copies of weights in the processor's own arrangement, made once they are used much.

    It is for as long as the weights stay as they are, such as one plan.
    """

    def __init__(self) -> None:
        """Start without copies."""
        self._uses: dict[_Key, int] = {}
        self._packed: dict[_Key, Tensor] = {}
        self._split: dict[tuple[int, int | None, int | None], SplitWeight] = {}
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

    def find(self, weight: Tensor, rows: slice, *, dtype: torch.dtype, num_inputs: int) -> Tensor:
        """Return rows of a weight for a product with so many inputs, packed if it was used much.

        A weight of another type is converted at its first use.
        """
        key = (id(weight), rows.start, rows.stop, dtype)
        if key in self._packed:
            return self._packed[key]
        if key not in self._uses:
            self._alive.append(weight)
        self._uses[key] = self._uses.get(key, 0) + 1
        if self._uses[key] < WORTH_PACKING and dtype == weight.dtype:
            return weight[rows]
        plain = weight.detach()[rows].to(dtype).contiguous()
        self._packed[key] = torch.ops.mkldnn._reorder_linear_weight(plain, num_inputs)  # noqa: SLF001
        return self._packed[key]

    def find_split(self, weight: Tensor, rows: slice) -> SplitWeight:
        """Return rows of a weight, split."""
        key = (id(weight), rows.start, rows.stop)
        found = self._split.get(key)
        if found is None:
            self._alive.append(weight)
            found = self._split[key] = split_weight(weight.detach()[rows].contiguous())
        return found


_PACKED: ContextVar[PackedWeights | None] = ContextVar("packed_weights", default=None)


def _fused_dtype(x: Tensor, weight: Tensor) -> torch.dtype | None:
    """Return the type in which oneDNN can do it; None: it knows no gradients and no other device.

    torch's own product first writes the bias into the result, which costs a fifth of the time at the
    widths of the paper's models, and under autocast it converts the weight each time.
    """
    possible = (
        not torch.is_grad_enabled()
        and x.device.type == "cpu"
        and weight.dtype == torch.float32
        and type(weight) in (Tensor, torch.nn.Parameter)  # no shards, no other subclass
        and torch.backends.mkldnn.enabled
        and torch.backends.mkldnn.is_available()
    )
    if not possible:
        return None
    if not torch.is_autocast_enabled("cpu"):
        return torch.float32 if x.dtype == torch.float32 else None
    halved = torch.get_autocast_dtype("cpu") == torch.bfloat16 and x.is_floating_point()
    return torch.bfloat16 if halved and torch.ops.mkldnn._is_mkldnn_bf16_supported() else None  # noqa: SLF001
