"""`jepawm import`: checkpoints of other projects."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jepawm.cli.command import Command, Outcome
from jepawm.cli.output import render_fields
from jepawm.cli.parsing import parse


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Options of `import`."""

    project: tyro.conf.Positional[Literal["jepa-wms", "dino-wm", "vjepa2-ac"]]
    """Whose file: a released model or decoder of JEPA-WM's authors, a checkpoint of the original
    DINO-WM code, or the public file of V-JEPA-2-AC."""
    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The file; nothing in it is run."""
    out: Path
    """Folder to write the checkpoint to."""
    model: str | None = None
    """Which released model or decoder it is, as jepa_wm_pusht; `jepawm list` names them. For
    dino-wm: the released DINO-WM model for the same data."""
    encoder_weights: str | None = None
    """Where the weights of the frozen encoder are: `hub`, a path, or random:SEED."""
    statistics: Path | None = None
    """JSON file with action_mean, action_std, proprio_mean, proprio_std in place of those known
    for the model's data."""
    window: int = 3
    """Frames of history of a DINO-WM checkpoint (its num_hist)."""
    overwrite: bool = False
    """Replace a checkpoint that is in --out already."""
    json: bool = False
    """Print the result as one JSON object."""


def prepare_import(argv: list[str]) -> Command:
    """Parse `jepawm import PROJECT FILE`."""
    text = "Turn a checkpoint of another project into one that eval, plan and jepawm.hub.load take."
    options, _ = parse(ImportOptions, argv, verb="import", description=text, parts={})

    def run() -> Outcome:
        from jepawm.runs import import_checkpoint

        result = import_checkpoint(
            options.project,
            options.file,
            out=options.out,
            model=options.model,
            encoder_weights=options.encoder_weights,
            statistics=options.statistics,
            window=options.window,
            overwrite=options.overwrite,
        )
        return Outcome(result=result, text=render_fields(result))

    return Command(run=run, as_json=options.json)
