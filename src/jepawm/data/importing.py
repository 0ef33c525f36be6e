"""Import a source into the native store, or check all of it without writing."""

import hashlib
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from jepawm.border import foreign
from jepawm.data.checking import (
    Examined,
    Requirements,
    examine,
    problem_of,
    source_notes,
    told_once,
)
from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.manifest import ImportedFrom, column_statistics
from jepawm.data.recording import Problem, ReadOptions, Recording, Source
from jepawm.data.resample import Fit, frame_step, square_frames
from jepawm.data.writer import EpisodeWriter, PixelEncoding
from jepawm.errors import UserError, plain_text
from jepawm.files import hash_file

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How a source becomes a store."""

    image_size: int = 64
    """Side of the frames in pixels."""
    pixels: PixelEncoding = "auto"
    """How frames are stored: `raw` or `jpeg`; `auto` is raw up to 128 pixels a side."""
    fit: Fit = "crop"
    """How frames become square: `crop` cuts out the centre as the reference does, or `stretch`."""
    skip_bad_episodes: bool = False
    """Leave bad episodes out instead of stopping at the first; says how many."""
    cut_frames: int | None = None
    """Cut episodes into equal pieces of at least so many frames, each an episode of its own."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import did."""

    store: EpisodeStore
    """The store, opened."""
    problems: tuple[Problem, ...]
    """Why episodes were left out, and what is worth knowing about the rest."""
    num_skipped: int
    """Number of episodes left out."""


def import_source(
    source: Source,
    out: Path,
    *,
    options: ImportOptions,
    requirements: Requirements,
    read_options: ReadOptions,
    console: Console | None = None,
) -> Imported:
    """Write all episodes of a source into a new store at `out`; complete or absent.

    Args:
        source: the source.
        out: folder to create.
        options: how frames are stored and what happens to bad episodes.
        requirements: frame rate and shortest length.
        read_options: how the source was opened, for the manifest.
        console: where progress is shown; None means stderr.
    """
    _require_possible(options)
    step = frame_step(source.fps, requirements.fps)
    with foreign(source.path, f"{source.format} data set"):  # its files may go while we look
        origin = imported_from(source)
    problems: list[Problem] = []
    notes: list[Problem] = []
    rejected: set[str] = set()
    num_skipped = 0
    named = {"action_names": list(source.action_names)} if source.action_names else {}
    writer = EpisodeWriter(
        out,
        environment=plain_text(source.environment),
        image_size=options.image_size,
        settings={**asdict(options), **asdict(requirements), **asdict(read_options)} | named,
        pixels=options.pixels,
        fps=None if source.fps is None else source.fps / step,
        source=origin,
        reward_names=source.reward_names,
        cameras=[plain_text(name) for name in source.views],
    )
    with writer:
        for examined in track(
            examine(source, requirements, rejected=rejected),
            description=f"importing {source.path.name}",
            total=len(source.episodes),
            console=console or Console(stderr=True),
        ):
            found = _append(examined, writer, options)
            if found and not options.skip_bad_episodes:
                raise UserError(
                    f"{found[0].to_text()} (nothing was written; --skip-bad-episodes leaves such "
                    "episodes out, `jepawm data check` lists all problems)"
                )
            for problem in found:
                _LOG.warning("left out: %s", problem.to_text())
            num_skipped += bool(found)
            rejected |= {problem.episode for problem in found}
            problems += found
            notes += [] if found else examined.notes
        if num_skipped == len(source.episodes):
            raise UserError(f"no episode of {source.path} is good; `jepawm data check` says why")
    store = open_store(out)
    statistics = store.manifest.statistics
    stds = {"actions": statistics.action_std, "proprio": statistics.proprio_std}
    notes = told_once(notes + source_notes(source, stds))
    for note in notes:
        _LOG.warning("%s", note.to_text())
    if num_skipped:
        _LOG.warning("%d of %d episodes were left out", num_skipped, len(source.episodes))
    return Imported(store=store, problems=tuple(problems + notes), num_skipped=num_skipped)


def _require_possible(options: ImportOptions) -> None:
    """Refuse sizes that no store can have."""
    if options.image_size < 1:
        raise UserError(
            f"--image-size {options.image_size}: frames need a side of at least 1 pixel"
        )
    if options.cut_frames is not None and not 2 <= options.cut_frames < 2**31:
        raise UserError(f"--cut-frames {options.cut_frames}: pieces need at least 2 frames")


def check_source(source: Source, requirements: Requirements) -> list[Problem]:
    """List all problems and notes of all episodes, then what concerns all of them."""
    problems: list[Problem] = []
    rows: dict[str, list[np.ndarray]] = {"actions": [], "proprio": []}
    for examined in examine(source, requirements):
        problems += examined.problems
        if examined.recording is not None and not examined.problems:
            rows["actions"].append(examined.recording.actions)
            problems += examined.notes
            if examined.recording.proprio is not None:
                rows["proprio"].append(examined.recording.proprio)
    stds = {
        name: column_statistics(np.concatenate(parts))[1] for name, parts in rows.items() if parts
    }
    return problems + source_notes(source, stds)


def _append(examined: Examined, writer: EpisodeWriter, options: ImportOptions) -> list[Problem]:
    """Write a good episode; returns what is wrong with a bad one, damaged frames too."""
    recording = examined.recording
    if examined.problems or recording is None:
        return list(examined.problems)
    file = recording.video or examined.episode.file
    try:
        with foreign(file, "recording of frames"):
            pixels = _square_views(recording, options)
        if len(pixels) != recording.num_frames:
            raise UserError(
                f"only {len(pixels)} of {recording.num_frames} frames can be decoded; copy the "
                "video again, or leave the episode out"
            )
    except UserError as error:
        return [problem_of(examined.episode, str(error))]
    length = options.cut_frames or len(pixels)
    for piece in np.array_split(np.arange(len(pixels)), max(1, len(pixels) // length)):
        rows = slice(piece[0], piece[-1] + 1)
        writer.append(
            pixels[rows],
            recording.actions[rows],
            proprio=None if recording.proprio is None else recording.proprio[rows],
            state=None if recording.state is None else recording.state[rows],
            rewards=None if recording.rewards is None else recording.rewards[rows],
            task=recording.task,
        )
    return []


def _square_views(recording: Recording, options: ImportOptions) -> np.ndarray:
    """Return the frames `[L, 3, S, S]`, of several cameras `[L, V, 3, S, S]`; fewer if damaged."""
    views = [
        square_frames(one.frames(), one.num_frames, size=options.image_size, fit=options.fit)
        for one in (recording, *recording.others.values())
    ]
    shortest = min(len(one) for one in views)
    return views[0] if len(views) == 1 else np.stack([one[:shortest] for one in views], axis=1)


def imported_from(source: Source) -> ImportedFrom:
    """Describe a source for the manifest: format, camera, and one hash of all its files."""
    root = source.path if source.path.is_dir() else source.path.parent
    lines = [
        f"{Path(os.path.relpath(file, root)).as_posix()} {hash_file(file)}\n"
        for file in source.files
    ]
    return ImportedFrom(
        format=source.format,
        name=plain_text(source.path.resolve().name),
        sha256=hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest(),
        camera=plain_text(source.camera),
    )
