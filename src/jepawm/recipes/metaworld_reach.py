"""Metaworld reach: one learned token for the image, the hand's own position beside it."""

from dataclasses import replace

from jepawm.envs.metaworld_policy import MetaworldExplorer
from jepawm.evaluation.protocols import Protocol
from jepawm.experiment import AgentConfig, DataConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.planning.cem import CEM
from jepawm.recipes.small import SMALL

METAWORLD_REACH = replace(
    SMALL,
    name="metaworld_reach",
    env="metaworld_reach",
    predictor=replace(SMALL.predictor, window=2, visual_dim=112),
    proprio=ProprioConfig(mode="feature", dim=16),
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
