"""Structs behave like tensors along their batch axes."""

import pytest
import torch
from jaxtyping import TypeCheckError

from jepawm.types import Context, Latent, Observation, Trajectory, concatenate


def latent(*batch: int, proprio: bool = True) -> Latent:
    tokens = torch.arange(float(torch.Size(batch).numel() * 6)).reshape(*batch, 2, 3)
    return Latent(tokens=tokens, proprio=torch.ones(*batch, 1, 4) if proprio else None)


def test_indexing_takes_batch_axes_of_every_tensor():
    first = latent(5, 7)[1:3, 0]
    assert first.batch_shape == (2,)
    assert first.proprio is not None
    assert first.proprio.shape == (2, 1, 4)
    assert torch.equal(first.tokens, latent(5, 7).tokens[1:3, 0])


def test_none_stays_none():
    assert latent(2, proprio=False)[0].proprio is None


def test_mapping_reaches_nested_structs():
    context = Context(latents=latent(2, 3), actions=torch.ones(2, 2, 4))
    doubled = context.map(lambda tensor: 2 * tensor)
    assert torch.equal(doubled.latents.tokens, 2 * context.latents.tokens)
    assert torch.equal(doubled.actions, 2 * context.actions)


def test_concatenate_joins_along_a_batch_axis():
    joined = concatenate([latent(2, 1), latent(2, 4)], dim=1)
    assert joined.batch_shape == (2, 5)
    assert torch.equal(joined.tokens[:, 1:], latent(2, 4).tokens)
    parts = [Context(latents=latent(1, 2), actions=torch.zeros(1, 1, 4)) for _ in range(3)]
    assert concatenate(parts, dim=0).latents.batch_shape == (3, 2)


def test_moving_and_detaching():
    source = latent(2).map(lambda tensor: tensor.requires_grad_())
    assert not source.detach().tokens.requires_grad
    assert source.to(torch.float64).tokens.dtype == torch.float64


def test_shapes_are_checked_in_tests():
    pixels = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    Trajectory(obs=Observation(pixels=pixels[None]), actions=torch.zeros(1, 1, 4))
    with pytest.raises(TypeCheckError):
        Observation(pixels=pixels.float())
    with pytest.raises(TypeCheckError):
        Observation(pixels=pixels, proprio=torch.zeros(3, 4))  # two images, three states
