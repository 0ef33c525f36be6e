"""V-JEPA-2-AC at its size: frozen V-JEPA 2 g, action tokens, L1 loss with full gradients."""

from dataclasses import replace

from jepawm.hub.reference import predictor_config
from jepawm.models.frozen_encoders import FrozenEncoderConfig
from jepawm.recipes.jepa_wm import DROID_DATA, DROID_STEPS, JEPA_WM_DROID
from jepawm.training.losses import LossConfig
from jepawm.training.optim import OptimConfig

VJEPA2_AC_DROID = replace(
    JEPA_WM_DROID,
    name="vjepa2_ac_droid",
    encoder=FrozenEncoderConfig(family="vjepa2", size="g", image_size=256, normalize_output=True),
    predictor=predictor_config(
        "vjepa2_ac", depth=24, num_heads=16, head_dim=64, visual_dim=1024, window=8
    ),
    loss=LossConfig(
        rollout_steps=2,
        rollout_prefix="first",
        rollout_gradient="all",
        rollout_window=8,
        metric="l1",
        proprio=False,
    ),
    optim=OptimConfig(
        num_steps=DROID_STEPS,
        batch_size=256,
        learning_rate=4.25e-4,
        schedule="wsd",
        initial_learning_rate=7.5e-5,
        warmup_steps=15 * 300,
        anneal_steps=15 * 300,
        weight_decay=0.04,
        final_weight_decay=0.04,
        clip_norm=0.0,
    ),
    data=replace(DROID_DATA, num_steps=7),
)
"""Windows of eight frames; warm-up and decay take 15 epochs each."""
