"""What a training costs: the figures of `jepawm train R --dry-run`, and how they are told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class MeasuredStep:
    """The step that ran."""

    windows: int
    """Windows in its batch."""
    device: str
    """Where it ran."""
    seconds: float
    """Its wall time."""
    gflop: float
    """Its operations."""
    loss: float
    """Its loss, with random weights."""


@dataclass(frozen=True, kw_only=True)
class TimedSteps:
    """Steps of one kind, timed on what one device takes of the batch."""

    kind: Literal["all weights", "predictor alone", "encoding all frames", "proposer"]
    """What they train; a training may first learn its encoder and then keep it, and end with
    its proposer."""
    steps: int
    """How many of them there are."""
    seconds: float
    """Wall time of one, warmed up."""


@dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """What a training costs."""

    recipe: str
    """Name of the experiment."""
    parameters: Mapping[str, int]
    """Parameters by group, and their `total`."""
    batch_size: int
    """Windows in a batch."""
    num_devices: int
    """Devices that share the batch."""
    gflop_per_step: float
    """Operations of a step on the whole batch."""
    memory_bytes: int
    """Memory of one device."""
    memory: Mapping[str, int]
    """What takes it, in bytes."""
    steps: int
    """Steps of the whole training."""
    tflops: float | None
    """Sustained throughput of all devices together, given or measured; None: neither."""
    hours: float | None
    """Time of all steps; None where the batch is too large to measure one here."""
    timed_steps: Sequence[TimedSteps]
    """What the hours were computed from; empty where the throughput was given."""
    measured: MeasuredStep
    """The step that all this is computed from."""


def render_dry_run(cost: TrainingCost) -> str:
    """Say for people what a training costs, and what of it was measured."""
    measured, size = cost.measured, cost.batch_size
    windows = measured.windows
    rows = [(f"parameters, {k}", f"{v:,}", "") for k, v in cost.parameters.items()]
    rows += [(f"memory, {k}", f"{v / 2**30:.2f} GiB", "") for k, v in cost.memory.items()]
    rows += [
        (
            "memory per device",
            f"{cost.memory_bytes / 2**30:.2f} GiB",
            f"computed, {cost.num_devices} devices share the batch",
        ),
        (
            "operations a step",
            f"{cost.gflop_per_step:,.0f} GFLOP",
            f"counted on {windows} windows, times {size}/{windows}",
        ),
        ("steps", f"{cost.steps:,}", "of the whole training"),
        (
            "time",
            "unknown" if cost.hours is None else _duration(cost.hours),
            _origin(cost),
        ),
        (
            "one step",
            f"{measured.seconds:.2f} s",
            f"measured: {windows} windows on {measured.device}",
        ),
    ]
    title = f"{cost.recipe}: batch of {size} windows, float32"
    return "\n".join([title, *(f"  {a.replace('_', ' '):<28}{b:>20}  {c}" for a, b, c in rows)])


def _duration(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours >= 1 else f"{60 * hours:,.1f} minutes"


def _origin(cost: TrainingCost) -> str:
    """Say where the hours come from."""
    if cost.timed_steps:
        parts = (f"{one.steps:,} x {one.seconds:.3g} s ({one.kind})" for one in cost.timed_steps)
        return f"warmed-up steps on {cost.measured.device}: {' + '.join(parts)}"
    if cost.tflops is not None:
        return f"computed, at {cost.tflops:.3g} TFLOP/s"
    return "the whole batch is too large to time a step here; give --tflops"
