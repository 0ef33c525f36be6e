"""Imagination of a world whose model is wrong by a known amount."""

import numpy as np
import pytest
import torch

from jepawm.evaluation.imagination import Clip, imagination_errors, imagine_clip
from jepawm.normalizer import Normalizer
from jepawm.types import Context, Latent, Observation

NUM_BLOCKS = 4


class HalfWay:
    """A world model that believes that every action moves half as far as it does."""

    window = 1

    def encode(self, obs: Observation) -> Latent:
        """Take the first pixel as the place."""
        return Latent(tokens=obs.pixels[..., :1, 0, 0].float().unsqueeze(-1))

    def predict(self, latents: Latent, actions: torch.Tensor) -> Latent:
        """Move half as far."""
        return Latent(tokens=latents.tokens + actions[..., None] / 2)

    def rollout(self, context: Context, actions: torch.Tensor, *, window=None) -> Latent:
        """Add up halves."""
        start = context.latents.tokens[:, -1:]
        return Latent(tokens=start + actions.cumsum(1)[..., None] / 2)


def clip() -> Clip:
    places = torch.arange(NUM_BLOCKS + 1) * 10
    pixels = places.to(torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2).contiguous()
    states = np.stack([places.numpy(), places.numpy() * 0], axis=1).astype(float)
    return Clip(
        obs=Observation(pixels=pixels), actions=torch.full((NUM_BLOCKS, 1), 10.0), states=states
    )


def places(latents: Latent) -> torch.Tensor:
    """Read the state, of two numbers."""
    return torch.cat([latents.tokens[:, 0], torch.zeros(len(latents.tokens), 1)], dim=1)


@pytest.mark.parametrize("every", [1, 2, 9])
def test_real_frames_now_and_then_stop_the_drift(every: int):
    normalizer = Normalizer.from_statistics(
        action_mean=[0.0], action_std=[1.0], proprio_mean=None, proprio_std=None
    )
    found = imagine_clip(HalfWay(), clip(), normalizer=normalizer, every=every, window=1)
    assert found.alone.tokens.flatten().tolist() == [0, 5, 10, 15, 20]
    errors = imagination_errors(found, clip(), decoder=None, probe=places)
    assert [row.k for row in errors] == [0, 1, 2, 3, 4]
    assert [row.state for row in errors] == [0, 5, 10, 15, 20]
    assert [row.latent for row in errors] == [0, 25, 100, 225, 400]
    drift = [0] + [5.0 * ((k % every) + 1) for k in range(NUM_BLOCKS)]
    assert [row.state_with_frames for row in errors] == drift
    assert [row.picture for row in errors] == [None] * 5


def test_unknown_states_have_no_error():
    normalizer = Normalizer.from_statistics(
        action_mean=[0.0], action_std=[1.0], proprio_mean=None, proprio_std=None
    )
    unknown = Clip(obs=clip().obs, actions=clip().actions, states=None)
    found = imagine_clip(HalfWay(), unknown, normalizer=normalizer, every=1, window=1)
    errors = imagination_errors(found, unknown, decoder=None, probe=places)
    assert [row.state for row in errors] == [None] * 5
