"""PointMaze: one learned token for the ball's place, proprioception for its velocity."""

from jepawm.envs.pointmaze_policy import RandomPointMaze
from jepawm.experiment import AgentConfig, DataConfig, Experiment
from jepawm.models.encoders import EncoderConfig
from jepawm.models.predictor import PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.planning.objectives import LatentDistance
from jepawm.training.losses import LossConfig
from jepawm.training.optim import OptimConfig

POINTMAZE = Experiment(
    name="pointmaze",
    env="pointmaze",
    encoder=EncoderConfig(family="conv", size="S", dim=32, grid=1, image_size=32),
    predictor=PredictorConfig(
        conditioning="adaln",
        positions="rope",
        window=1,
        depth=3,
        visual_dim=128,
        num_heads=4,
        residual=True,
    ),
    proprio=ProprioConfig(mode="feature", dim=16),
    loss=LossConfig(
        rollout_steps=6,
        rollout_gradient="all",
        target_gradient="all",
        regularizer="sigreg",
        regularizer_weight=0.01,
        num_directions=64,
        inverse_dynamics_weight=1.0,
    ),
    optim=OptimConfig(
        num_steps=4400,
        batch_size=128,
        learning_rate=2e-3,
        weight_decay=1e-4,
        final_weight_decay=1e-4,
    ),
    data=DataConfig(num_episodes=2000, episode_steps=100, num_steps=6, policy=RandomPointMaze()),
    objective=LatentDistance(proprio_weight=0.0),
    agent=AgentConfig(window=1),
)
"""A frame tells the place of the ball and proprioception its velocity, so one observation is enough
context."""
