"""What a script calls by a short name: register a part, train."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jepawm.errors import UserError

if TYPE_CHECKING:  # at run time they are imported when needed: registering does not wait for torch
    from jepawm.experiment import Experiment
    from jepawm.runs.trackers import TrackerName

_LOG = logging.getLogger(__name__)


def register(kind: str, name: str, target: object) -> None:
    """Give a part of your own a name in this process, as the command line and experiments use it.

    Args:
        kind: what it is: collection_policy, data_format, encoder, environment, export_format,
            objective, planner or recipe.
        name: its name.
        target: the class, function or object itself, or `"my_module:MyThing"`.
    """
    from jepawm.data.exporting import EXPORTERS
    from jepawm.data.formats import FORMATS
    from jepawm.envs import ENVIRONMENTS, POLICIES
    from jepawm.models import ENCODERS
    from jepawm.planning import OBJECTIVES, PLANNERS
    from jepawm.recipes import RECIPES

    every = (POLICIES, FORMATS, ENCODERS, ENVIRONMENTS, EXPORTERS, OBJECTIVES, PLANNERS, RECIPES)
    registries = {one.kind: one for one in every}
    if kind not in registries:
        raise UserError(f"there is no kind {kind!r} (known: {', '.join(registries)})")
    registries[kind].register(name, target)


def train(
    experiment: "Experiment",
    *,
    out: str | Path,
    data_root: str | Path | None = None,
    device: str = "cpu",
    resume: bool = False,
    processes: int = 1,
    trackers: "Sequence[TrackerName]" = (),
) -> Path:
    """Train an experiment into the run folder `out`; returns the folder, which `load` takes.

    Where `experiment.proposals` asks for a proposer, that is the last stage.

    Args:
        experiment: the configuration, mostly a recipe with some fields replaced.
        out: run folder; it must not hold another run unless `resume`.
        data_root: where data sets lie, and are collected; None means the default one.
        device: kind of device to train on.
        resume: continue from the last checkpoint in `out`.
        processes: processes that collect missing data; with more than 1, scripts need the usual
            `if __name__ == "__main__"`.
        trackers: where curves go beside `metrics.jsonl`: wandb, trackio, tensorboard.
    """
    from jepawm.files import data_root as default_data_root
    from jepawm.planning.terms.composition import parts_of
    from jepawm.runs import require_trackers, train_own_proposer, train_run

    require_trackers(trackers)

    terms = parts_of(experiment.objective)
    parts = (experiment.encoder, *terms, experiment.planner, experiment.data.policy)
    local = sorted(type(part).__name__ for part in parts if type(part).__module__ == "__main__")
    if local:
        _LOG.warning(
            "%s: defined in this script, so only this script can load the run; put it into a "
            "module of its own for others and for the command line",
            ", ".join(local),
        )
    root = default_data_root(None if data_root is None else Path(data_root))
    train_run(
        experiment,
        out=Path(out),
        data_root=root,
        device=device,
        resume=resume,
        processes=processes,
        trackers=trackers,
    )
    train_own_proposer(
        Path(out), data_root=root, device=device, processes=processes, trackers=trackers
    )
    return Path(out)
