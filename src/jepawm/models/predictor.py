"""The predictor: a block-causal transformer over the last W latents and actions."""

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from jepawm.errors import UserError
from jepawm.models.blocks import Block, block_causal_mask
from jepawm.models.conditioning import Conditioning, Layout
from jepawm.models.positions import Positions, Rotation, frame_grid_sincos, rotary_table
from jepawm.models.proprio import ProprioConfig
from jepawm.types import Latent


@dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    """Shape and conditioning of the predictor."""

    conditioning: Conditioning = "adaln"
    """How actions enter: feature, sequence, adaln or adaln_zero."""
    positions: Positions = "rope"
    """Position code: sincos, rope, rope_vjepa (released weights) or learned (DINO-WM)."""
    window: int = 3
    """Context W: the number of latents that one prediction sees."""
    depth: int = 6
    """Transformer blocks."""
    num_heads: int = 16
    """Attention heads."""
    visual_dim: int | None = None
    """Channels of the visual part of a token; None: the encoder's width."""
    head_dim: int | None = None
    """Width of one head; None: token width / num_heads."""
    hidden_dim: int | None = None
    """Width of the feed-forward layer; None: four times the token width."""
    action_dim: int = 10
    """Width of the action code in conditioning feature; elsewhere it is the token width."""
    projected: bool = True
    """Project the encoder's tokens in and out; False feeds them as they are (DINO-WM)."""
    normalize_output: bool = False
    """Pass predicted tokens through a layer norm without weights (V-JEPA-2-AC)."""
    residual: bool = False
    """Predict the change of the latent instead of the latent."""
    qkv_bias: bool = True
    """Give queries, keys and values a bias."""
    norm_eps: float = 1e-6
    """Epsilon of the layer norms."""
    dropout: float = 0.0
    """Dropout probability in attention and feed-forward layers."""
    init_scale: float = 10.0
    """Scale of the AdaLN modulation at the start, times 0.02 (adaln_zero: 0)."""

    def __post_init__(self) -> None:
        """Check what does not depend on other parts."""
        for name in ("window", "depth", "num_heads"):
            if getattr(self, name) < 1:
                raise UserError(f"predictor.{name} = {getattr(self, name)} must be at least 1")


class Predictor(nn.Module):
    """Predict the latent one step ahead for every slot of a window."""

    def __init__(
        self,
        config: PredictorConfig,
        proprio: ProprioConfig,
        *,
        latent_dim: int,
        grid: tuple[int, int],
        action_dim: int,
    ) -> None:
        """Take the configuration and what it has to fit.

        Args:
            config: shape of the predictor.
            proprio: how proprioception enters.
            latent_dim: width `D` of the encoder's tokens.
            grid: rows and columns of tokens; (1, 1) for one token.
            action_dim: width `A` of an action block.

        Raises:
            UserError: if widths do not divide.
        """
        super().__init__()
        self.config = config
        self.grid = grid
        self.layout = _layout(config, proprio, latent_dim)
        width = self.layout.width
        self.head_dim = _head_dim(config, width)
        self.embed = nn.Linear(latent_dim, self.layout.visual_dim) if config.projected else None
        self.action_encoder = nn.Linear(action_dim, self.layout.action_feature_dim or width)
        self.blocks = nn.ModuleList(
            Block(
                width,
                config.num_heads,
                head_dim=self.head_dim,
                hidden=config.hidden_dim or 4 * width,
                qkv_bias=config.qkv_bias,
                norm_eps=config.norm_eps,
                dropout=config.dropout,
                modulated=config.conditioning.startswith("adaln"),
            )
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.proj = nn.Linear(self.layout.visual_dim, latent_dim) if config.projected else None
        self.position_table = None
        if config.positions == "learned":
            length = config.window * (grid[0] * grid[1] + self.layout.num_condition)
            self.position_table = nn.Parameter(torch.randn(1, length, width))
        self._initialise()

    def forward(self, latents: Latent, actions: Float[Tensor, "B T A"]) -> Latent:
        """Predict latents `[B, T]`: slot t sees latents and actions up to t, predicts t + 1."""
        frames, num_tokens = latents.tokens.shape[1:3]
        visual = latents.tokens if self.embed is None else self.embed(latents.tokens)
        code = self.action_encoder(actions)  # [B, T, code]
        x = self.layout.join(visual, action=code, proprio=latents.proprio)  # [B, T, n, width]
        per_frame = num_tokens + self.layout.num_condition
        x = self._add_positions(x.flatten(1, 2), frames)  # [B, L, width]
        rotation = self._rotation(frames, x.device)
        mask = _mask(frames, per_frame, x.device) if frames > 1 else None
        condition = code if self.config.conditioning.startswith("adaln") else None
        for block in self.blocks:
            x = block(x, condition=condition, rotation=rotation, mask=mask)
        visual, proprio = self.layout.split(self.norm(x).unflatten(1, (frames, per_frame)))
        tokens = visual if self.proj is None else self.proj(visual)  # [B, T, N, D]
        if self.config.normalize_output:
            tokens = nn.functional.layer_norm(tokens, tokens.shape[-1:], eps=1e-5)
        if self.config.residual:
            tokens = tokens + latents.tokens
            if proprio is not None and latents.proprio is not None:
                proprio = proprio + latents.proprio
        return Latent(tokens=tokens, proprio=proprio)

    def _add_positions(self, x: Tensor, frames: int) -> Tensor:
        if self.position_table is not None:
            return x + self.position_table[:, : x.shape[1]]
        if self.config.positions == "sincos":
            condition = self.layout.num_condition
            return x + _sincos(frames, self.grid, condition, x.shape[-1], x.device).to(x.dtype)
        return x

    def _rotation(self, frames: int, device: torch.device) -> Rotation | None:
        if (
            not self.config.positions.startswith("rope")
            or frames * self.grid[0] * self.grid[1] == 1
        ):
            return None
        tiled = self.config.positions == "rope_vjepa"
        return _rotary(frames, self.grid, self.layout.num_condition, self.head_dim, tiled, device)

    def _initialise(self) -> None:
        """Initialise as the reference does: truncated normal 0.02, deeper blocks smaller."""
        if self.config.projected:  # DINO-WM, which does not project, keeps torch's defaults
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.trunc_normal_(module.weight, std=0.02)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
        zero = self.config.conditioning == "adaln_zero" or self.config.init_scale == 0
        for index, block in enumerate(self.blocks, start=1):
            assert isinstance(block, Block)
            if self.config.projected:
                block.attn.proj.weight.data.div_(sqrt(2 * index))
                block.mlp.fc2.weight.data.div_(sqrt(2 * index))
            if block.modulation is not None:
                nn.init.zeros_(block.modulation.bias)
                _draw(block.modulation.weight, std=0.0 if zero else 0.02 * self.config.init_scale)


def _draw(weight: Tensor, *, std: float) -> None:
    if std == 0:
        nn.init.zeros_(weight)
    else:
        nn.init.trunc_normal_(weight, std=std)


def _layout(config: PredictorConfig, proprio: ProprioConfig, latent_dim: int) -> Layout:
    visual_dim = config.visual_dim or latent_dim
    if not config.projected and visual_dim != latent_dim:
        raise UserError(
            f"predictor.visual_dim = {visual_dim} differs from the encoder's width {latent_dim}; "
            "set predictor.projected to True or leave visual_dim unset"
        )
    return Layout(
        visual_dim=visual_dim,
        proprio_feature_dim=proprio.dim if proprio.mode == "feature" else 0,
        action_feature_dim=config.action_dim if config.conditioning == "feature" else 0,
        action_token=config.conditioning == "sequence",
        proprio_token=proprio.mode == "token",
    )


def _head_dim(config: PredictorConfig, width: int) -> int:
    if config.head_dim is not None:
        return config.head_dim
    if width % config.num_heads:
        raise UserError(
            f"token width {width} is not divisible by predictor.num_heads = {config.num_heads}; "
            "change num_heads, proprio.dim or predictor.visual_dim, or set predictor.head_dim"
        )
    return width // config.num_heads


@lru_cache(maxsize=64)
def _mask(frames: int, per_frame: int, device: torch.device) -> Bool[Tensor, "L L"]:
    return block_causal_mask(frames, per_frame).to(device)


@lru_cache(maxsize=64)
def _rotary(
    frames: int,
    grid: tuple[int, int],
    num_condition: int,
    head_dim: int,
    tiled: bool,
    device: torch.device,
) -> Rotation:
    cos, sin = rotary_table(
        num_frames=frames, grid=grid, num_condition=num_condition, head_dim=head_dim, tiled=tiled
    )
    return cos.to(device), sin.to(device)


@lru_cache(maxsize=64)
def _sincos(
    frames: int, grid: tuple[int, int], num_condition: int, dim: int, device: torch.device
) -> Float[Tensor, "L dim"]:
    return frame_grid_sincos(num_frames=frames, grid=grid, num_condition=num_condition, dim=dim).to(
        device
    )
