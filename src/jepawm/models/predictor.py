"""The predictor: a block-causal transformer over the last W latents and actions."""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.errors import UserError, require_range
from jepawm.models.blocks import Block
from jepawm.models.conditioning import Conditioning, Layout
from jepawm.models.positions import (
    Positions,
    Rotation,
    frame_grid_sincos,
    rotary_angles,
    rotation_by,
)
from jepawm.models.projector import Projector
from jepawm.models.proprio import ProprioConfig, encode_actions
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
    output_scale: float = 1.0
    """Scale of the output's layer norm at the start; with `residual`, 0 starts as a copy of the last
    latent, code of the proprioception included."""
    action_limit: float | None = None
    """Normalised actions beyond this count as this; None: no limit. In few recordings some columns
    hardly vary, and others can be hundreds of their standard deviations away."""
    qkv_bias: bool = True
    """Give queries, keys and values a bias."""
    norm_eps: float = 1e-6
    """Epsilon of the layer norms."""
    dropout: float = 0.0
    """Dropout probability in attention and feed-forward layers."""
    init_scale: float = 10.0
    """Scale of the AdaLN modulation at the start, times 0.02 (adaln_zero: 0)."""
    inner_norm: bool = False
    """Normalise again after the modulation, before attention and feed-forward (LeWorldModel)."""
    action_hidden: int = 0
    """Hidden width of the action encoder, with a SiLU behind it (LeWorldModel); 0: an affine map."""
    projector_dim: int = 0
    """Hidden width of a projector with batch norm behind the last norm (LeWorldModel); 0: none."""

    def __post_init__(self) -> None:
        """Check what does not depend on other parts."""
        for name in ("window", "depth", "num_heads"):
            if getattr(self, name) < 1:
                raise UserError(f"predictor.{name} = {getattr(self, name)} must be at least 1")
        widths = ("window", "depth", "num_heads", "visual_dim", "head_dim", "hidden_dim")
        require_range(self, widths, where="predictor", least=1, most=2**16)
        least = int(self.conditioning == "feature")  # elsewhere there is no code of this width
        require_range(self, ("action_dim",), where="predictor", least=least, most=2**16)
        hidden = ("action_hidden", "projector_dim")
        require_range(self, hidden, where="predictor", least=0, most=2**16)
        scales = ("output_scale", "norm_eps", "init_scale")
        require_range(self, scales, where="predictor", least=0)
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(f"predictor.dropout = {self.dropout}; give 0 to below 1")
        if self.action_limit is not None and not self.action_limit > 0:
            raise UserError(
                f"predictor.action_limit = {self.action_limit}; give more than 0, or None"
            )


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
        """
        super().__init__()
        self.config = config
        self.grid = grid
        self.kept: tuple[int, ...] | None = (
            None  # tokens that are seen; None: all (models/seeing.py)
        )
        self.layout = _layout(config, proprio, latent_dim)
        width = self.layout.width
        self.head_dim = _head_dim(config, width)
        self.embed = nn.Linear(latent_dim, self.layout.visual_dim) if config.projected else None
        self.action_encoder = encode_actions(
            action_dim,
            self.layout.action_feature_dim or width,
            hidden=config.action_hidden,
            limit=config.action_limit,
        )
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
                inner_norm=config.inner_norm,
            )
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.proj = nn.Linear(self.layout.visual_dim, latent_dim) if config.projected else None
        self.projector = None
        if config.projector_dim:
            self.projector = Projector(latent_dim, config.projector_dim, dim=latent_dim)
        self.position_table = None
        if config.positions == "learned":
            length = config.window * (grid[0] * grid[1] + self.layout.num_condition)
            self.position_table = nn.Parameter(torch.randn(1, length, width))
        self._initialise()

    def forward(self, latents: Latent, actions: Float[Tensor, "B T A"]) -> Latent:
        """Predict latents `[B, T]`: slot t sees latents and actions up to t, predicts t + 1."""
        frames, device = latents.tokens.shape[1], latents.tokens.device
        code = self.action_encoder(actions)  # [B, T, code]
        x = self.enter(self.embedded(latents), action=code)
        added, rotation = self.positions(frames, device)
        x = x if added is None else x + added.to(x.dtype)
        condition = self.condition(code)
        for block in self.blocks:
            x = block(x, condition=condition, rotation=rotation)
        return self.leave(x, latents)

    def embedded(self, latents: Latent) -> Latent:
        """Project the tokens of latents `[B, T]` to the visual part of the predictor's tokens."""
        if self.embed is None:
            return latents
        return replace(latents, tokens=self.embed(latents.tokens.contiguous()))  # strided is slow

    def enter(
        self, embedded: Latent, *, action: Float[Tensor, "B T code"]
    ) -> Float[Tensor, "B T n width"]:
        """Build frames of `n` tokens out of embedded latents and action codes `[B, T]`."""
        return self.layout.join(embedded.tokens, action=action, proprio=embedded.proprio)

    def condition(self, action: Float[Tensor, "*b code"]) -> Float[Tensor, "*b code"] | None:
        """Return what modulates the blocks; None where actions enter as channels or tokens."""
        return action if self.config.conditioning.startswith("adaln") else None

    def leave(self, x: Float[Tensor, "B T n width"], latents: Latent) -> Latent:
        """Read the predictions out of frames; `latents` `[B, T]` are what they started from."""
        visual, proprio = self.layout.split(self.norm(x))
        tokens = visual if self.proj is None else self.proj(visual.contiguous())  # [B, T, N, D]
        return self.finish(tokens, proprio, latents=latents)

    def finish(
        self,
        tokens: Float[Tensor, "B T N D"],
        proprio: Float[Tensor, "B T M Dp"] | None,
        *,
        latents: Latent,
    ) -> Latent:
        """Project and normalise what was predicted, or add it to the latents it started from."""
        if self.projector is not None:
            tokens = self.projector(tokens)
        if self.config.normalize_output:
            tokens = nn.functional.layer_norm(tokens, tokens.shape[-1:], eps=1e-5)
        if self.config.residual:
            tokens = tokens + latents.tokens
            if proprio is not None and latents.proprio is not None:
                proprio = proprio + latents.proprio
        return Latent(tokens=tokens, proprio=proprio)

    def positions(
        self, frames: int, device: torch.device
    ) -> tuple[Float[Tensor, "T n width"] | None, Rotation | None]:
        """Return what is added to the tokens of each frame, and what turns queries and keys.

        Positions count from the first frame of a window. Tables are made once and kept.
        """
        added, rotation = self._whole_positions(frames, device)
        if self.kept is None:
            return added, rotation
        condition = self.layout.num_condition
        rows = [*range(condition), *(condition + token for token in self.kept)]
        index = torch.tensor(rows, device=device)
        return (
            None if added is None else added.index_select(1, index),
            None
            if rotation is None
            else Rotation(*(one.index_select(1, index) for one in rotation)),
        )

    def _whole_positions(
        self, frames: int, device: torch.device
    ) -> tuple[Float[Tensor, "T n width"] | None, Rotation | None]:
        """Return the positions where all tokens are seen."""
        condition, kind = self.layout.num_condition, self.config.positions
        if self.position_table is not None:
            per_frame = self.grid[0] * self.grid[1] + condition
            table = self.position_table[0, : frames * per_frame]
            return table.unflatten(0, (frames, per_frame)), None
        if kind == "sincos":
            return _sincos(frames, self.grid, condition, self.layout.width, device), None
        if frames * self.grid[0] * self.grid[1] == 1:
            return None, None
        shape = (self.head_dim, self.config.num_heads)
        return None, _rotation(frames, self.grid, condition, shape, kind == "rope_vjepa", device)

    def _initialise(self) -> None:
        """Initialise as the reference does: truncated normal 0.02, deeper blocks smaller."""
        if self.config.projected:  # DINO-WM, which does not project, keeps torch's defaults
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.trunc_normal_(module.weight, std=0.02)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
        self.norm.weight.data.mul_(self.config.output_scale)
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
def _rotation(
    frames: int,
    grid: tuple[int, int],
    num_condition: int,
    heads: tuple[int, int],
    tiled: bool,
    device: torch.device,
) -> Rotation:
    angles = rotary_angles(
        num_frames=frames, grid=grid, num_condition=num_condition, head_dim=heads[0], tiled=tiled
    )
    return rotation_by(angles, num_frames=frames, num_heads=heads[1], device=device)


@lru_cache(maxsize=64)
def _sincos(
    frames: int, grid: tuple[int, int], num_condition: int, dim: int, device: torch.device
) -> Float[Tensor, "T n dim"]:
    table = frame_grid_sincos(num_frames=frames, grid=grid, num_condition=num_condition, dim=dim)
    return table.unflatten(0, (frames, -1)).to(device)
