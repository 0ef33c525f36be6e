"""Push-T: one learned token for block and agent, proprioception for the agent's own state."""

from dataclasses import replace

from jepawm.envs.pusht_policy import PushTReplays
from jepawm.experiment import DataConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.recipes.small import SMALL

PUSHT = replace(
    SMALL,
    name="pusht",
    env="pusht",
    encoder=replace(SMALL.encoder, dim=64, reduction=8),
    predictor=replace(SMALL.predictor, visual_dim=192),
    proprio=ProprioConfig(mode="feature", dim=16),
    loss=replace(SMALL.loss, rollout_steps=4, regularizer_weight=0.1, inverse_dynamics_weight=0.3),
    optim=replace(SMALL.optim, num_steps=7000),
    data=DataConfig(num_episodes=2000, episode_steps=300, num_steps=4, policy=PushTReplays()),
)
"""A frame tells where agent and block are; the agent's velocity comes from proprioception."""
