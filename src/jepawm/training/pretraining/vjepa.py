"""Masked latent prediction (V-JEPA): hidden places of a clip from the visible ones, in latent space.

The target is what a moving average of the encoder makes of the whole clip. There is no decoder and
no negative example: the average and the predictor's own weights keep latents apart.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from jepawm.models.blocks import Block
from jepawm.models.encoders import ViTBackbone, build_vit
from jepawm.models.positions import frame_grid_sincos
from jepawm.training.pretraining.average import follow, momentum_at, new_average
from jepawm.training.pretraining.settings import VJepaConfig

_MASKS = ((8, 0.15), (2, 0.7))
"""Number of blocks and part of the area of each, of the two masks of a step (V-JEPA)."""
_ASPECT = 1.5  # of a block, at most
_HEADS = 4


class MaskedPrediction(nn.Module):
    """A transformer, its moving average, and the predictor between them."""

    def __init__(self, config: VJepaConfig) -> None:
        """Take the configuration; weights are drawn from torch's generator."""
        super().__init__()
        self.config = config
        self.num_frames, self.frameskip = config.num_frames, config.frameskip
        side = config.vit.side
        self.student = build_vit(config.vit.size, patch_size=config.vit.patch_size, side=side)
        self.teacher = new_average(self.student)
        width = self.student.norm.normalized_shape[0]
        self.predictor = MaskedPredictor(width, config)
        table = _positions(config, width)
        self.table: Tensor
        self.register_buffer("table", table, persistent=False)

    @property
    def encoder(self) -> ViTBackbone:
        """Return the transformer that is kept: the average."""
        return self.teacher

    def forward(
        self, images: Float[Tensor, "B T 3 S S"], *, generator: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the loss of clips `[B, T, 3, S, S]`, numbers from -1 to 1.

        All clips of a batch are masked alike, in two ways; a mask hides the same places of every
        frame, so that no neighbour in time gives them away.
        """
        with torch.no_grad():
            seen = self.teacher.encode(self._patches(self.teacher, images))
            target = F.layer_norm(seen, seen.shape[-1:])  # [B, T n, width]
        patches = self._patches(self.student, images)
        losses = []
        for num_blocks, area in _MASKS:
            hidden = draw_mask(
                self.config.vit.side, num_blocks=num_blocks, area=area, generator=generator
            )
            places = torch.arange(target.shape[1]).unflatten(0, (self.num_frames, -1))
            visible, masked = places[:, ~hidden].flatten(), places[:, hidden].flatten()
            context = self.student.encode(patches[:, visible])
            predicted = self.predictor(context, visible=visible, masked=masked)
            losses.append(F.l1_loss(predicted, target[:, masked]))
        return {"loss": torch.stack(losses).mean(), "spread": target.std(0, correction=0).mean()}

    def follow(self, progress: float) -> None:
        """Move the average towards the transformer, after a part `progress` of the training."""
        momentum = momentum_at(self.config.momentum, progress)
        follow(self.teacher, self.student, momentum=momentum)

    def _patches(
        self, vit: ViTBackbone, images: Float[Tensor, "B T 3 S S"]
    ) -> Float[Tensor, "B n width"]:
        patches = vit.embed(images.flatten(0, 1))  # [B T, n, width]
        return patches.unflatten(0, images.shape[:2]).flatten(1, 2) + self.table


class MaskedPredictor(nn.Module):
    """A narrow transformer that fills in the hidden places."""

    def __init__(self, width: int, config: VJepaConfig) -> None:
        """Take the width of the encoder's tokens and the configuration."""
        super().__init__()
        narrow = config.width
        self.enter = nn.Linear(width, narrow)
        self.mask_token = nn.Parameter(torch.zeros(narrow))
        self.table: Tensor
        self.register_buffer("table", _positions(config, narrow), persistent=False)
        self.blocks = nn.ModuleList(
            Block(narrow, _HEADS, head_dim=narrow // _HEADS, hidden=4 * narrow)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(narrow, eps=1e-6)
        self.leave = nn.Linear(narrow, width)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(
        self,
        context: Float[Tensor, "B visible width"],
        *,
        visible: Int64[Tensor, " visible"],
        masked: Int64[Tensor, " masked"],
    ) -> Float[Tensor, "B masked width"]:
        """Predict the tokens at the places `masked` from those at the places `visible` of a clip."""
        seen = self.enter(context) + self.table[visible]
        asked = (self.mask_token + self.table[masked]).expand(len(context), -1, -1)
        x = torch.cat([seen, asked], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.leave(self.norm(x[:, len(visible) :]))


def draw_mask(side: int, *, num_blocks: int, area: float, generator: torch.Generator) -> Tensor:
    """Draw which of `side * side` places are hidden: a union of blocks; both kinds are there.

    Args:
        side: places per side.
        num_blocks: blocks.
        area: part of the picture that a block covers.
        generator: draws the blocks.
    """
    hidden = torch.zeros(side, side, dtype=torch.bool)
    for _ in range(num_blocks):
        shape, across, down = torch.rand(3, generator=generator).tolist()
        stretch = _ASPECT ** (shape - 0.5)
        height = min(side, max(1, round(side * area**0.5 * stretch)))
        width = min(side, max(1, round(side * area**0.5 / stretch)))
        top, left = int(down * (side - height + 1)), int(across * (side - width + 1))
        before = hidden.clone()
        hidden[top : top + height, left : left + width] = True
        if bool(hidden.all()):  # something must stay visible
            hidden = before
    if not bool(hidden.any()):  # a single block that covered everything
        hidden[: side // 2] = True
    return hidden.flatten()


def _positions(config: VJepaConfig, dim: int) -> Float[Tensor, "L {dim}"]:
    """Return the codes of all places of a clip; those of its first frame are the encoder's own."""
    side = config.vit.side
    return frame_grid_sincos(
        num_frames=config.num_frames, grid=(side, side), num_condition=0, dim=dim
    )
