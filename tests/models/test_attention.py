"""Frame-causal attention equals the softmax written out, and masked attention."""

import pytest
import torch
import torch.nn.functional as F

from jepawm.models.attention import attend, attend_frames, block_causal_mask


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


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
