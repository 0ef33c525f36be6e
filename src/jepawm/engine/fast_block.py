"""Blocks and predictors in inference: weights packed once, and blocks in the pieces that a cache needs."""

from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from jepawm.engine.attention import attend_parts
from jepawm.engine.config import Precision
from jepawm.engine.kernels.library import library
from jepawm.engine.kernels.split_products import split_leave
from jepawm.engine.packed_linear import PackedLinear
from jepawm.models.blocks import Block
from jepawm.models.positions import Rotation, rotate
from jepawm.models.predictor import Predictor
from jepawm.types import Latent

Modulation = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""Shift, scale and gate of attention, then of the feed-forward part, `[*b, 1, width]` each."""


class FastPredictor:
    """A predictor whose weights are packed, for as long as they stay as they are."""

    def __init__(self, predictor: Predictor, *, precision: Precision) -> None:
        """Take the predictor and the precision of its matrix products."""
        if precision == "bfloat16x3":
            library()  # refuses a machine that cannot
        pack = partial(PackedLinear, precision=precision)
        embed, proj = predictor.embed, predictor.proj
        self.plain = predictor
        self.blocks: list[FastBlock] = []
        for block in predictor.blocks:
            assert isinstance(block, Block)
            self.blocks.append(FastBlock(block, precision=precision))
        self._embed = None if embed is None else pack(embed.weight, embed.bias)
        self._proj = None if proj is None else pack(proj.weight, proj.bias)

    def embedded(self, latents: Latent) -> Latent:
        """Project the tokens of latents `[B, T]` to the visual part of the predictor's tokens."""
        return (
            latents if self._embed is None else replace(latents, tokens=self._embed(latents.tokens))
        )

    def leave(self, x: Float[Tensor, "B T n width"], latents: Latent) -> Latent:
        """Read the predictions out of frames; `latents` `[B, T]` are what they started from."""
        visual, proprio = self.plain.layout.split(self.plain.norm(x))
        tokens = visual if self._proj is None else self._proj(visual)  # [B, T, N, D]
        return self.plain.finish(tokens, proprio, latents=latents)


class FastBlock:
    """A `Block` in inference, piece by piece and without dropout."""

    def __init__(self, block: Block, *, precision: Precision) -> None:
        """Take the block and the precision of its matrix products."""
        attn = block.attn
        self.num_heads, self.head_dim, self.inner = attn.num_heads, attn.head_dim, attn.inner
        self.precision: Precision = precision
        self.splits = precision == "bfloat16x3"
        self._block = block
        pack = partial(PackedLinear, precision=precision)
        self._projections: dict[tuple[int, int], PackedLinear] = {}
        for first, count in ((0, 3), (1, 2), (0, 1), (2, 1)):
            rows = slice(first * self.inner, (first + count) * self.inner)
            bias = None if attn.qkv.bias is None else attn.qkv.bias[rows]
            self._projections[first, count] = pack(attn.qkv.weight[rows], bias)
        self.mix = pack(attn.proj.weight, attn.proj.bias)
        """Brings what the heads found, `[*b, inner]`, back to the model's width."""
        self._fc1 = pack(block.mlp.fc1.weight, block.mlp.fc1.bias)
        self._fc2 = pack(block.mlp.fc2.weight, block.mlp.fc2.bias)
        code = block.modulation
        self._modulation = None if code is None else pack(code.weight, code.bias)

    def modulate(self, condition: Float[Tensor, "*b width"] | None) -> Modulation | None:
        """Return what AdaLN makes of a condition; None in a block without it."""
        if self._modulation is None or condition is None:
            return None
        codes = self._modulation(F.silu(condition)).unsqueeze(-2)  # [*b, 1, 6 width]
        shift1, scale1, gate1, shift2, scale2, gate2 = codes.chunk(6, dim=-1)
        return shift1, 1 + scale1, gate1, shift2, 1 + scale2, gate2

    def enter(
        self, x: Float[Tensor, "*b n width"], codes: Modulation | None
    ) -> Float[Tensor, "*b n width"]:
        """Return what attention gets to see of `x`."""
        normed = self._block.norm1(x)
        seen = normed if codes is None else torch.addcmul(codes[0], normed, codes[1])
        return self._block.seen1(seen)

    def attend_within(
        self, x: Float[Tensor, "B 1 n width"], *, rotation: Rotation | None
    ) -> Float[Tensor, "B 1 n width"]:
        """Let the tokens of one frame see each other."""
        if x.shape[2] == 1:  # the softmax over one token is 1: only values count
            return self.mix(self.project(x, first=2, count=1))
        projected = self.project(x, first=0, count=3)  # [B, 1, n, 3 inner]
        query, key = self.turned(projected[..., : 2 * self.inner], rotation).unbind(-3)
        value = self.heads(projected[..., 2 * self.inner :])
        out = attend_parts(query[:, 0], [key[:, 0]], [value[:, 0]], split=self.splits)
        return self.mix(out.unsqueeze(1).flatten(-2))

    def project(
        self, x: Float[Tensor, "*b width"], *, first: int, count: int
    ) -> Float[Tensor, "*b parts"]:
        """Compute some of queries (0), keys (1) and values (2), side by side."""
        return self._projections[first, count](x)

    def shortcut(self) -> PackedLinear | None:
        """Return values and their mixture as one map: what a token finds that sees itself alone.

        None where that is no smaller than mixing.
        """
        qkv, proj = self._block.attn.qkv, self._block.attn.proj
        if proj.out_features >= self.inner:
            return None
        weight = proj.weight @ qkv.weight[2 * self.inner :]
        bias = proj.bias
        if qkv.bias is not None:
            mix = PackedLinear(
                proj.weight, bias, precision="float32" if self.splits else self.precision
            )
            bias = mix(qkv.bias[2 * self.inner :])
        return PackedLinear(weight, bias, precision=self.precision)

    def turned(
        self, projected: Float[Tensor, "*b n both"], rotation: Rotation | None
    ) -> Float[Tensor, "*c n parts heads h"]:
        """Turn queries or keys, or both side by side, and split them into parts and heads."""
        parts = projected.unflatten(-1, (-1, self.inner))  # [*b, n, parts, inner]
        return self.heads(parts if rotation is None else rotate(parts, rotation))

    def heads(self, x: Float[Tensor, "*b inner"]) -> Float[Tensor, "*b heads h"]:
        """Split channels into heads."""
        return x.unflatten(-1, (self.num_heads, self.head_dim))

    def leave(
        self,
        x: Float[Tensor, "*b n width"],
        attended: Float[Tensor, "*c n width"],
        *,
        codes: Modulation | None,
    ) -> Float[Tensor, "*c n width"]:
        """Add what attention found to `x`, then the feed-forward part."""
        if self._block.inner2 is None and self._fc1.splits(x):
            return self._leave_split(x, attended, codes=codes)
        if codes is None:
            x = x + attended
            return x + self._feed(self._block.seen2(self._block.norm2(x)))
        _, _, gate1, shift2, scale2, gate2 = codes
        x = torch.addcmul(x, gate1, attended)
        seen = torch.addcmul(shift2, self._block.norm2(x), scale2)
        return torch.addcmul(x, gate2, self._feed(self._block.seen2(seen)))

    def _feed(self, x: Float[Tensor, "*b width"]) -> Float[Tensor, "*b width"]:
        return self._fc2(self._fc1(x, gelu=True))

    def _leave_split(self, x: Tensor, attended: Tensor, *, codes: Modulation | None) -> Tensor:
        shape = torch.broadcast_shapes(x.shape, attended.shape)
        return split_leave(
            x.expand(shape),
            attended.expand(shape),
            norm=self._block.norm2,
            codes=None if codes is None else codes[2:],
            weights=(self._fc1.split(), self._fc2.split()),
            biases=(self._fc1.bias, self._fc2.bias),
        )
