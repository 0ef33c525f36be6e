"""`jepawm train-text`: what brings goals in words."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

import tyro

from jepawm.cli.choices import DeviceName, choose_device, trust_source
from jepawm.cli.output import render_fields, to_json
from jepawm.cli.parsing import Command, Outcome, first_name, parse
from jepawm.texts import TextConfig


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """Options of `train-text` besides how it is trained."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder, or the name of a bundled checkpoint with --out."""
    folder: str = "text"
    """Name of the map's folder in the run, as in text(folder='clip')."""
    out: Path | None = None
    """Folder that gets a copy of the checkpoint and the map; the run itself if not given."""
    num_episodes: int | None = None
    """Episodes to learn from, collected where they are missing; those of the run if not given."""
    horizon: int | None = None
    """Action blocks of a piece of experience; the longest of the run's protocols if not given."""
    seed: int = 0
    """Seed of the weights and of the order of the data."""
    data_root: Path | None = None
    """Folder for data sets; `$JEPAWM_DATA` or the user's cache folder if not given."""
    device: DeviceName = "auto"
    """Device to compute on."""
    resume: bool = False
    """Go on with the map that is there."""
    overwrite: bool = False
    """Replace the map that is there."""
    processes: int | None = None
    """Processes that collect a missing data set; one for each thread if not given."""
    encoder_weights: str | None = None
    """Where the weights of a frozen encoder are here: `hub`, a path, or random:SEED; where its
    training found them if not given."""
    trust: bool = False
    """Run code of other people that only the run names: parts given as my_module:MyThing."""
    json: bool = False
    """Print the result as one JSON object."""


def prepare_train_text(argv: list[str]) -> Command:
    """Parse `jepawm train-text RUN`."""
    trust_source(first_name(argv, known=[]), trust="--trust" in argv)
    options, parts = parse(
        TextOptions,
        argv,
        verb="train-text",
        description="Train a map from the latents of a run to sentences, to give goals in words: `jepawm "
        "plan RUN --goal 'the lower left corner'`.",
        parts={"": TextConfig()},
    )

    def run() -> Outcome:
        from jepawm.files import data_root
        from jepawm.runs import TextRules, train_text_run

        trained = train_text_run(
            options.source,
            cast(TextConfig, parts[""]),
            rules=TextRules(
                out=options.out,
                folder=options.folder,
                num_episodes=options.num_episodes,
                horizon=options.horizon,
                seed=options.seed,
            ),
            data_root=data_root(options.data_root),
            device=choose_device(options.device),
            resume=options.resume,
            overwrite=options.overwrite,
            processes=options.processes,
            encoder_weights=options.encoder_weights,
        )
        result = to_json(trained)
        return Outcome(result=result, text=render_fields(result))

    return Command(run=run, as_json=options.json)
