"""The paper's recipe against its baselines, in small: three models of one size for five environments.

They differ in what the paper says that they differ in: how actions enter and where tokens are, what
training minimises, and whether proprioception counts in the cost. Encoder, data, steps and number of
weights are the same.
"""

from dataclasses import replace

from jepawm.experiment import AgentConfig, Experiment
from jepawm.models.encoders import EncoderConfig
from jepawm.models.predictor import PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.planning.cem import CEM
from jepawm.planning.objectives import LatentDistance
from jepawm.proposals import NO_PROPOSALS
from jepawm.recipes.metaworld_reach import METAWORLD_REACH
from jepawm.recipes.metaworld_reach_wall import METAWORLD_REACH_WALL
from jepawm.recipes.pointmaze import POINTMAZE
from jepawm.recipes.pusht import PUSHT
from jepawm.recipes.wall import WALL
from jepawm.training.losses import LossConfig
from jepawm.training.optim import OptimConfig

_NUM_STEPS, _WINDOW = 3, 3
_NUM_EPISODES = 1000  # at most
_ENCODER = EncoderConfig(family="conv", dim=16, grid=4, image_size=32, reduction=8)
_LEAST_TEMPORAL_WEIGHT = 1.0  # without a price on change grids hardly plan, docs/lab/grid.md
_ONE_PLAN = CEM(num_samples=128, num_iterations=10)
_MANY_PLANS = CEM(num_samples=64, num_iterations=8)  # an episode of Metaworld has seven
_OPTIM = OptimConfig(
    num_steps=1000,
    batch_size=64,
    learning_rate=1.5e-3,
    weight_decay=1e-4,
    final_weight_decay=1e-4,
)


def small_dino_wm(base: Experiment) -> Experiment:
    """Return DINO-WM in small: actions as channels, sine-cosine positions, teacher forcing alone."""
    return _small(
        base,
        name="small_dino_wm",
        predictor=PredictorConfig(
            conditioning="feature", positions="sincos", visual_dim=70, hidden_dim=410
        ),
        proprio=ProprioConfig(mode="feature", dim=16),
        loss=replace(base.loss, rollout_steps=1, rollout_gradient="last"),
        proprio_weight=0.0,
    )


def small_vjepa2_ac(base: Experiment) -> Experiment:
    """Return V-JEPA-2-AC in small: action and state as tokens, L1, two steps with full gradients."""
    return _small(
        base,
        name="small_vjepa2_ac",
        predictor=PredictorConfig(
            conditioning="sequence", positions="rope", visual_dim=96, hidden_dim=407
        ),
        proprio=ProprioConfig(mode="token"),
        loss=replace(
            base.loss,
            rollout_steps=2,
            rollout_gradient="all",
            rollout_prefix="first",
            rollout_proprio="true",
            metric="l1",
            proprio=False,
        ),
        proprio_weight=0.0,
    )


def small_jepa_wm(base: Experiment, *, proprio_weight: float = 0.1) -> Experiment:
    """Return JEPA-WM in small: AdaLN, rotary positions, two steps whose last one has gradients.

    Proprioception counts in the cost with the weight of the paper, or with that of the environment's
    own recipe where its codes hardly show what counts.
    """
    return _small(
        base,
        name="small_jepa_wm",
        predictor=PredictorConfig(conditioning="adaln", positions="rope", visual_dim=64),
        proprio=ProprioConfig(mode="feature", dim=16),
        loss=replace(base.loss, rollout_steps=2, rollout_gradient="last"),
        proprio_weight=proprio_weight,
    )


def _small(
    base: Experiment,
    *,
    name: str,
    predictor: PredictorConfig,
    proprio: ProprioConfig,
    loss: LossConfig,
    proprio_weight: float,
) -> Experiment:
    """Put a model in the place of that of a recipe; data, protocols and anti-collapse terms stay."""
    return replace(
        base,
        name=f"{name}_{base.name}",
        encoder=_ENCODER,
        predictor=replace(predictor, window=_WINDOW, depth=3, num_heads=4, residual=True),
        proprio=proprio,
        loss=replace(
            loss,
            num_directions=16,
            temporal_weight=max(loss.temporal_weight, _LEAST_TEMPORAL_WEIGHT),
            inverse_dynamics_weight=min(loss.inverse_dynamics_weight, 0.3),
        ),
        optim=_OPTIM,
        compute=WALL.compute,
        data=replace(
            base.data,
            num_steps=_NUM_STEPS,
            num_episodes=min(base.data.num_episodes, _NUM_EPISODES),
        ),
        objective=LatentDistance(proprio_weight=proprio_weight),
        planner=_MANY_PLANS if base.env.startswith("metaworld") else _ONE_PLAN,
        agent=AgentConfig(window=2),
        proposals=NO_PROPOSALS,
    )


SMALL_DINO_WM_WALL = small_dino_wm(WALL)
SMALL_DINO_WM_POINTMAZE = small_dino_wm(POINTMAZE)
SMALL_DINO_WM_PUSHT = small_dino_wm(PUSHT)
SMALL_DINO_WM_METAWORLD_REACH = small_dino_wm(METAWORLD_REACH)
SMALL_DINO_WM_METAWORLD_REACH_WALL = small_dino_wm(METAWORLD_REACH_WALL)

SMALL_VJEPA2_AC_WALL = small_vjepa2_ac(WALL)
SMALL_VJEPA2_AC_POINTMAZE = small_vjepa2_ac(POINTMAZE)
SMALL_VJEPA2_AC_PUSHT = small_vjepa2_ac(PUSHT)
SMALL_VJEPA2_AC_METAWORLD_REACH = small_vjepa2_ac(METAWORLD_REACH)
SMALL_VJEPA2_AC_METAWORLD_REACH_WALL = small_vjepa2_ac(METAWORLD_REACH_WALL)

SMALL_JEPA_WM_WALL = small_jepa_wm(WALL)
SMALL_JEPA_WM_POINTMAZE = small_jepa_wm(POINTMAZE)
SMALL_JEPA_WM_PUSHT = small_jepa_wm(PUSHT, proprio_weight=4.0)
SMALL_JEPA_WM_METAWORLD_REACH = small_jepa_wm(METAWORLD_REACH, proprio_weight=30.0)
SMALL_JEPA_WM_METAWORLD_REACH_WALL = small_jepa_wm(METAWORLD_REACH_WALL, proprio_weight=30.0)
