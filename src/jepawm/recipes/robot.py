"""Robot: a user's own recordings, without a simulator; `jepawm train robot --data RECORDINGS`."""

from dataclasses import replace

from jepawm.data.augmentation import AugmentationConfig
from jepawm.envs import RECORDINGS
from jepawm.experiment import DataConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.planning.gradient import GradientDescent
from jepawm.planning.objectives import LatentDistance
from jepawm.proposals import NO_PROPOSALS
from jepawm.recipes.wall import WALL

ROBOT = replace(
    WALL,
    name="robot",
    env=RECORDINGS,
    predictor=replace(WALL.predictor, output_scale=0.0, action_limit=3.0),
    proprio=ProprioConfig(mode="feature", dim=32, limit=3.0),
    loss=replace(WALL.loss, hide_cameras=0.25),
    optim=replace(
        WALL.optim, num_steps=120, batch_size=64, weight_decay=0.05, final_weight_decay=0.05
    ),
    data=DataConfig(
        num_steps=6,
        episode_steps=300,
        held_out=2,
        train_fraction=0.8,
        actions=("auto",),
        augmentation=AugmentationConfig(shift=4, color=0.2, action_noise=0.5, proprio_noise=0.5),
    ),
    objective=LatentDistance(proprio_weight=1.0),
    planner=GradientDescent(num_starts=1, num_iterations=10, learning_rate=0.1),
    agent=replace(WALL.agent, action_bounds=(3.0,)),
    protocols=(),
    proposals=NO_PROPOSALS,
)
"""Recordings at 30 frames per second give steps of a sixth of a second. Few episodes are soon learned by
heart: training is short and varied, predictions start as copies, and what is far outside the data
counts as its edge. Actions are taken in the form that makes them smallest, so that a plan starts at "hold",
stays near it, and within what the model tells apart (`action_limit`)."""
