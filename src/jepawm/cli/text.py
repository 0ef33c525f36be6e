"""`jepawm train-text`: what brings goals in words."""

from dataclasses import dataclass
from typing import cast

from jepawm.cli.choices import choose_device, trust_source
from jepawm.cli.output import render_fields, to_json
from jepawm.cli.parsing import Command, Outcome, first_name, parse
from jepawm.cli.parts import PartOptions
from jepawm.texts import TextConfig


@dataclass(frozen=True, kw_only=True)
class TextOptions(PartOptions):
    """Options of `train-text` besides how it is trained."""

    folder: str = "text"
    """Name of the map's folder in the run, as in text(folder='clip')."""
    horizon: int | None = None
    """Action blocks of a piece of experience; the longest of the run's protocols if not given."""


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
