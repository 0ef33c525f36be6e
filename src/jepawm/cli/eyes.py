"""`jepawm train-decoder` and `imagine`: what shows what a model sees and imagines."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import tyro

from jepawm.cli.choices import DeviceName, choose_device, trust_source
from jepawm.cli.evaluate import take_planner
from jepawm.cli.output import render_fields, to_json
from jepawm.cli.parsing import Command, Outcome, first_name, parse, wants_help
from jepawm.cli.parts import PartOptions
from jepawm.decoding import DecodingConfig

if TYPE_CHECKING:  # at run time it is imported when needed: help does not wait for torch
    from jepawm.contracts import Planner


@dataclass(frozen=True, kw_only=True)
class DecoderOptions(PartOptions):
    """Options of `train-decoder` besides the networks and how they are trained."""


def prepare_train_decoder(argv: list[str]) -> Command:
    """Parse `jepawm train-decoder RUN`."""
    source = first_name(argv, known=[])
    if source is not None and not wants_help(argv):
        trust_source(source, trust="--trust" in argv)
    options, parts = parse(
        DecoderOptions,
        argv,
        verb="train-decoder",
        description="Train a decoder of pictures and a probe of states for the latents of a run: they "
        "show what the model sees and imagines.",
        parts={"": DecodingConfig()},
    )

    def run() -> Outcome:
        from jepawm.files import data_root
        from jepawm.runs import DecoderRules, train_decoder_run

        trained = train_decoder_run(
            options.source,
            cast(DecodingConfig, parts[""]),
            rules=DecoderRules(
                out=options.out, num_episodes=options.num_episodes, seed=options.seed
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


@dataclass(frozen=True, kw_only=True)
class ImagineOptions:
    """Options of `imagine`."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder or bundled checkpoint, with a decoder."""
    out: Path
    """Folder for the films and `imagine.json`."""
    protocol: str = "paper"
    """Evaluation protocol of the plan that is executed."""
    seed: int = 0
    """Seed of task and planner; of recordings, which clip."""
    every: int = 2
    """Action blocks after which one of the films sees a real frame again."""
    data: Path | None = None
    """Recordings to imagine instead of acting: a store, or a data set of any known format."""
    num_blocks: int = 6
    """Action blocks of a clip of recordings."""
    rerun: Path | None = None
    """File to create for the Rerun viewer: frames, errors, candidates, elites, costs, seconds."""
    data_root: Path | None = None
    """Folder for data sets; `$JEPAWM_DATA` or the user's cache folder if not given."""
    encoder_weights: str | None = None
    """Where the weights of a frozen encoder are here: `hub`, a path, or random:SEED; where its
    training found them if not given."""
    device: DeviceName = "auto"
    """Device to compute on."""
    trust: bool = False
    """Run code of other people that only the run names: parts given as my_module:MyThing."""
    json: bool = False
    """Print the result as one JSON object."""


def prepare_imagine(argv: list[str]) -> Command:
    """Parse `jepawm imagine RUN`."""
    trust_source(first_name(argv, known=[]), trust="--trust" in argv)
    parts, rest = take_planner(argv)
    options, parsed = parse(
        ImagineOptions,
        rest,
        verb="imagine",
        description="Film what a model imagines beside what happens, the same start under other actions, "
        "and a plan after each iteration of the planner. --preset and --planner choose the planner.",
        parts=parts,
    )

    def run() -> Outcome:
        from jepawm.runs.imagine import ImagineRules, imagine_run, render_imagined

        trust_source(options.source, trust=options.trust)
        done = imagine_run(
            options.source,
            rules=ImagineRules(
                protocol=options.protocol,
                seed=options.seed,
                every=options.every,
                data=options.data,
                num_blocks=options.num_blocks,
            ),
            out=options.out,
            planner=cast("Planner | None", parsed.get("planner")),
            device=choose_device(options.device),
            data_root=options.data_root,
            encoder_weights=options.encoder_weights,
            rerun=options.rerun,
        )
        return Outcome(result=to_json(done), text=render_imagined(done))

    return Command(run=run, as_json=options.json)
