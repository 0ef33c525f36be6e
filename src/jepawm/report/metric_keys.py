"""What every logged metric means; shown in the report and listed in docs/report.md."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MetricHelp:
    """How to read one metric."""

    title: str
    """Short name, shown above the curve."""
    meaning: str
    """What is measured, and what a good curve looks like."""
    logarithmic: bool = False
    """Whether the curve is drawn on a logarithmic axis."""


METRICS: dict[str, MetricHelp] = {
    "train/loss": MetricHelp(
        title="Total loss",
        meaning="What the optimiser minimises: the weighted sum of the terms beside. It should "
        "fall fast, then slowly. It may level off while planning still improves.",
        logarithmic=True,
    ),
    "train/prediction": MetricHelp(
        title="Prediction loss",
        meaning="Error of the next latent when the predictor is given the true past (teacher "
        "forcing). Falling is good, but zero from the start means that the latent collapsed.",
        logarithmic=True,
    ),
    "train/rollout": MetricHelp(
        title="Rollout loss",
        meaning="Error of later latents when the predictor is fed its own predictions, as in "
        "planning. It should end near the prediction loss; a wide gap means that errors pile up.",
        logarithmic=True,
    ),
    "train/sigreg": MetricHelp(
        title="SIGReg",
        meaning="Distance of the latents' distribution from a standard normal; keeps a learned "
        "encoder from collapsing. It should fall early and stay low.",
        logarithmic=True,
    ),
    "train/inverse_dynamics": MetricHelp(
        title="Inverse dynamics loss",
        meaning="Error of the action read back from two successive latents, in normalised units. "
        "Near 1 the latents say nothing about the action; low means that they show motion.",
        logarithmic=True,
    ),
    "train/curvature": MetricHelp(
        title="Latent curvature",
        meaning="How much the paths of latents bend: 0 is straight, 1 a right angle at each step, 2 "
        "to and fro. The lower, the better the distance to the goal guides a gradient planner.",
    ),
    "train/step_distance": MetricHelp(
        title="Step distance loss",
        meaning="Squared error of the learned number of action blocks between two latents of an "
        "episode. Its square root is an error in blocks.",
        logarithmic=True,
    ),
    "val/prediction_k{k}": MetricHelp(
        title="Validation error by rollout step",
        meaning="Error of the latent predicted k model steps ahead on episodes never trained on, "
        "relative to the latents' variance. The curves should fall together; planning needs the "
        "last one.",
        logarithmic=True,
    ),
    "val/effective_rank": MetricHelp(
        title="Effective rank",
        meaning="How many directions the latents really use (exponential of the entropy of their "
        "spectrum). Near 1 is collapse: everything looks alike to the model.",
    ),
    "val/latent_std": MetricHelp(
        title="Latent spread",
        meaning="Mean standard deviation of the latent's channels. About 1 under SIGReg; near 0 "
        "is collapse.",
    ),
    "val/probe_error": MetricHelp(
        title="Probe error",
        meaning="Mean distance between the true position and the one that a linear map reads from "
        "the latent, in units of the environment. Low means that the latent knows where things "
        "are.",
        logarithmic=True,
    ),
    "train/learning_rate": MetricHelp(
        title="Learning rate",
        meaning="Step size of the optimiser, after warm-up and decay.",
    ),
    "train/grad_norm": MetricHelp(
        title="Gradient norm",
        meaning="Length of the gradient before clipping. Rare spikes are harmless; steady growth "
        "comes before a loss that turns NaN.",
        logarithmic=True,
    ),
    "train/gflops_per_second": MetricHelp(
        title="Arithmetic rate",
        meaning="Floating-point operations of the model per second, in billions, counted from "
        "its layers and the time of each step.",
    ),
    "train/fraction_of_peak": MetricHelp(
        title="Fraction of peak",
        meaning="The arithmetic rate divided by what a large matrix product reaches on the same "
        "device: 1 is perfect use of the hardware.",
    ),
}
"""Metric key to its help, in the order of the report; `{k}` stands for any whole number."""

UNKNOWN_METRIC = "Not described by this version; see docs/report.md for the keys it knows."


def metric_group(key: str) -> str:
    """Return the key of `METRICS` that a logged key belongs to, or the key itself."""
    name, mark, number = key.rpartition("_k")
    return f"{name}_k{{k}}" if mark and number.isdigit() else key
