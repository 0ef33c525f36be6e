"""`jepawm import` and `push`: a model of others comes here, one of ours goes to the hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jepawm.cli.output import render_fields, to_json
from jepawm.cli.parsing import Command, Outcome, parse
from jepawm.envs import RECORDINGS


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Options of `import`."""

    project: tyro.conf.Positional[Literal["jepa-wms", "dino-wm", "vjepa2-ac", "lewm"]]
    """Whose file: a released model or decoder of JEPA-WM's authors, a checkpoint of the original
    DINO-WM code, the public file of V-JEPA-2-AC, or a published folder of LeWorldModel."""
    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The file; for lewm the folder with weights.pt and config.json. Nothing in it is run."""
    out: Path
    """Folder to write the checkpoint to."""
    model: str | None = None
    """Which released model or decoder it is, as jepa_wm_pusht; `jepawm list` names them. For
    dino-wm: the released DINO-WM model for the same data."""
    encoder_weights: str | None = None
    """Where the weights of the frozen encoder are: `hub`, a path, or random:SEED."""
    statistics: Path | None = None
    """JSON file with action_mean, action_std, proprio_mean, proprio_std in place of those known
    for the model's data, or a store that has them; lewm needs those of its actions."""
    window: int = 3
    """Frames of history of a DINO-WM checkpoint (its num_hist)."""
    env: str = RECORDINGS
    """Environment that a LeWorldModel acts in, as lewm:tworoom; `recordings`: none."""
    frameskip: int = 5
    """Environment steps in an action block of a LeWorldModel."""
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

        done = import_checkpoint(
            options.project,
            options.file,
            out=options.out,
            model=options.model,
            encoder_weights=options.encoder_weights,
            statistics=options.statistics,
            window=options.window,
            env=options.env,
            frameskip=options.frameskip,
            overwrite=options.overwrite,
        )
        result = {key: value for key, value in to_json(done).items() if key != "world_model"}
        if (model := done.world_model) is not None:
            result |= {"encoder_weights": model.encoder_weights, **model.origin}
            result["normalizer"] = model.normalizer
        return Outcome(result=result, text=render_fields(result))

    return Command(run=run, as_json=options.json)


@dataclass(frozen=True, kw_only=True)
class PushOptions:
    """Options of `push`."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder, checkpoint folder, or the name of a bundled checkpoint."""
    repository: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="USER/REPO")]
    """Repository on the hub; made where it is not there."""
    license: str | None = None
    """Licence of the weights for the model card, as the hub names them: apache-2.0, cc-by-4.0, ..."""
    private: bool = False
    """Show a new repository to nobody else."""
    overwrite: bool = False
    """Add to a repository that exists."""
    json: bool = False
    """Print the result as one JSON object."""


def prepare_push(argv: list[str]) -> Command:
    """Parse `jepawm push RUN USER/REPO`."""
    text = "Upload a model with a model card; jepawm.load('hf://user/repo') takes it from there."
    options, _ = parse(PushOptions, argv, verb="push", description=text, parts={})

    def run() -> Outcome:
        from jepawm.runs import push_run

        pushed = push_run(
            options.source,
            options.repository,
            private=options.private,
            license_name=options.license,
            overwrite=options.overwrite,
        )
        result = to_json(pushed)
        return Outcome(result=result, text=render_fields(result))

    return Command(run=run, as_json=options.json)
