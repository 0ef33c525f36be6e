"""`jepawm pretrain dino|vjepa STORE`: an encoder of one's own frames."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import tyro

from jepawm.cli.choices import DeviceName, TrackerChoice, choose_device
from jepawm.cli.output import render_fields, to_json
from jepawm.cli.parsing import Command, Outcome, parse, wants_help
from jepawm.errors import UserError

if TYPE_CHECKING:
    from jepawm.training.pretraining.settings import PretrainConfig


_METHODS = ("dino", "vjepa")  # those of `METHODS`, for help that does not wait for torch


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """Options of `pretrain` besides the settings of the method."""

    store: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STORE")]
    """Store whose frames are learned from."""
    out: Path
    """Folder for the encoder: what `--encoder.weights` and `--encoder.init` take."""
    device: DeviceName = "auto"
    """Device to compute on."""
    resume: bool = False
    """Go on with the pretraining in `--out`."""
    overwrite: bool = False
    """Replace the pretraining in `--out`."""
    log: tyro.conf.UseAppendAction[tuple[TrackerChoice, ...]] = ()
    """Where metrics go beside pretrain.jsonl: wandb, trackio or tensorboard (event files in the
    run), more than one by more than one --log; extra `loggers`."""
    json: bool = False
    """Print the result as one JSON object."""


def prepare_pretrain(argv: list[str]) -> Command:
    """Parse `jepawm pretrain dino|vjepa STORE`."""
    if not argv or argv[0] not in _METHODS:
        usage = (
            f"jepawm pretrain {'|'.join(_METHODS)} STORE --out DIR (--help after it lists options)"
        )
        if wants_help(argv):
            return Command(run=lambda: Outcome(result={"usage": usage}, text=usage), as_json=False)
        raise UserError(f"say how to pretrain: {usage}")
    from jepawm.training.pretraining.settings import METHODS

    name, rest = argv[0], argv[1:]
    options, parts = parse(
        PretrainOptions,
        rest,
        verb=f"pretrain {name}",
        description="Pretrain a small vision transformer on the frames of a store, without actions.",
        parts={"": METHODS[name]},
    )

    def run() -> Outcome:
        from jepawm.runs import pretrain_run

        done = pretrain_run(
            options.store,
            cast("PretrainConfig", parts[""]),
            out=options.out,
            device=choose_device(options.device),
            resume=options.resume,
            overwrite=options.overwrite,
            trackers=options.log,
        )
        result = to_json(done)
        return Outcome(result=result, text=render_fields(result))

    return Command(run=run, as_json=options.json)
