"""Metaworld reach: one learned token for the image, the hand's own position beside it."""

from jepawm.envs.metaworld_policy import MetaworldExplorer
from jepawm.evaluation.protocols import Protocol
from jepawm.experiment import AgentConfig, DataConfig, Experiment
from jepawm.models.encoders import EncoderConfig
from jepawm.models.predictor import PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.planning.cem import CEM
from jepawm.training.losses import LossConfig
from jepawm.training.optim import OptimConfig

METAWORLD_REACH = Experiment(
    name="metaworld_reach",
    env="metaworld_reach",
    encoder=EncoderConfig(family="conv", size="S", dim=32, grid=1, image_size=64),
    predictor=PredictorConfig(
        conditioning="adaln",
        positions="rope",
        window=2,
        depth=3,
        visual_dim=112,
        num_heads=4,
        residual=True,
    ),
    proprio=ProprioConfig(mode="feature", dim=16),
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
    data=DataConfig(num_episodes=500, episode_steps=100, num_steps=6, policy=MetaworldExplorer()),
    planner=CEM(num_iterations=15),
    agent=AgentConfig(window=2),
    protocols=(
        Protocol(
            name="paper",
            num_action_steps=3,
            max_env_steps=100,
            oracle_samples=64,
            oracle_iterations=8,
        ),
    ),
)
"""The hand follows what it is asked for with a delay, so the action before counts: two frames of
context. Every 15 steps a new plan, as in the paper. The oracle simulates 64 candidates 8 times, a
ninth of the model's: with all it would take an hour."""
