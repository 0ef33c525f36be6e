"""Fast blocks and predictors compute what the plain ones do, without dropout."""

import pytest
import torch

from jepawm.engine.fast_block import FastBlock, FastPredictor
from jepawm.models.blocks import Block
from jepawm.models.predictor import Predictor, PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.types import Latent


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def block_of(width: int = 6, head_dim: int = 5, **fields) -> Block:
    block = Block(width, 2, head_dim=head_dim, hidden=16, **fields).eval()
    for index, parameter in enumerate(block.parameters()):
        parameter.data = 0.4 * randn(*parameter.shape, seed=index)
    return block


@torch.no_grad()
@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("qkv_bias", [False, True])
@pytest.mark.parametrize("tokens", [1, 4])
def test_the_pieces_make_a_block(modulated, qkv_bias, tokens):
    block = block_of(modulated=modulated, qkv_bias=qkv_bias)
    fast = FastBlock(block, precision="float32")
    x, condition = randn(3, 1, tokens, 6), randn(3, 1, 6, seed=1) if modulated else None
    codes = fast.modulate(condition)
    assert (codes is not None) == modulated
    attended = fast.attend_within(fast.enter(x, codes), rotation=None)
    got = fast.leave(x, attended, codes=codes)
    torch.testing.assert_close(got, block(x, condition=condition), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_the_shortcut_is_attention_of_a_token_alone(bias):
    block = block_of(qkv_bias=bias)
    x = randn(3, 1, 6)
    shortcut = FastBlock(block, precision="float32").shortcut()
    assert shortcut is not None
    torch.testing.assert_close(shortcut(x), block.attn(x))
    narrow = block_of(10, 5)
    assert FastBlock(narrow, precision="float32").shortcut() is None  # it would save nothing


@torch.no_grad()
@pytest.mark.parametrize("projected", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_a_fast_predictor_embeds_and_leaves_as_the_plain_one(projected, residual):
    config = PredictorConfig(
        conditioning="feature", num_heads=2, depth=1, projected=projected, residual=residual
    )
    proprio = ProprioConfig(mode="feature", dim=4)
    plain = Predictor(config, proprio, latent_dim=12, grid=(2, 2), action_dim=3).eval()
    fast = FastPredictor(plain, precision="float32")
    latents = Latent(tokens=randn(2, 3, 4, 12), proprio=randn(2, 3, 4, 4, seed=1))
    x = randn(2, 3, 4, plain.layout.width, seed=2)
    for got, expected in (
        (fast.embedded(latents), plain.embedded(latents)),
        (fast.leave(x, latents), plain.leave(x, latents)),
    ):
        torch.testing.assert_close(got.tokens, expected.tokens)
        torch.testing.assert_close(got.proprio, expected.proprio)
