"""The ensemble of rewards: shapes, disagreement, speed of one product, and what it refuses."""

import pytest
import torch

from jepawm.errors import UserError
from jepawm.models.rewards import RewardEnsemble, RewardShape
from jepawm.rewards import RewardHeadConfig
from jepawm.types import Latent

SHAPE = RewardShape(num_tokens=1, latent_dim=4, proprio_dim=2, action_dim=3)


def latents(*batch: int, num_tokens: int = 1) -> Latent:
    return Latent(
        tokens=torch.randn(*batch, num_tokens, 4), proprio=torch.randn(*batch, num_tokens, 2)
    )


@pytest.mark.parametrize("num_tokens", [1, 9])
@pytest.mark.parametrize("inputs", ["latent", "latent_action"])
def test_each_latent_has_its_own_reward(num_tokens, inputs):
    shape = RewardShape(num_tokens=num_tokens, latent_dim=4, proprio_dim=2, action_dim=3)
    reward = RewardEnsemble(RewardHeadConfig(inputs=inputs, width=8), shape)
    seen, acted = latents(2, 5, 3, num_tokens=num_tokens), torch.randn(2, 5, 3, 3)
    mean, spread = reward(seen, acted)
    assert mean.shape == spread.shape == (2, 5, 3)
    alone, _ = reward(seen[1:, 2:3], acted[1:, 2:3])
    torch.testing.assert_close(mean[1:, 2:3], alone)
    changed, _ = reward(seen, acted + 1.0)
    assert torch.equal(changed, mean) == (inputs == "latent")


def test_members_that_agree_have_no_spread():
    reward = RewardEnsemble(RewardHeadConfig(num_members=3, width=8), SHAPE)
    for value in [*reward.weights, *reward.biases]:
        value.data[:] = value.data[:1]
    _, spread = reward(latents(7), torch.zeros(7, 3))
    torch.testing.assert_close(spread, torch.zeros(7), atol=1e-5, rtol=0.0)


def test_members_are_the_networks_that_they_look_like():
    reward = RewardEnsemble(RewardHeadConfig(num_members=2, width=8, depth=1), SHAPE)
    seen, acted = latents(5), torch.zeros(5, 3)
    features = torch.cat([seen.tokens[:, 0], seen.proprio[:, 0]], dim=-1)
    hidden = torch.nn.functional.gelu(features @ reward.weights[0][1] + reward.biases[0][1])
    expected = (hidden @ reward.weights[1][1] + reward.biases[1][1])[:, 0]
    torch.testing.assert_close(reward.members(seen, acted)[:, 1], expected)


def test_chances_lie_between_0_and_1():
    reward = RewardEnsemble(RewardHeadConfig(width=8), SHAPE, is_chance=True)
    with torch.no_grad():
        mean, _ = reward(latents(50), torch.zeros(50, 3))
    assert float(mean.min()) >= 0.0
    assert float(mean.max()) <= 1.0


def test_latents_of_another_model_are_refused():
    reward = RewardEnsemble(RewardHeadConfig(width=8), SHAPE)
    with pytest.raises(UserError, match="belongs to another model"):
        reward(latents(2, num_tokens=4), torch.zeros(2, 3))


@pytest.mark.parametrize("fields", [{"num_members": 0}, {"width": 0}])
def test_sizes_out_of_range_are_refused(fields):
    with pytest.raises(UserError, match="head"):
        RewardHeadConfig(**fields)
