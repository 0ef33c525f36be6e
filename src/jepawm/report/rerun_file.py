"""What was seen, imagined and planned, as a file for the Rerun viewer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import Float, UInt8

from jepawm.errors import UserError, missing_extra

NUM_ELITES = 10
"""Candidates of an iteration that are shown as its elites, the cheapest ones."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Iteration:
    """Candidates that a planner evaluated at once."""

    costs: Float[np.ndarray, " K"]
    """Their costs `[K]`."""
    places: Float[np.ndarray, "K steps 2"] | None
    """Where each leads, as a probe reads it `[K, H+1, 2]`, in units of the state; None without a probe."""
    seconds: float
    """Wall seconds from the start of the plan."""


def require_rerun() -> ModuleType:
    """Import Rerun."""
    try:
        import rerun
    except ImportError as error:
        raise missing_extra("--rerun", error, package="rerun", extra="rerun") from error
    return rerun


def write_rerun(
    path: Path,
    *,
    name: str,
    pictures: Mapping[str, UInt8[np.ndarray, "frames 3 height width"]],
    errors: Mapping[str, Sequence[float | None]],
    iterations: Sequence[Iteration],
) -> Path:
    """Write a recording with two timelines: `block` of the episode, and `iteration` of its first plan.

    Args:
        path: file to create, mostly `.rrd`.
        name: what is shown, for the viewer's title.
        pictures: films by name, a frame after each block.
        errors: numbers by name, one after each block.
        iterations: what the planner looked at.
    """
    rerun = require_rerun()
    stream = rerun.RecordingStream(f"jepawm {name}")
    try:
        stream.save(str(path))
    except (OSError, RuntimeError) as error:
        raise UserError(f"cannot write {path} ({error}); choose another --rerun") from error
    count = max(len(film) for film in pictures.values())
    for block in range(count):
        stream.set_time("block", sequence=block)
        for title, film in pictures.items():
            if block < len(film):
                stream.log(f"frames/{title}", rerun.Image(film[block].transpose(1, 2, 0)))
        for title, values in errors.items():
            value = values[block] if block < len(values) else None
            if value is not None:
                stream.log(f"errors/{title}", rerun.Scalars(value))
    stream.reset_time()
    for number, one in enumerate(iterations):
        stream.set_time("iteration", sequence=number)
        finite = one.costs[np.isfinite(one.costs)]
        if len(finite):
            stream.log("plan/lowest_cost", rerun.Scalars(float(finite.min())))
            stream.log("plan/median_cost", rerun.Scalars(float(np.median(finite))))
        stream.log("plan/seconds", rerun.Scalars(one.seconds))
        stream.log("plan/costs", rerun.BarChart(np.sort(finite)))
        if one.places is not None:
            order = np.argsort(np.nan_to_num(one.costs, nan=np.inf))
            stream.log("plan/candidates", rerun.LineStrips2D(one.places[order[NUM_ELITES:]]))
            stream.log("plan/elites", rerun.LineStrips2D(one.places[order[:NUM_ELITES]]))
    stream.flush()
    stream.disconnect()
    return path
