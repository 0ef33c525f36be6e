"""PointMaze: one learned token for the ball's place, proprioception for its velocity."""

from dataclasses import replace

from jepawm.envs.pointmaze.policy import RandomPointMaze
from jepawm.experiment import DataConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.planning.objectives import LatentDistance
from jepawm.planning.presets import find_preset
from jepawm.proposals import ProposalConfig, ProposerConfig, VerifyConfig
from jepawm.recipes.wall import WALL

POINTMAZE = replace(
    WALL,
    name="pointmaze",
    env="pointmaze",
    encoder=replace(WALL.encoder, image_size=32),
    proprio=ProprioConfig(mode="feature", dim=16),
    loss=replace(WALL.loss, regularizer_weight=0.01),
    optim=replace(WALL.optim, num_steps=4400),
    data=DataConfig(num_episodes=2000, episode_steps=100, num_steps=6, policy=RandomPointMaze()),
    objective=LatentDistance(proprio_weight=0.0),
    planner=find_preset("fast", frameskip=5),
    proposals=ProposalConfig(
        proposer=ProposerConfig(num_plans=8, width=256),
        other_goals=0.0,
        verify=VerifyConfig(num_refined=0),  # gains nothing here, docs/lab/proposals.md
    ),
)
"""A frame shows the place of the ball and proprioception holds its velocity, so one observation is enough
context. Only places cost: with the velocity in the cost, plans end where it fits."""
