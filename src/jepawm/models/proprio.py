"""Encoding of the robot's own state."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from jepawm.errors import UserError, require_range


@dataclass(frozen=True, kw_only=True)
class ProprioConfig:
    """How proprioception enters the model (the paper's proprio axis)."""

    mode: Literal["none", "feature", "token"] = "none"
    """none: pixels only; feature: its code joins the channels of every token; token: one token."""
    dim: int = 16
    """Width of the code in mode feature; in mode token it is the predictor's width."""
    limit: float | None = None
    """Normalised proprioception beyond this counts as this; None: no limit."""

    def __post_init__(self) -> None:
        """Check width and limit."""
        if self.limit is not None and not self.limit > 0:
            raise UserError(f"proprio.limit = {self.limit}; give more than 0, or None")
        require_range(self, ("dim",), where="proprio", least=1, most=2**16)


class ProprioEncoder(nn.Module):
    """Map normalised proprioception to its code by one affine layer."""

    def __init__(self, proprio_dim: int, code_dim: int, *, limit: float | None = None) -> None:
        """Take the widths of the proprioception and of the code, and the config's limit."""
        super().__init__()
        self.proj = LimitedLinear(proprio_dim, code_dim, limit=limit)

    def forward(self, proprio: Float[Tensor, "*b P"]) -> Float[Tensor, "*b 1 code"]:
        """Encode `[*b, P]` into one code per instant `[*b, 1, code]`."""
        return self.proj(proprio).unsqueeze(-2)


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


class LimitedMLP(nn.Module):
    """Two affine maps with a SiLU between them, that take numbers beyond a limit as the limit."""

    def __init__(
        self, in_features: int, out_features: int, *, hidden: int, limit: float | None
    ) -> None:
        """Take the widths and the largest absolute value of an input; None: no limit."""
        super().__init__()
        self.in_features = in_features
        self.fc1 = LimitedLinear(in_features, hidden, limit=limit)
        self.fc2 = nn.Linear(hidden, out_features)

    def forward(self, actions: Float[Tensor, "*b n_in"]) -> Float[Tensor, "*b n_out"]:
        """Map inputs `[*b, n_in]` to `[*b, n_out]`."""
        return self.fc2(nn.functional.silu(self.fc1(actions)))


def encode_actions(
    in_features: int, out_features: int, *, hidden: int, limit: float | None
) -> LimitedLinear | LimitedMLP:
    """Build the encoder of action blocks: an affine map, or two with `hidden` numbers between."""
    if hidden:
        return LimitedMLP(in_features, out_features, hidden=hidden, limit=limit)
    return LimitedLinear(in_features, out_features, limit=limit)
