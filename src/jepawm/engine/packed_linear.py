"""Affine maps in inference: on a CPU oneDNN adds bias and GELU while it multiplies."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.engine.config import Precision
from jepawm.engine.kernels.split_products import SplitWeight, split_linear, split_weight

WORTH_PACKING = 16
"""Products with a weight after which arranging it for the processor has paid, whatever their size."""


class PackedLinear:
    """An affine map whose weight is arranged for the processor once it is used much.

    It holds the weight as it is now, so it is for as long as weights stay, such as one plan.
    """

    def __init__(
        self,
        weight: Float[Tensor, "n_out n_in"],
        bias: Float[Tensor, " n_out"] | None,
        *,
        precision: Precision = "float32",
    ) -> None:
        """Take weight, bias and the precision of products: `bfloat16` is that of autocast."""
        self.weight, self.bias = weight, bias
        self._is_split = precision == "bfloat16x3"
        self._type = _fused_type(weight, precision)
        self._is_halved = self._type == torch.bfloat16
        self._num_uses = 0
        self._packed: Tensor | None = None
        self._split: SplitWeight | None = None
        self._packed_bias = bias

    def __call__(self, x: Float[Tensor, "*b n_in"], *, gelu: bool = False) -> Tensor:
        """Return `x weight^T + bias`, through GELU if wanted, `[*b, n_out]`."""
        if not self._fuses(x):
            # A product with several strides in front is done as many small ones, with copies of
            # the weight.
            out = F.linear(x.contiguous(), self.weight, self.bias)
            return F.gelu(out) if gelu else out
        if self._is_split:
            return split_linear(x, self.split(), bias=self.bias, gelu=gelu)
        if self._is_halved:
            x = x.to(torch.bfloat16)
        weight = self._packed if self._packed is not None else self._pack(x)
        after = ("gelu", [], "none") if gelu else ("none", [], "")
        return torch.ops.mkldnn._linear_pointwise(x, weight, self._packed_bias, *after)  # noqa: SLF001

    def splits(self, x: Tensor) -> bool:
        """Return whether the product with `x` is split."""
        return self._is_split and self._fuses(x)

    def split(self) -> SplitWeight:
        """Return the weight, split at its first use."""
        if self._split is None:
            self._split = split_weight(self.weight.detach().contiguous())
        return self._split

    def _fuses(self, x: Tensor) -> bool:
        """Return whether oneDNN can do it: it knows no gradients, and is not for the compiler."""
        return (
            self._type is not None
            and not torch.is_grad_enabled()
            and (x.is_floating_point() if self._is_halved else x.dtype == torch.float32)
            and not torch.compiler.is_compiling()
        )

    def _pack(self, x: Tensor) -> Tensor:
        """Return the weight for a product with `x`; of another type it is packed at once."""
        self._num_uses += 1
        if self._num_uses < WORTH_PACKING and not self._is_halved:
            return self.weight
        assert self._type is not None
        plain = self.weight.detach().to(self._type).contiguous()
        if self.bias is not None:
            self._packed_bias = self.bias.to(self._type)
        num_inputs = x.numel() // x.shape[-1]
        packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(plain, num_inputs)  # noqa: SLF001
        self._packed = packed
        return packed


def _fused_type(weight: Tensor, precision: Precision) -> torch.dtype | None:
    """Return the type in which oneDNN multiplies; None: it does not.

    torch's own product first writes the bias into the result, which costs a fifth of the time at the
    widths of the paper's models, and under autocast it converts the weight each time.
    """
    possible = (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and type(weight) in (Tensor, nn.Parameter)  # no shards, no other subclass
        and torch.backends.mkldnn.enabled
        and torch.backends.mkldnn.is_available()
    )
    if not possible:
        return None
    if precision != "bfloat16":
        return torch.float32
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else None  # noqa: SLF001
