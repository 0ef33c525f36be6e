"""`jepawm data import|inspect|check|export|join|features`: data sets of others, and stores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar, cast

import tyro

from jepawm.cli.choices import DeviceName, choose_device, new_part
from jepawm.cli.output import Result, render_fields, to_json
from jepawm.cli.parsing import Command, Outcome, parse, take_option, wants_help
from jepawm.errors import UserError, plain_text
from jepawm.models import ENCODERS
from jepawm.recipes import RECIPES

if TYPE_CHECKING:
    from jepawm.contracts import BuildsEncoder
    from jepawm.experiment import Experiment

Config = TypeVar("Config")


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Options that say what is read, and how."""

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SRC")]
    """Data set of any known format; `inspect` and `check` take stores too."""
    format: str | None = None
    """Format of the source; recognised if not given."""
    camera: str | None = None
    """Camera to read, where there are several; more than one joined by commas, or `all`."""
    action_key: str | None = None
    """Names of the actions in the source, joined by commas, where it is not the usual one."""
    proprio_key: str | None = None
    """Names of the proprioception in the source, joined by commas; `none` leaves it out."""
    pair_frames: Literal["times", "order"] = "times"
    """How LeRobot's videos and tables are paired: by their times, or frame by row in order."""
    json: bool = False
    """Print the result as one JSON object."""


@dataclass(frozen=True, kw_only=True)
class CheckOptions(SourceOptions):
    """Options of `data check`: also what episodes have to satisfy."""

    fps: float | None = None
    """Frames per second to keep; all if not given. Must divide those of the source."""
    combine_actions: Literal["concat", "sum", "last"] | None = None
    """How actions between two kept frames become one, where frames are left out."""
    min_frames: int = 2
    """Shortest episode, in frames that are kept: T x frameskip + 1 for training windows."""
    discrete_actions: int | None = None
    """Choices of a discrete action, whole numbers from 0: each becomes a vector with a single 1."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions(CheckOptions):
    """Options of `data import`: also how the store is written."""

    out: Path
    """Folder of the store to create."""
    image_size: int = 64
    """Side of the frames in pixels."""
    pixels: Literal["auto", "raw", "jpeg"] = "auto"
    """How frames are stored: `raw` or `jpeg`; `auto` is raw up to 128 pixels a side."""
    fit: Literal["crop", "stretch"] = "crop"
    """How frames become square: `crop` cuts out the centre as the reference does, or `stretch`."""
    skip_bad_episodes: bool = False
    """Leave bad episodes out instead of stopping at the first; says how many."""
    cut_frames: int | None = None
    """Cut episodes into equal pieces of at least so many frames, each an episode of its own."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of `data export`."""

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STORE")]
    """Store to export."""
    out: Path
    """Folder to create."""
    format: str = "lerobot"
    """Format to write: `lerobot` (3.0), `lerobot-v2.1`, `minari`, `npz`."""
    images: Literal["video", "png"] = "video"
    """How LeRobot keeps frames: `video` (h264, loses a little) or `png` (exact, larger)."""
    fps: float | None = None
    """Frames per second, where the store does not know them."""
    json: bool = False
    """Print the result as one JSON object."""


@dataclass(frozen=True, kw_only=True)
class JoinOptions:
    """Options of `data join`."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="STORE")]
    """Stores that agree in environment, frame size, and widths of actions and proprioception."""
    out: Path
    """Folder of the store to create."""
    weights: tuple[float, ...] = ()
    """How often training draws from each store, in proportion; each window once if not given."""
    json: bool = False
    """Print the result as one JSON object."""


@dataclass(frozen=True, kw_only=True)
class FeatureOptions:
    """Options of `data features`."""

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STORE")]
    """Store whose frames are encoded."""
    out: Path | None = None
    """Folder of the features; next to the store, where training looks for them, if not given."""
    device: DeviceName = "auto"
    """Device to compute on."""
    json: bool = False
    """Print the result as one JSON object."""


def prepare_data(argv: list[str]) -> Command:
    """Parse `jepawm data import|inspect|check|export|join|features`."""
    if not argv or argv[0] not in _VERBS:
        usage = f"jepawm data {'|'.join(_VERBS)} ... (--help after one of them lists its options)"
        if wants_help(argv):
            return Command(run=lambda: Outcome(result={"usage": usage}, text=usage), as_json=False)
        raise UserError(f"say what to do: {usage}")
    return _VERBS[argv[0]](argv[1:])


def _prepare_import(argv: list[str]) -> Command:
    text = f"Import a data set into a store. Formats: {_format_names()}."
    options, _ = parse(ImportOptions, argv, verb="data import", description=text, parts={})

    def run() -> Outcome:
        from jepawm.data import checking, importing
        from jepawm.data.recording import ReadOptions
        from jepawm.runs import import_data

        result = import_data(
            options.path,
            options.out,
            format_name=options.format,
            read_options=_part(options, ReadOptions),
            requirements=_part(options, checking.Requirements),
            options=_part(options, importing.ImportOptions),
        )
        store = to_json(result.store)
        return _outcome(store | {k: v for k, v in to_json(result).items() if k != "store"})

    return Command(run=run, as_json=options.json)


def _prepare_inspect(argv: list[str]) -> Command:
    text = f"Describe a store or a data set. Formats: {_format_names()}."
    options, _ = parse(SourceOptions, argv, verb="data inspect", description=text, parts={})

    def run() -> Outcome:
        from jepawm.data.recording import ReadOptions
        from jepawm.runs import inspect_data

        read_options = _part(options, ReadOptions)
        found = inspect_data(options.path, format_name=options.format, read_options=read_options)
        return _outcome(to_json(found))

    return Command(run=run, as_json=options.json)


def _prepare_check(argv: list[str]) -> Command:
    text = f"List all problems at once; exit code 2 if there are any. Formats: {_format_names()}."
    options, _ = parse(CheckOptions, argv, verb="data check", description=text, parts={})

    def run() -> Outcome:
        from jepawm.data import checking
        from jepawm.data.recording import ReadOptions
        from jepawm.runs import check_data

        result = check_data(
            options.path,
            format_name=options.format,
            read_options=_part(options, ReadOptions),
            requirements=_part(options, checking.Requirements),
        )
        return _outcome(to_json(result), exit_code=0 if result.good else 2)

    return Command(run=run, as_json=options.json)


def _prepare_export(argv: list[str]) -> Command:
    text = "Write a store in another format."
    options, _ = parse(ExportOptions, argv, verb="data export", description=text, parts={})

    def run() -> Outcome:
        from jepawm.data import exporting
        from jepawm.runs import export_data

        done = export_data(
            options.path,
            options.out,
            format_name=options.format,
            options=_part(options, exporting.ExportOptions),
        )
        return _outcome(to_json(done))

    return Command(run=run, as_json=options.json)


def _prepare_join(argv: list[str]) -> Command:
    text = "Write the episodes of several stores into one, to train on all of them."
    options, _ = parse(JoinOptions, argv, verb="data join", description=text, parts={})

    def run() -> Outcome:
        from jepawm.runs import join_data

        return _outcome(to_json(join_data(options.paths, options.out, weights=options.weights)))

    return Command(run=run, as_json=options.json)


def _prepare_features(argv: list[str]) -> Command:
    text = (
        "Encode the frames of a store once, by the frozen encoder of --recipe NAME "
        f"({', '.join(RECIPES.names())}) or of --encoder FAMILY ({', '.join(ENCODERS.names())})."
    )
    recipe, rest = take_option("--recipe", argv)
    family, rest = take_option("--encoder", rest)
    encoder = (
        new_part(ENCODERS, family or "dinov2") if recipe is None or family else _encoder_of(recipe)
    )
    options, parts = parse(
        FeatureOptions, rest, verb="data features", description=text, parts={"encoder": encoder}
    )

    def run() -> Outcome:
        from jepawm.runs import features_run

        chosen = cast("BuildsEncoder", parts["encoder"])
        device = choose_device(options.device)
        done = features_run(options.path, chosen, out=options.out, device=device)
        return _outcome(to_json(done))

    return Command(run=run, as_json=options.json)


_VERBS: Mapping[str, Callable[[list[str]], Command]] = {
    "import": _prepare_import,
    "inspect": _prepare_inspect,
    "check": _prepare_check,
    "export": _prepare_export,
    "join": _prepare_join,
    "features": _prepare_features,
}


def _encoder_of(recipe: str) -> "BuildsEncoder":
    return cast("Experiment", RECIPES.get(recipe)).encoder


def _part(options: SourceOptions | ExportOptions, kind: Callable[..., Config]) -> Config:
    """Build the dataclass `kind` from the options of the same names."""
    names = [field.name for field in fields(kind)]  # pyright: ignore[reportArgumentType]
    return kind(**{name: getattr(options, name) for name in names})


_NOTHING = {
    "frames_per_second": "unknown",
    "proprio_width": "none",
    "state_width": "none",
    "tasks": "none",
}
"""Words for what a data set lacks, by field."""


def _outcome(found: Result, *, exit_code: int = 0) -> Outcome:
    shown = {
        key.replace("_", " "): value or _NOTHING.get(key, value) for key, value in found.items()
    }
    lists = {key: shown[key] for key in ("problems", "notes") if key in shown}
    plain = {key: value for key, value in shown.items() if key not in lists}
    lines = [render_fields(plain)]
    for key, texts in lists.items():
        if isinstance(texts, list) and texts:
            lines += [f"{key}:", *(f"  {plain_text(str(text))}" for text in texts)]
    return Outcome(result=found, text="\n".join(lines), exit_code=exit_code)


def _format_names() -> str:
    from jepawm.data.formats import FORMATS

    return ", ".join(FORMATS.names())
