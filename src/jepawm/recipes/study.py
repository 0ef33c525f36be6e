"""Bases of the study: small models that leave room for better and worse, of one token or of a grid.

From pictures alone, with a context of three frames and a rollout of two steps, as the paper's ablations
start. Each trains in minutes on one core; docs/lab/grid.md says how the settings were found.
"""

from dataclasses import replace

from jepawm.envs.pointmaze.policy import RandomPointMaze
from jepawm.experiment import AgentConfig, DataConfig
from jepawm.models.predictor import PredictorConfig
from jepawm.planning.cem import CEM
from jepawm.proposals import NO_PROPOSALS
from jepawm.protocol import PROTOCOLS, Protocol
from jepawm.recipes.wall import WALL

REPLAN = Protocol(name="replan", num_action_steps=2)
"""The paper's episode of 30 steps with a plan every 10: what only several frames tell comes to count."""

STUDY_TOKEN = replace(
    WALL,
    name="study_token",
    encoder=replace(WALL.encoder, image_size=32),
    predictor=PredictorConfig(
        window=3, depth=3, visual_dim=128, num_heads=4, head_dim=32, residual=True
    ),
    loss=replace(
        WALL.loss,
        rollout_steps=2,
        rollout_gradient="last",
        num_directions=16,
        temporal_weight=1.0,
        inverse_dynamics_weight=0.3,
    ),
    optim=replace(WALL.optim, num_steps=500, batch_size=32, learning_rate=1.5e-3),
    data=DataConfig(num_episodes=600, num_steps=7),
    planner=CEM(num_samples=64, num_elites=8, num_iterations=6),
    agent=AgentConfig(window=2),
    proposals=NO_PROPOSALS,
    protocols=(REPLAN, *PROTOCOLS.values()),
)
"""Wall, one token."""

STUDY_GRID = replace(
    STUDY_TOKEN,
    name="study_grid",
    encoder=replace(STUDY_TOKEN.encoder, dim=16, grid=4, reduction=8),
    predictor=replace(STUDY_TOKEN.predictor, depth=2, visual_dim=64, head_dim=16),
    optim=replace(STUDY_TOKEN.optim, num_steps=1000),
)
"""Wall, 4 x 4 tokens: each sees most of the picture. A price on change keeps them from varying sharply
from place to place, where the cost of a plan would be flat beyond the next cell."""

_POINTMAZE = DataConfig(num_episodes=600, episode_steps=100, num_steps=4, policy=RandomPointMaze())

STUDY_TOKEN_POINTMAZE = replace(
    STUDY_TOKEN,
    name="study_token_pointmaze",
    env="pointmaze",
    loss=replace(STUDY_TOKEN.loss, temporal_weight=0.3),
    optim=replace(STUDY_TOKEN.optim, num_steps=1500, batch_size=64),
    data=_POINTMAZE,
)
"""PointMaze, one token. No frame shows the ball's velocity: it comes from two. More and shorter windows
in a step than on Wall, and more steps: what is to be predicted is finer."""

STUDY_GRID_POINTMAZE = replace(
    STUDY_GRID,
    name="study_grid_pointmaze",
    env="pointmaze",
    optim=replace(STUDY_TOKEN_POINTMAZE.optim, num_steps=1700, learning_rate=2.5e-3),
    data=_POINTMAZE,
)
"""PointMaze, 4 x 4 tokens."""
