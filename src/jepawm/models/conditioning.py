"""How actions enter the predictor: the paper's conditioning axis.

`feature` concatenates the action code to the channels of every token, `sequence` puts it before the
tokens of its frame, `adaln` and `adaln_zero` modulate the blocks. A `Layout` says what that makes of
the predictor's input sequence: how wide tokens are, how many a frame gets, where the codes lie.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Conditioning = Literal["feature", "sequence", "adaln", "adaln_zero"]
"""`adaln` starts its modulation at random, `adaln_zero` at zero (every block starts as identity)."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where visual channels, proprio code and action code are in the predictor's sequence."""

    visual_dim: int
    """Channels of the visual part of a token."""
    proprio_feature_dim: int
    """Channels of the proprio code concatenated to each token; 0 if it is a token or absent."""
    action_feature_dim: int
    """Channels of the action code concatenated to each token; 0 unless conditioning is feature."""
    action_token: bool
    """An action token comes first in each frame (conditioning sequence)."""
    proprio_token: bool
    """A proprio token comes before the visual tokens of each frame."""

    @property
    def width(self) -> int:
        """Return the width of every token in the sequence."""
        return self.visual_dim + self.proprio_feature_dim + self.action_feature_dim

    @property
    def num_condition(self) -> int:
        """Return the number of condition tokens per frame."""
        return int(self.action_token) + int(self.proprio_token)

    def join(
        self,
        visual: Float[Tensor, "B T N visual"],
        *,
        action: Float[Tensor, "B T code"],
        proprio: Float[Tensor, "B T M Dp"] | None,
    ) -> Float[Tensor, "B T n width"]:
        """Build the sequence `[B, T, num_condition + N, width]`."""
        num_tokens = visual.shape[2]
        parts = [visual]
        if self.proprio_feature_dim:
            assert proprio is not None
            parts.append(proprio.expand(-1, -1, num_tokens, -1))
        if self.action_feature_dim:
            parts.append(action.unsqueeze(2).expand(-1, -1, num_tokens, -1))
        tokens = torch.cat(parts, dim=-1) if len(parts) > 1 else visual  # [B, T, N, width]
        condition: list[Tensor] = []
        if self.action_token:
            condition.append(action.unsqueeze(2))
        if self.proprio_token:
            assert proprio is not None
            condition.append(proprio)
        return torch.cat([*condition, tokens], dim=2) if condition else tokens

    def split(
        self, sequence: Float[Tensor, "B T n width"]
    ) -> tuple[Float[Tensor, "B T N visual"], Float[Tensor, "B T M Dp"] | None]:
        """Take the visual part and the proprio code out of an output sequence."""
        tokens = sequence[:, :, self.num_condition :]
        visual = tokens[..., : self.visual_dim]
        if self.proprio_token:
            first = int(self.action_token)
            return visual, sequence[:, :, first : first + 1]
        if self.proprio_feature_dim:
            return visual, tokens[..., self.visual_dim : self.visual_dim + self.proprio_feature_dim]
        return visual, None
