"""Robot: a user's own recordings, without a simulator; `jepawm train robot --data RECORDINGS`."""

from jepawm.envs import RECORDINGS
from jepawm.experiment import AgentConfig, DataConfig, Experiment
from jepawm.models.encoders import EncoderConfig
from jepawm.models.predictor import PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.planning.gradient import Adam
from jepawm.planning.objectives import LatentDistance
from jepawm.training.losses import LossConfig
from jepawm.training.optim import OptimConfig

ROBOT = Experiment(
    name="robot",
    env=RECORDINGS,
    encoder=EncoderConfig(family="conv", size="S", dim=32, grid=1, image_size=64),
    predictor=PredictorConfig(
        conditioning="adaln",
        positions="rope",
        window=1,
        depth=3,
        visual_dim=128,
        num_heads=4,
        residual=True,
    ),
    proprio=ProprioConfig(mode="feature", dim=32),
    loss=LossConfig(
        rollout_steps=6,
        rollout_gradient="all",
        target_gradient="all",
        regularizer="sigreg",
        regularizer_weight=0.005,
        num_directions=64,
        inverse_dynamics_weight=1.0,
    ),
    optim=OptimConfig(
        num_steps=300,
        batch_size=128,
        learning_rate=2e-3,
        weight_decay=0.05,
        final_weight_decay=0.05,
    ),
    data=DataConfig(num_steps=6, episode_steps=300, held_out=2, train_fraction=0.8),
    objective=LatentDistance(proprio_weight=1.0),
    planner=Adam(num_starts=1, num_iterations=10, learning_rate=0.1),
    agent=AgentConfig(window=1),
    protocols=(),
)
"""Recordings at 30 frames per second give steps of a sixth of a second. Few episodes are soon learned by
heart, so training is short; a plan starts at the mean action and stays near it."""
