"""Attention layers and AdaLN blocks against direct computations; attention against masked attention."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from jepawm.models.blocks import Attention, Block, attend, attend_frames, block_causal_mask


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


def masked(query, key, value):
    """Dense attention `[B, T, n, heads, h]` under a materialised mask."""
    mask = block_causal_mask(query.shape[1], query.shape[2])
    flat = [part.flatten(1, 2).transpose(1, 2) for part in (query, key, value)]
    out = F.scaled_dot_product_attention(flat[0], flat[1], flat[2], attn_mask=mask)
    return out.transpose(1, 2).unflatten(1, query.shape[1:3])


def test_mask_lets_a_token_see_its_own_and_earlier_frames():
    expected = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]])
    assert torch.equal(block_causal_mask(2, 2), expected.bool())


def test_attend_is_the_softmax_written_out():
    query, key, value = randn(3, 4, 5, 2, 6).unbind(0)
    scores = torch.einsum("bqhc,bkhc->bhqk", query, key) / 6**0.5
    expected = torch.einsum("bhqk,bkhc->bqhc", scores.softmax(-1), value)
    torch.testing.assert_close(attend(query, key, value), expected)


def test_large_scores_do_not_overflow():
    """Each query fits one key, by a score of half a million more than the others."""
    fitting = 1000 * torch.eye(4)[None, :, None]  # [1, 4, 1, 4]
    value = randn(1, 4, 1, 4)
    torch.testing.assert_close(attend(fitting, fitting, value), value)


@pytest.mark.parametrize("head_dim", [25, 24, 64])
@pytest.mark.parametrize(("num_frames", "tokens"), [(1, 5), (2, 16), (3, 17), (8, 3), (3, 1)])
def test_frames_attend_as_under_a_mask(num_frames, tokens, head_dim):
    query, key, value = (2 * randn(3, 2, num_frames, tokens, 3, head_dim)).unbind(0)
    torch.testing.assert_close(
        attend_frames(query, key, value), masked(query, key, value), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("tokens", [1, 4])
def test_gradients_are_those_of_masked_attention(tokens):
    inputs = [2 * randn(2, 3, tokens, 3, 25, seed=seed) for seed in range(3)]
    weights = randn(2, 3, tokens, 3, 25, seed=3)

    def gradients(attention):
        leaves = [part.clone().requires_grad_() for part in inputs]
        return torch.autograd.grad((attention(*leaves) * weights).sum(), leaves)

    for got, expected in zip(gradients(attend_frames), gradients(masked), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_padded_heads_give_the_same_numbers():
    """The padding of other devices, done here by hand: zeros change no score and no value."""
    query, key, value = randn(3, 2, 5, 3, 25).unbind(0)
    padded = [F.pad(part, (0, 7)).transpose(1, 2) for part in (query, key, value)]
    out = F.scaled_dot_product_attention(padded[0], padded[1], padded[2], scale=25**-0.5).transpose(
        1, 2
    )[..., :25]
    torch.testing.assert_close(attend(query, key, value), out)
