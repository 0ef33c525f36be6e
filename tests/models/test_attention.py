"""Frame-causal attention equals the softmax written out, and masked attention."""

import pytest
import torch
import torch.nn.functional as F

from jepawm.models.attention import (
    attend,
    attend_frames,
    attend_parts,
    attend_to_few,
    block_causal_mask,
)


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


@pytest.mark.parametrize("tokens", [(1, 1, 1), (1,), (2, 1, 3)])
@pytest.mark.parametrize("asking", [1, 4])
def test_keys_and_values_may_lie_in_parts(tokens, asking):
    query = 2 * randn(5, asking, 3, 8)
    keys = [randn(5, count, 3, 8, seed=index + 1) for index, count in enumerate(tokens)]
    values = [randn(5, count, 3, 8, seed=index + 9) for index, count in enumerate(tokens)]
    expected = attend(query, torch.cat(keys, dim=1), torch.cat(values, dim=1))
    torch.testing.assert_close(attend_parts(query, keys, values), expected)


def test_a_few_keys_are_seen_from_the_last_windows():
    query = randn(3, 5, 1, 3, 8)
    counts = (1, 2, 3)  # windows that see each key
    keys = [randn(count, 5, 1, 3, 8, seed=count) for count in counts]
    values = [randn(count, 5, 1, 3, 8, seed=10 + count) for count in counts]
    got = attend_to_few(query, keys, values)
    for back in (1, 2, 3):  # windows, counted from the last
        seen = [index for index, count in enumerate(counts) if count >= back]
        expected = attend_parts(
            query[-back], [keys[i][-back] for i in seen], [values[i][-back] for i in seen]
        )
        torch.testing.assert_close(got[-back], expected)


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
