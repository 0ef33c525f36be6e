"""What the values of each axis set, and what a base lacks for an axis to mean anything."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

from jepawm.contracts import BuildsEncoder, Planner
from jepawm.experiment import Experiment
from jepawm.models.encoders import EncoderConfig
from jepawm.models.frozen.encoder import (
    FrozenEncoderConfig,
    SmallViTConfig,
    TimmEncoderConfig,
    efficientnet_lite0,
)
from jepawm.models.layout import layout_only
from jepawm.planning.ask_tell import Nevergrad
from jepawm.planning.cem import CEM
from jepawm.planning.gradient import FAST, Adam
from jepawm.planning.objectives import LatentDistance
from jepawm.planning.reference_gradient import ReferenceAdam, ReferenceGD
from jepawm.recipes import RECIPES
from jepawm.study.axes import Value
from jepawm.study.setup import PRETRAINED, Settings, Setup

NOISY = "noisy:"
"""What the name of a noisy environment begins with."""
RECIPE_FAMILIES = ("small_dino_wm", "small_vjepa2_ac", "small_jepa_wm")
"""Recipes of equal size, data and steps, by what their names begin with."""
RECIPE_FIELDS = ("predictor", "proprio", "loss", "objective")
"""In what these recipes differ."""
PAPER_CONTEXT = 2
"""Observations that the paper plans from."""
WIDTHS = {"S": 1.0, "B": 1.5, "L": 2.0}
"""Predictor width by the size of the encoder, over that of size S."""
ENCODER_NAMES = ("conv", "vit", "random", "efficientnet_lite0", "dino", "vjepa")
_LEARNED_ONLY = ("loss.inverse_dynamics_weight", "loss.temporal_weight")
_DEFAULT_WEIGHT = 0.05


def count_tokens(encoder: BuildsEncoder) -> int:
    """Return how many tokens an encoder makes of an image."""
    if isinstance(encoder, EncoderConfig):
        return encoder.grid**2
    if isinstance(encoder, FrozenEncoderConfig):
        return (encoder.image_size // encoder.shape.patch_size) ** 2
    with layout_only():
        return encoder.build().num_tokens


def plain_values(field: str, *contents: object) -> tuple[Value, ...]:
    """Return values that set one field to what they are called."""
    return tuple(
        Value(name=str(content), settings=lambda _, content=content: {field: content})
        for content in contents
    )


def with_long_windows(base: Setup, values: Sequence[Value]) -> Setup:
    """Return the base with training windows in which the largest of some numbers fits."""
    needed = max([base.experiment.data.num_steps, *(int(value.name) for value in values)])
    return base.with_settings({"data.num_steps": needed})


def set_window(steps: int) -> Callable[[Setup], Settings]:
    """Set W; a plan starts from two observations, the paper's number, where W allows them."""

    def settings(base: Setup) -> Settings:
        context = min(max(base.experiment.agent.window, PAPER_CONTEXT), steps)
        return {"predictor.window": steps, "agent.window": context}

    return settings


def with_replanning(base: Setup, _values: Sequence[Value]) -> Setup:
    """Return the base with a plan after each block, where it planned once."""
    if base.protocol.num_plans > 1:
        return base
    return base.with_settings({"protocol.num_action_steps": 1})


def lack_of_window(base: Setup) -> str | None:
    """Say that a model sees one observation."""
    if base.experiment.predictor.window > 1:
        return None
    return "its model sees one observation (predictor.window = 1), so a plan cannot start from more"


def lack_of_tokens(base: Setup) -> str | None:
    """Say that an encoder makes one token."""
    if count_tokens(base.experiment.encoder) > 1:
        return None
    return (
        "its encoder makes one token of an image (encoder.grid = 1), and positions tell tokens "
        "of an image apart"
    )


def lack_of_rollouts(base: Setup) -> str | None:
    """Say that training has no rollouts."""
    if base.experiment.loss.rollout_steps > 1:
        return None
    return "it trains without rollouts (loss.rollout_steps = 1)"


def lack_of_learning(base: Setup) -> str | None:
    """Say that an encoder is not learned by this library."""
    if isinstance(base.experiment.encoder, EncoderConfig):
        return None
    return "its encoder is not one of the learned ones (encoder.family conv or vit)"


def lack_of_distance(base: Setup) -> str | None:
    """Say that the cost is no distance of latents."""
    if isinstance(base.experiment.objective, LatentDistance):
        return None
    return f"its cost is {type(base.experiment.objective).__name__}, no distance of latents"


def lack_of_proprio(base: Setup) -> str | None:
    """Say that there is no proprioception."""
    if base.experiment.proprio.mode != "none":
        return None
    return "it has no proprioception (proprio.mode = none), which a weight could count"


def lack_of_collection(base: Setup) -> str | None:
    """Say that the data are imported."""
    if base.experiment.data.store is None:
        return None
    return "its data are imported (data.store), and a part of them cannot be collected"


def set_size(name: str) -> Callable[[Setup], Settings]:
    """Set the encoder's size; the predictor's width follows it."""

    def settings(base: Setup) -> Settings:
        encoder, predictor = _learned(base.experiment), base.experiment.predictor
        width = predictor.visual_dim or encoder.dim
        heads = 2 * predictor.num_heads  # rotations turn pairs of numbers of a head
        scaled = round(width * WIDTHS[name] / WIDTHS[encoder.size] / heads) * heads
        return {
            "encoder.size": name,
            "predictor.visual_dim": width if name == encoder.size else scaled,
        }

    return settings


def _learned(experiment: Experiment) -> EncoderConfig:
    assert isinstance(experiment.encoder, EncoderConfig)  # `lacks` has asked
    return experiment.encoder


def set_regularizer(name: str, *, inverse: bool) -> Callable[[Setup], Settings]:
    """Set the anti-collapse term, and whether inverse dynamics stand beside it."""

    def settings(base: Setup) -> Settings:
        loss = base.experiment.loss
        own = loss.regularizer == name or name == "none"
        return {
            "loss.regularizer": name,
            "loss.regularizer_weight": loss.regularizer_weight if own else _DEFAULT_WEIGHT,
            "loss.inverse_dynamics_weight": (loss.inverse_dynamics_weight or 1.0) * inverse,
        }

    return settings


def set_data(percent: int) -> Callable[[Setup], Settings]:
    """Set the number of episodes to some per cent of the recipe's."""

    def settings(base: Setup) -> Settings:
        return {"data.num_episodes": max(2, base.experiment.data.num_episodes * percent // 100)}

    return settings


def set_encoder(name: str) -> Callable[[Setup], Settings]:
    """Set the encoder; terms of the loss that only learned ones need go with a frozen one."""

    def settings(base: Setup) -> Settings:
        encoder = _encoders(base)[name]()
        if isinstance(encoder, EncoderConfig):
            return {"encoder": encoder}
        return {"encoder": encoder, **dict.fromkeys(_LEARNED_ONLY, 0.0), "loss.regularizer": "none"}

    return settings


def _encoders(base: Setup) -> dict[str, Callable[[], BuildsEncoder]]:
    """Return what builds the configuration of each encoder, on the base's grid."""
    own = _learned(base.experiment)
    small = partial(
        SmallViTConfig,
        size=own.size,
        grid=own.grid,
        image_size=own.image_size,
        patch_size=own.patch_size,
    )
    return {
        "conv": partial(replace, own, family="conv"),
        "vit": partial(replace, own, family="vit"),
        "random": partial(small, weights=f"random:{base.experiment.seed}"),
        "efficientnet_lite0": lambda: efficientnet_on(own.grid),
        "dino": partial(small, weights=f"{PRETRAINED}dino"),
        "vjepa": partial(small, weights=f"{PRETRAINED}vjepa"),
    }


def efficientnet_on(grid: int) -> TimmEncoderConfig:
    """Return EfficientNet-Lite0 with a feature map of `grid` places a side."""
    reduction = 16 if grid > 1 else 32  # of a single token, the map that has seen most
    return replace(efficientnet_lite0(), image_size=grid * reduction, reduction=reduction)


def _planners(base: Setup) -> dict[str, Planner]:
    """Return the planners; the two searches evaluate as many candidates as each other."""
    own = base.experiment.planner
    cem = own if isinstance(own, CEM) else CEM()
    nevergrad = Nevergrad(num_samples=cem.num_samples, num_iterations=cem.num_iterations)
    return {
        "cem": cem,
        "nevergrad": own if isinstance(own, Nevergrad) else nevergrad,
        "reference_gd": ReferenceGD(),
        "reference_adam": ReferenceAdam(),
        "adam": own if isinstance(own, Adam) else Adam(),
        "gd": FAST,
    }


PLANNER_NAMES = ("cem", "nevergrad", "reference_gd", "reference_adam", "adam", "gd")
METRIC_NAMES = ("l2", "l1", "cos")


def set_noise(strength: float) -> Callable[[Setup], Settings]:
    """Make the environment noisy, or leave it as it is at strength 0."""
    return lambda base: {"env": noisy_env(base.experiment.env, strength)}


def noisy_env(env: str, strength: float) -> str:
    """Return the name of an environment with noise of a strength; 0 is the plain one."""
    return f"{NOISY}{env}@{strength:g}" if strength else env


def lack_of_calm(base: Setup) -> str | None:
    """Say that an environment is noisy already."""
    if not base.experiment.env.startswith(NOISY):
        return None
    return f"its environment is noisy already ({base.experiment.env})"


def set_recipe(family: str) -> Callable[[Setup], Settings]:
    """Set model, loss and cost to those of another recipe for the same environment."""

    def settings(base: Setup) -> Settings:
        other = cast(Experiment, RECIPES.get(f"{family}_{_environment_of(base)}"))
        return {name: getattr(other, name) for name in RECIPE_FIELDS}

    return settings


def lack_of_baselines(base: Setup) -> str | None:
    """Say that a recipe has no counterparts of equal size."""
    if _environment_of(base) is not None:
        return None
    return f"it is none of the recipes of equal size ({', '.join(RECIPE_FAMILIES)})"


def _environment_of(base: Setup) -> str | None:
    """Return what stands after the family in the name of a recipe; None for other recipes."""
    name = base.experiment.name
    families = [family for family in RECIPE_FAMILIES if name.startswith(f"{family}_")]
    return name.removeprefix(f"{families[0]}_") if families else None


def set_planner(name: str) -> Callable[[Setup], Settings]:
    """Set the planner, with the settings of the base where it has the same."""
    return lambda base: {"planner": _planners(base)[name]}


def planner_and_cost(planner: str, metric: str, *, reduction: str) -> Value:
    """Return the value that sets planner, metric and reduction."""
    name = f"{planner}+{metric}" + ("" if reduction == "terminal" else f"+{reduction}")
    return Value(
        name=name,
        settings=lambda base: {
            "planner": _planners(base)[planner],
            "objective.metric": metric,
            "objective.reduction": reduction,
        },
    )


def conditioning_value(conditioning: str, positions: str) -> Value:
    """Return the value that sets conditioning and positions."""
    settings = {"predictor.conditioning": conditioning, "predictor.positions": positions}
    return Value(name=f"{conditioning}+{positions}", settings=lambda _: settings)


def replanning_value(horizon: int, executed: int) -> Value:
    """Return the value that sets how far ahead is planned and how much is executed."""
    settings = {"protocol.horizon": horizon, "protocol.num_action_steps": executed}
    return Value(name=f"{horizon}/{executed}", settings=lambda _: settings)
