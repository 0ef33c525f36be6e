"""Golden check of rotary block-causal attention."""

import torch

from jepawm.golden.case import Comparison, GoldenCase, compare, exact
from jepawm.models.blocks import attend, block_causal_mask
from jepawm.models.positions import rotary_table, rotate


def check_rope_attention(case: GoldenCase) -> list[Comparison]:
    """Compare rotated queries and keys, the mask, and attention with and without it."""
    grid, num_frames = case.option("grid", int), case.option("T", int)
    num_condition = case.optional("cond_tokens_per_frame", int) or 0
    rotation = rotary_table(
        num_frames=num_frames,
        grid=(grid, grid),
        num_condition=num_condition,
        head_dim=case.option("head_dim", int),
        tiled=True,
        scale=case.optional("position_scale", float) or 1.0,
    )
    query, key, value = case.tensor("q"), case.tensor("k"), case.tensor("v")
    mask = block_causal_mask(num_frames, num_condition + grid * grid)
    got = {
        "q_rotated": rotate(query, rotation),
        "k_rotated": rotate(key, rotation),
        "out_block_causal": attend(query, key, value, rotation=rotation, mask=mask),
        "out_full": attend(query, key, value, rotation=rotation, mask=None),
    }
    results = [
        compare(name, tensor, case.tensor(name), atol=case.atol, rtol=case.rtol)
        for name, tensor in got.items()
    ]
    expected = case.tensor("block_causal_mask")
    return [*results, exact("block_causal_mask", mask.to(torch.uint8), expected.to(torch.uint8))]
