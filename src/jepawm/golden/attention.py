"""Golden check of rotary block-causal attention."""

import torch
from torch import Tensor

from jepawm.golden.case import Comparison, GoldenCase, compare, exact
from jepawm.models.attention import attend, attend_frames, block_causal_mask
from jepawm.models.positions import rotary_angles, rotate, rotation_by


def check_rope_attention(case: GoldenCase) -> list[Comparison]:
    """Compare rotated queries and keys, the mask, and attention with and without it."""
    grid, num_frames = case.option("grid", int), case.option("T", int)
    num_condition = case.optional("cond_tokens_per_frame", int) or 0
    num_heads, head_dim = case.tensor("q").shape[1], case.option("head_dim", int)
    angles = rotary_angles(
        num_frames=num_frames,
        grid=(grid, grid),
        num_condition=num_condition,
        head_dim=head_dim,
        tiled=True,
        scale=case.optional("position_scale", float) or 1.0,
    )
    rotation = rotation_by(
        angles, num_frames=num_frames, num_heads=num_heads, device=torch.device("cpu")
    )

    def frames(name: str) -> Tensor:
        flat = case.tensor(name).transpose(1, 2).flatten(-2)  # [B, L, inner]
        return flat.unflatten(1, (num_frames, -1))  # [B, T, n, inner]

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (num_heads, head_dim))  # [B, T, n, heads, h]

    def plain(x: Tensor) -> Tensor:
        return x.flatten(1, -3).transpose(1, 2)  # [B, heads, L, h]

    query, key = (heads(rotate(frames(name)[..., None, :], rotation)[..., 0, :]) for name in "qk")
    value = heads(frames("v"))
    got = {
        "q_rotated": plain(query),
        "k_rotated": plain(key),
        "out_block_causal": plain(attend_frames(query, key, value)),
        "out_full": plain(attend(*(part.flatten(1, 2) for part in (query, key, value)))),
    }
    results = [
        compare(name, tensor, case.tensor(name), atol=case.atol, rtol=case.rtol)
        for name, tensor in got.items()
    ]
    mask = block_causal_mask(num_frames, num_condition + grid * grid)
    expected = case.tensor("block_causal_mask")
    return [*results, exact("block_causal_mask", mask.to(torch.uint8), expected.to(torch.uint8))]
