"""The models of the paper at their size: JEPA-WM, DINO-WM and V-JEPA-2-AC on frozen encoders.

Encoder, predictor, loss and planner are those of the released models (`hub/released.py`); here is
how they are trained: data, batch, schedule, length.
"""

from dataclasses import replace

from jepawm.envs.pointmaze.policy import RandomPointMaze
from jepawm.experiment import DataConfig, Experiment
from jepawm.hub.released import released_experiment
from jepawm.training.optim import OptimConfig

WALL = DataConfig(num_episodes=1920, episode_steps=50)
POINTMAZE = DataConfig(num_episodes=2000, episode_steps=100, policy=RandomPointMaze())
PUSHT = DataConfig(store="pusht_noise", num_episodes=18_500, episode_steps=200)
"""Imported; its episodes have 100 to 300 steps, here is the middle (for `--dry-run`)."""
METAWORLD = DataConfig(store="metaworld", num_episodes=12_600, episode_steps=100)
"""Imported: 42 tasks."""
DROID = DataConfig(store="droid", num_episodes=8000, episode_steps=35, normalize=False)
"""Imported at 4 frames per second; its episodes have 20 to 50 steps, here is the middle."""

LARGE_BATCH = OptimConfig(
    num_epochs=50, batch_size=256, learning_rate=5e-4, schedule="constant", warmup_steps=0
)
SMALL_BATCH = replace(LARGE_BATCH, batch_size=128)
DROID_STEPS = replace(LARGE_BATCH, num_epochs=None, num_steps=315 * 300)
"""315 epochs of 300 steps."""
WARM_UP_STABLE_DECAY = OptimConfig(
    num_steps=315 * 300,
    batch_size=256,
    learning_rate=4.25e-4,
    schedule="wsd",
    initial_learning_rate=7.5e-5,
    warmup_steps=15 * 300,
    anneal_steps=15 * 300,
    weight_decay=0.04,
    final_weight_decay=0.04,
    clip_norm=0.0,
)
"""Warm-up and decay take 15 epochs each."""


def _recipe(name: str, data: DataConfig, *, optim: OptimConfig) -> Experiment:
    released = released_experiment(name)
    shape = released.data  # what the model fixes: size of the frames, length and pace of a window
    data = replace(
        data,
        image_size=shape.image_size,
        num_steps=shape.num_steps,
        frameskip=shape.frameskip,
    )
    return replace(released, data=data, optim=optim)


JEPA_WM_WALL = _recipe("jepa_wm_wall", WALL, optim=SMALL_BATCH)
JEPA_WM_POINTMAZE = _recipe("jepa_wm_pointmaze", POINTMAZE, optim=SMALL_BATCH)
JEPA_WM_PUSHT = _recipe("jepa_wm_pusht", PUSHT, optim=LARGE_BATCH)
JEPA_WM_METAWORLD = _recipe("jepa_wm_metaworld", METAWORLD, optim=LARGE_BATCH)
JEPA_WM_DROID = _recipe("jepa_wm_droid", DROID, optim=replace(DROID_STEPS, beta2=0.995))

DINO_WM_WALL = _recipe("dino_wm_wall", WALL, optim=SMALL_BATCH)
DINO_WM_POINTMAZE = _recipe("dino_wm_pointmaze", POINTMAZE, optim=SMALL_BATCH)
DINO_WM_PUSHT = _recipe("dino_wm_pusht", PUSHT, optim=LARGE_BATCH)
DINO_WM_METAWORLD = _recipe("dino_wm_metaworld", METAWORLD, optim=LARGE_BATCH)
DINO_WM_DROID = _recipe("dino_wm_droid", DROID, optim=replace(DROID_STEPS, batch_size=128))

VJEPA2_AC_DROID = _recipe("vjepa2_ac_droid", DROID, optim=WARM_UP_STABLE_DECAY)
