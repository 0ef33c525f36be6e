"""DINO-WM at the size of its retraining in the paper: codes join the channels of frozen tokens."""

from dataclasses import replace

from jepawm.hub.reference import predictor_config
from jepawm.models.frozen_encoders import FrozenEncoderConfig
from jepawm.models.predictor import PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.recipes.jepa_wm import (
    DROID_STEPS,
    JEPA_WM_DROID,
    JEPA_WM_METAWORLD,
    JEPA_WM_POINTMAZE,
    JEPA_WM_PUSHT,
    JEPA_WM_WALL,
)
from jepawm.training.losses import LossConfig

_ENCODER = FrozenEncoderConfig(family="dinov2", size="S", image_size=224, normalization="half")
_LOSS = LossConfig(rollout_steps=1)


def _predictor(action_dim: int) -> PredictorConfig:
    config = predictor_config(
        "dino_wm",
        depth=6,
        num_heads=16,
        head_dim=64,
        visual_dim=384,
        window=4,  # rows of the position table; training and planning use at most three frames
        action_code_dim=action_dim,
        hidden_dim=2048,
    )
    return replace(config, dropout=0.1)


DINO_WM_WALL = replace(
    JEPA_WM_WALL,
    name="dino_wm_wall",
    encoder=_ENCODER,
    predictor=_predictor(10),
    proprio=ProprioConfig(mode="feature", dim=10),
    loss=_LOSS,
)
DINO_WM_POINTMAZE = replace(
    JEPA_WM_POINTMAZE,
    name="dino_wm_pointmaze",
    encoder=_ENCODER,
    predictor=_predictor(10),
    proprio=ProprioConfig(mode="feature", dim=20),
    loss=_LOSS,
)
DINO_WM_PUSHT = replace(
    JEPA_WM_PUSHT,
    name="dino_wm_pusht",
    encoder=_ENCODER,
    predictor=_predictor(10),
    proprio=ProprioConfig(mode="feature", dim=20),
    loss=_LOSS,
)
DINO_WM_METAWORLD = replace(
    JEPA_WM_METAWORLD,
    name="dino_wm_metaworld",
    encoder=_ENCODER,
    predictor=_predictor(20),
    proprio=ProprioConfig(mode="feature", dim=20),
    loss=_LOSS,
)
DINO_WM_DROID = replace(
    JEPA_WM_DROID,
    name="dino_wm_droid",
    encoder=_ENCODER,
    predictor=_predictor(10),
    loss=_LOSS,
    optim=replace(JEPA_WM_DROID.optim, num_steps=DROID_STEPS, batch_size=128, beta2=0.999),
)
