"""Push-T: one learned token for block and agent, proprioception for the agent's own state."""

from dataclasses import replace

from jepawm.envs.pusht.policy import PushTReplays
from jepawm.experiment import DataConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.planning.objectives import LatentDistance
from jepawm.proposals import NO_PROPOSALS
from jepawm.protocol import PROTOCOLS, Protocol
from jepawm.recipes.wall import WALL
from jepawm.training.devices import ComputeConfig

_PROTOCOLS = (
    *PROTOCOLS.values(),
    Protocol(  # LeWorldModel's
        name="anytime",
        horizon=5,
        num_action_steps=5,
        max_env_steps=50,
        goal_steps=25,
        success="any",
    ),
)

PUSHT = replace(
    WALL,
    name="pusht",
    env="pusht",
    encoder=replace(WALL.encoder, dim=16, reduction=8),
    predictor=replace(WALL.predictor, visual_dim=112, hidden_dim=256, output_scale=0.0),
    proprio=ProprioConfig(mode="feature", dim=16),
    loss=replace(
        WALL.loss,
        rollout_steps=3,
        regularizer_weight=0.1,
        temporal_weight=2.0,
        inverse_dynamics_weight=0.0,
        proprio_weight=3.0,
        proprio_gradient=False,
    ),
    optim=replace(WALL.optim, num_steps=32000, encoder_steps=14000),
    compute=ComputeConfig(precision="bfloat16"),
    proposals=NO_PROPOSALS,
    protocols=tuple(replace(one, oracle_samples=64, oracle_iterations=8) for one in _PROTOCOLS),
    objective=LatentDistance(proprio_weight=4.0),
    data=DataConfig(
        num_episodes=4000, episode_steps=300, num_steps=3, policy=PushTReplays(moved=0.6)
    ),
)
"""A frame shows where agent and block are; the agent's velocity comes from proprioception. Without
inverse dynamics and with a price on change the token holds the block, which moves least; the agent is
in the proprioception. Moved scenes show the encoder places where no demonstration went. The oracle simulates 64 candidates 8 times, an 18th of the model's: all would
take 20 minutes."""
