"""Push-T: one learned token for block and agent, proprioception for the agent's own state."""

from jepawm.envs.pusht_policy import PushTReplays
from jepawm.experiment import AgentConfig, DataConfig, Experiment
from jepawm.models.encoders import EncoderConfig
from jepawm.models.predictor import PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.training.losses import LossConfig
from jepawm.training.optim import OptimConfig

PUSHT = Experiment(
    name="pusht",
    env="pusht",
    encoder=EncoderConfig(family="conv", size="S", dim=64, grid=1, image_size=64, reduction=8),
    predictor=PredictorConfig(
        conditioning="adaln",
        positions="rope",
        window=1,
        depth=3,
        visual_dim=192,
        num_heads=4,
        residual=True,
    ),
    proprio=ProprioConfig(mode="feature", dim=16),
    loss=LossConfig(
        rollout_steps=4,
        rollout_gradient="all",
        target_gradient="all",
        regularizer="sigreg",
        regularizer_weight=0.1,
        num_directions=64,
        inverse_dynamics_weight=0.3,
    ),
    optim=OptimConfig(
        num_steps=7000,
        batch_size=128,
        learning_rate=2e-3,
        weight_decay=1e-4,
        final_weight_decay=1e-4,
    ),
    data=DataConfig(num_episodes=2000, episode_steps=300, num_steps=4, policy=PushTReplays()),
    agent=AgentConfig(window=1),
)
"""A frame tells where agent and block are; the agent's velocity comes from proprioception."""
