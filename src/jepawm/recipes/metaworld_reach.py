"""Metaworld reach: one learned token for the image, the hand's own position beside it."""

from dataclasses import replace

from jepawm.envs.metaworld.policy import MetaworldExplorer
from jepawm.experiment import AgentConfig, DataConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.planning.cem import CEM
from jepawm.planning.objectives import LatentDistance
from jepawm.proposals import NO_PROPOSALS
from jepawm.protocol import Protocol
from jepawm.recipes.wall import WALL

METAWORLD_REACH = replace(
    WALL,
    name="metaworld_reach",
    env="metaworld_reach",
    encoder=replace(WALL.encoder, image_size=32),
    predictor=replace(WALL.predictor, window=2, depth=2, visual_dim=112),
    proprio=ProprioConfig(mode="feature", dim=16),
    loss=replace(WALL.loss, rollout_steps=4, proprio_weight=100.0, proprio_gradient=False),
    optim=replace(WALL.optim, num_steps=4000, batch_size=64, learning_rate=1.5e-3),
    data=DataConfig(num_episodes=500, episode_steps=100, num_steps=6, policy=MetaworldExplorer()),
    objective=LatentDistance(proprio_weight=30.0),
    planner=CEM(num_iterations=15),
    agent=AgentConfig(window=2),
    proposals=NO_PROPOSALS,
    protocols=(
        Protocol(
            name="paper",
            num_action_steps=3,
            max_env_steps=100,
            oracle_samples=32,
            oracle_iterations=6,
        ),
    ),
)
"""The hand follows what it is asked for with a delay, so the frame before counts: one observation
predicts where it is after the next block to 10 mm, two to 2 mm. Proprioception weighs much in the loss
and in the cost, because success is a matter of millimetres. Every 15 steps a new plan, as in the
paper. The oracle simulates 32 candidates 6 times, a 23rd of the model's: all would take an hour."""
