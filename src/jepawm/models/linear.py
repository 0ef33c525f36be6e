"""Affine maps; in inference on a CPU oneDNN adds bias and GELU while it multiplies."""

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


def linear(
    x: Float[Tensor, "*b n_in"],
    weight: Float[Tensor, "n_out n_in"],
    *,
    bias: Float[Tensor, " n_out"] | None,
    gelu: bool = False,
) -> Float[Tensor, "*b n_out"]:
    """Return `x weight^T + bias`, through an exact GELU if wanted."""
    if not torch.compiler.is_compiling() and _fusable(x, weight):
        after = ("gelu", [], "none") if gelu else ("none", [], "")
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, *after)  # noqa: SLF001
    out = F.linear(x, weight, bias)
    return F.gelu(out) if gelu else out


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
