"""Attention layers and AdaLN blocks against direct computations."""

import torch
import torch.nn.functional as F
from torch import nn

from jepawm.models.blocks import Attention, Block


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def enlarge(module: nn.Module, *, std: float = 0.4) -> None:
    """Draw large weights: with small ones attention is uniform and mistakes do not show."""
    for index, parameter in enumerate(module.parameters()):
        parameter.data = std * randn(*parameter.shape, seed=index)


def test_attention_orders_heads_as_query_key_value():
    attention = Attention(6, 2, head_dim=4)
    enlarge(attention)
    x = randn(3, 5, 6)
    query, key, value = (
        part.unflatten(-1, (2, 4)).transpose(1, 2) for part in attention.qkv(x).chunk(3, dim=-1)
    )
    out = (query @ key.transpose(-1, -2) / 2).softmax(-1) @ value
    expected = attention.proj(out.transpose(1, 2).flatten(-2))
    torch.testing.assert_close(attention(x), expected)


def test_shortcut_of_one_token_equals_the_full_path():
    for bias in (True, False):
        attention = Attention(12, 3, head_dim=4, qkv_bias=bias)
        enlarge(attention)
        x = randn(7, 1, 12)
        twice = attention(x.expand(-1, 2, -1))  # two equal tokens take the full path
        torch.testing.assert_close(attention(x), twice[:, :1])


def test_dropout_acts_in_training_only():
    attention = Attention(12, 3, head_dim=4, dropout=0.5)
    x = randn(7, 1, 12)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(attention.train()(x), attention(x))
    assert torch.equal(attention.eval()(x), attention(x))


def test_block_is_the_pre_norm_formula():
    block = Block(8, 2, head_dim=4, hidden=16)
    enlarge(block)
    x = randn(2, 3, 8)
    middle = x + block.attn(block.norm1(x))
    hidden = F.gelu(block.mlp.fc1(block.norm2(middle)))
    torch.testing.assert_close(block(x), middle + block.mlp.fc2(hidden))


def test_adaln_with_zero_modulation_is_the_identity():
    block = Block(8, 2, head_dim=4, hidden=16, modulated=True)
    enlarge(block)
    assert block.modulation is not None
    nn.init.zeros_(block.modulation.weight)
    nn.init.zeros_(block.modulation.bias)
    x = randn(2, 3, 2, 8)
    torch.testing.assert_close(block(x, condition=randn(2, 3, 8)), x)


def test_adaln_modulates_each_frame_by_its_own_code():
    block = Block(8, 2, head_dim=4, hidden=16, modulated=True)
    enlarge(block)
    x, condition = randn(1, 3, 2, 8), randn(1, 3, 8, seed=1)  # three frames of two tokens
    assert block.modulation is not None
    codes = block.modulation(F.silu(condition))[:, :, None]  # [1, 3, 1, 48]
    shift1, scale1, gate1, shift2, scale2, gate2 = codes.chunk(6, dim=-1)
    middle = x + gate1 * block.attn(block.norm1(x) * (1 + scale1) + shift1)
    expected = middle + gate2 * block.mlp(block.norm2(middle) * (1 + scale2) + shift2)
    torch.testing.assert_close(block(x, condition=condition), expected)
