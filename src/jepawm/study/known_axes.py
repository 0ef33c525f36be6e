"""Every axis of the study: what the paper varied, one field each, and some that it did not."""

from itertools import product

from jepawm.errors import UserError
from jepawm.study.axes import Axis, Value
from jepawm.study.values import (
    ENCODER_NAMES,
    METRIC_NAMES,
    PLANNER_NAMES,
    RECIPE_FAMILIES,
    RECIPE_FIELDS,
    WIDTHS,
    conditioning_value,
    lack_of_baselines,
    lack_of_calm,
    lack_of_collection,
    lack_of_distance,
    lack_of_learning,
    lack_of_proprio,
    lack_of_rollouts,
    lack_of_tokens,
    lack_of_window,
    plain_values,
    planner_and_cost,
    replanning_value,
    set_data,
    set_encoder,
    set_noise,
    set_planner,
    set_recipe,
    set_regularizer,
    set_size,
    set_window,
    with_long_windows,
    with_replanning,
)


def find_axis(name: str) -> Axis:
    """Return the axis called `name`."""
    for axis in AXES:
        if axis.name == name:
            return axis
    raise UserError(f"unknown axis {name!r} (known: {', '.join(axis.name for axis in AXES)})")


AXES: tuple[Axis, ...] = (
    Axis(
        name="encoder",
        question="Which encoder maps images to tokens: learned, frozen at random, or pretrained?",
        fields=("encoder",),
        values=tuple(Value(name=name, settings=set_encoder(name)) for name in ENCODER_NAMES),
        follows=("loss.regularizer", "loss.inverse_dynamics_weight", "loss.temporal_weight"),
        lacks=lack_of_learning,
    ),
    Axis(
        name="size",
        question="Does a larger model help? The predictor's width follows the encoder.",
        fields=("encoder.size",),
        follows=("predictor.visual_dim",),
        values=tuple(Value(name=name, settings=set_size(name)) for name in WIDTHS),
        lacks=lack_of_learning,
    ),
    Axis(
        name="depth",
        question="Does a deeper predictor help?",
        fields=("predictor.depth",),
        values=plain_values("predictor.depth", 1, 2, 3, 6, 9, 12),
        default=("1", "3", "6"),
        numeric=True,
    ),
    Axis(
        name="conditioning",
        question="How do actions enter the predictor?",
        fields=("predictor.conditioning",),
        values=plain_values("predictor.conditioning", "feature", "sequence", "adaln", "adaln_zero"),
    ),
    Axis(
        name="positions",
        question="How does the predictor know where tokens are?",
        fields=("predictor.positions",),
        values=plain_values("predictor.positions", "sincos", "rope"),
        lacks=lack_of_tokens,
    ),
    Axis(
        name="conditioning_positions",
        question="Which pair of conditioning and positions, as the paper compares them?",
        fields=("predictor.conditioning", "predictor.positions"),
        values=tuple(
            conditioning_value(*pair)
            for pair in product(("feature", "sequence", "adaln", "adaln_zero"), ("sincos", "rope"))
        ),
        default=(
            "feature+sincos",
            "feature+rope",
            "sequence+rope",
            "adaln+sincos",
            "adaln+rope",
            "adaln_zero+rope",
        ),
        lacks=lack_of_tokens,
    ),
    Axis(
        name="window",
        question="How many latents does a prediction see (W)?",
        fields=("predictor.window",),
        values=tuple(
            Value(name=str(steps), settings=set_window(steps)) for steps in (1, 2, 3, 5, 7)
        ),
        follows=("agent.window",),
        shared=with_long_windows,
        numeric=True,
    ),
    Axis(
        name="planning_window",
        question="How many real observations does a plan start from, when replanning?",
        fields=("agent.window",),
        values=plain_values("agent.window", 1, 2, 3),
        shared=with_replanning,
        lacks=lack_of_window,
        numeric=True,
    ),
    Axis(
        name="rollout_steps",
        question="How many steps does the rollout loss take?",
        fields=("loss.rollout_steps",),
        values=plain_values("loss.rollout_steps", 1, 2, 3, 6),
        shared=with_long_windows,
        numeric=True,
    ),
    Axis(
        name="rollout_gradient",
        question="Do gradients pass through the steps of a rollout?",
        fields=("loss.rollout_gradient",),
        values=plain_values("loss.rollout_gradient", "last", "all"),
        lacks=lack_of_rollouts,
    ),
    Axis(
        name="rollout_prefix",
        question="Where do rollouts start in training?",
        fields=("loss.rollout_prefix",),
        values=plain_values("loss.rollout_prefix", "random", "first", "all"),
        lacks=lack_of_rollouts,
    ),
    Axis(
        name="distance",
        question="Which distance does training minimise?",
        fields=("loss.metric",),
        values=plain_values("loss.metric", "mse", "l1", "smooth_l1"),
    ),
    Axis(
        name="regularizer",
        question="What keeps a learned encoder from collapsing?",
        fields=(
            "loss.regularizer",
            "loss.regularizer_weight",
            "loss.inverse_dynamics_weight",
        ),
        values=(
            Value(name="none", settings=set_regularizer("none", inverse=False)),
            Value(name="vicreg", settings=set_regularizer("vicreg", inverse=False)),
            Value(name="sigreg", settings=set_regularizer("sigreg", inverse=False)),
            Value(name="inverse_dynamics", settings=set_regularizer("none", inverse=True)),
            Value(name="sigreg+inverse_dynamics", settings=set_regularizer("sigreg", inverse=True)),
        ),
        default=("none", "vicreg", "sigreg", "inverse_dynamics"),
        lacks=lack_of_learning,
    ),
    Axis(
        name="proprio",
        question="How does proprioception enter?",
        fields=("proprio.mode",),
        values=plain_values("proprio.mode", "none", "feature", "token"),
    ),
    Axis(
        name="proprio_weight",
        question="How much does proprioception weigh in the cost of a plan?",
        fields=("objective.proprio_weight",),
        values=plain_values("objective.proprio_weight", 0.0, 0.1, 1.0),
        lacks=lambda base: lack_of_distance(base) or lack_of_proprio(base),
        numeric=True,
    ),
    Axis(
        name="planner",
        question="Which search minimises the cost?",
        fields=("planner",),
        values=tuple(Value(name=name, settings=set_planner(name)) for name in PLANNER_NAMES),
    ),
    Axis(
        name="cost",
        question="Which distance to the goal is the cost of a plan?",
        fields=("objective.metric",),
        values=plain_values("objective.metric", *METRIC_NAMES),
        lacks=lack_of_distance,
    ),
    Axis(
        name="reduction",
        question="Which predicted steps does the cost count?",
        fields=("objective.reduction",),
        values=plain_values("objective.reduction", "terminal", "sum"),
        lacks=lack_of_distance,
    ),
    Axis(
        name="planner_cost",
        question="Which pair of search and cost, as the paper compares them?",
        fields=("planner", "objective.metric", "objective.reduction"),
        values=tuple(
            planner_and_cost(planner, metric, reduction=reduction)
            for reduction, planner, metric in product(
                ("terminal", "sum"), PLANNER_NAMES, METRIC_NAMES
            )
        ),
        default=(
            "cem+l2",
            "cem+l1",
            "cem+cos",
            "nevergrad+l2",
            "nevergrad+l1",
            "reference_gd+l2",
            "reference_gd+l1",
            "reference_adam+l2",
            "adam+l2",
            "gd+l2",
            "gd+l1",
            "gd+cos",
            "cem+l2+sum",
            "gd+l2+sum",
        ),
        lacks=lack_of_distance,
    ),
    Axis(
        name="replanning",
        question="How far ahead is planned, and how much of it carried out before the next plan?",
        fields=("protocol.horizon", "protocol.num_action_steps"),
        values=tuple(replanning_value(*pair) for pair in ((6, 6), (6, 3), (6, 1), (3, 1))),
    ),
    Axis(
        name="noise",
        question="What does a world of distractors, changing light and disturbed actions cost?",
        fields=("env",),
        values=tuple(
            Value(name=f"{strength:g}", settings=set_noise(strength))
            for strength in (0.0, 0.25, 0.5, 1.0)
        ),
        default=("0", "0.5", "1"),
        lacks=lack_of_calm,
        numeric=True,
    ),
    Axis(
        name="recipe",
        question="The paper's recipe against its baselines, at equal size, data and steps.",
        fields=RECIPE_FIELDS,
        values=tuple(Value(name=name, settings=set_recipe(name)) for name in RECIPE_FAMILIES),
        lacks=lack_of_baselines,
    ),
    Axis(
        name="data",
        question="How much data does it take? Per cent of the recipe's episodes, equal steps.",
        fields=("data.num_episodes",),
        values=tuple(
            Value(name=str(percent), settings=set_data(percent)) for percent in (2, 10, 25, 50, 100)
        ),
        lacks=lack_of_collection,
        numeric=True,
    ),
)
"""All axes, in the order of the report."""
