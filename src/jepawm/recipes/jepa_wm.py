"""JEPA-WM at the paper's size: frozen DINO tokens, AdaLN predictor, proprioception, two-step loss."""

from dataclasses import replace

from jepawm.envs.pointmaze_policy import RandomPointMaze
from jepawm.experiment import AgentConfig, DataConfig, Experiment
from jepawm.hub.reference import predictor_config
from jepawm.models.frozen_encoders import FrozenEncoderConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.planning.cem import CEM
from jepawm.planning.objectives import LatentDistance
from jepawm.training.losses import LossConfig
from jepawm.training.optim import OptimConfig

WALL_DATA = DataConfig(num_episodes=1920, episode_steps=50, image_size=224)
POINTMAZE_DATA = DataConfig(
    num_episodes=2000, episode_steps=100, image_size=224, policy=RandomPointMaze()
)
PUSHT_DATA = DataConfig(store="pusht_noise", num_episodes=18_500, episode_steps=200, image_size=224)
"""Imported; its episodes have 100 to 300 steps, here is the middle."""
METAWORLD_DATA = DataConfig(
    store="metaworld", num_episodes=12_600, episode_steps=100, image_size=224
)
"""Imported: 42 tasks."""
DROID_DATA = DataConfig(
    store="droid",
    num_episodes=8000,
    episode_steps=35,
    image_size=256,
    frameskip=1,
    normalize=False,
)
"""Imported at 4 frames per second; its episodes have 20 to 50 steps, here is the middle."""

PAPER_OPTIM = OptimConfig(
    num_epochs=50, batch_size=256, learning_rate=5e-4, schedule="constant", warmup_steps=0
)
DROID_STEPS = 315 * 300
"""Epochs of 300 steps each."""

JEPA_WM_WALL = Experiment(
    name="jepa_wm_wall",
    env="wall",
    seed=234,
    encoder=FrozenEncoderConfig(family="dinov2", size="S", image_size=224),
    predictor=predictor_config(
        "AdaLN", depth=6, num_heads=16, head_dim=25, visual_dim=384, window=3
    ),
    proprio=ProprioConfig(mode="feature", dim=16),
    loss=LossConfig(rollout_steps=2, rollout_gradient="last", rollout_window=3),
    optim=replace(PAPER_OPTIM, batch_size=128),
    data=WALL_DATA,
    planner=CEM(num_samples=300, num_elites=10, num_iterations=30),
    agent=AgentConfig(window=2),
)
"""The other recipes of the family differ from this one as they say."""

JEPA_WM_POINTMAZE = replace(
    JEPA_WM_WALL, name="jepa_wm_pointmaze", env="pointmaze", data=POINTMAZE_DATA
)
JEPA_WM_PUSHT = replace(
    JEPA_WM_WALL, name="jepa_wm_pusht", env="pusht", optim=PAPER_OPTIM, data=PUSHT_DATA
)
JEPA_WM_METAWORLD = replace(
    JEPA_WM_WALL,
    name="jepa_wm_metaworld",
    env="metaworld_reach",
    optim=PAPER_OPTIM,
    data=METAWORLD_DATA,
    planner=CEM(num_samples=300, num_elites=10, num_iterations=15),
)
JEPA_WM_DROID = replace(
    JEPA_WM_WALL,
    name="jepa_wm_droid",
    env="droid",
    encoder=FrozenEncoderConfig(family="dinov3", size="L", image_size=256),
    predictor=predictor_config(
        "AdaLN", depth=12, num_heads=16, head_dim=64, visual_dim=1024, window=3
    ),
    proprio=ProprioConfig(mode="none"),
    optim=replace(PAPER_OPTIM, num_epochs=None, num_steps=DROID_STEPS, beta2=0.995),
    data=DROID_DATA,
    objective=LatentDistance(proprio_weight=0.0),
    planner=CEM(num_samples=300, num_elites=10, num_iterations=15, init_std=0.1),
    protocols=(),
)
"""There is no environment of DROID: it is planned offline, on recorded episodes."""
