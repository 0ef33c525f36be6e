"""Wall: one learned token for the whole image, trained in minutes on two CPU cores.

The other recipes for two cores start from this one.
"""

from jepawm.experiment import AgentConfig, DataConfig, Experiment
from jepawm.models.encoders import EncoderConfig
from jepawm.models.predictor import PredictorConfig
from jepawm.proposals import ProposalConfig
from jepawm.training.losses import LossConfig
from jepawm.training.optim import OptimConfig

WALL = Experiment(
    name="wall",
    env="wall",
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
        num_steps=1500,
        batch_size=128,
        learning_rate=2e-3,
        weight_decay=1e-4,
        final_weight_decay=1e-4,
    ),
    data=DataConfig(num_steps=6),
    agent=AgentConfig(window=1),
    proposals=ProposalConfig(),
)
"""Six-step rollouts with full gradients train what the planner uses. The position of the dot tells all
(no velocity), so one observation is enough context."""
