"""`jepawm data`: import, inspect, check and export data sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jepawm.data.checking import Requirements, told_once
from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.exporting import ExportOptions, export_store
from jepawm.data.formats import open_source
from jepawm.data.importing import ImportOptions, check_source, import_source
from jepawm.data.joining import join_stores
from jepawm.data.manifest import MANIFEST_NAME
from jepawm.data.recording import FIRST_CAMERA, ReadOptions, Source


@dataclass(frozen=True, kw_only=True)
class StoreSummary:
    """What a store holds."""

    store: Path
    """Its folder."""
    environment: str
    """Name of the environment or robot."""
    episodes: int
    """Episodes."""
    frames: int
    """Frames of all episodes."""
    frames_of_an_episode: str
    """Shortest, longest and median length, in words."""
    frames_per_second: float | None
    """Frames per second; None: unknown."""
    pixels: str
    """Size of a frame and how it is stored, in words."""
    action_width: int
    """Numbers in an action."""
    proprio_width: int | None
    """Numbers of proprioception; None: there is none."""
    state_width: int | None
    """Numbers in a simulator's state; None: there is none."""
    tasks: Sequence[str]
    """Texts of the tasks, sorted."""
    imported_from: str
    """Where the episodes are from, in words."""


@dataclass(frozen=True, kw_only=True)
class ImportedData:
    """What an import wrote."""

    store: StoreSummary
    """The new store."""
    skipped_episodes: int
    """Bad episodes that were left out."""
    notes: Sequence[str]
    """What was found in the source, a line each."""


@dataclass(frozen=True, kw_only=True)
class SourceSummary:
    """What a foreign data set holds."""

    source: Path
    """What was opened."""
    format: str
    """Name of its format."""
    environment: str
    """Name of the environment or robot."""
    episodes: int
    """Episodes."""
    frames_per_second: float | None
    """Frames per second; None: unknown."""
    cameras: Sequence[str]
    """All cameras there are."""
    camera_read: str
    """The one that is read."""
    files: int
    """Files that it consists of."""
    bytes: int
    """Size of all files."""
    columns: Mapping[str, str]
    """What else there is, by name, with its type and shape in words."""
    notes: Sequence[str]
    """What is worth knowing of how it is read, a line each."""


@dataclass(frozen=True, kw_only=True)
class CheckedData:
    """What a check found."""

    good: bool
    """Whether all episodes can be used."""
    episodes: int
    """Episodes."""
    bad_episodes: int | None = None
    """Episodes that cannot be used; None for a store, which holds none."""
    problems: Sequence[str]
    """What makes them bad, a line each."""
    notes: Sequence[str]
    """What else is worth knowing, a line each."""


@dataclass(frozen=True, kw_only=True)
class ExportedData:
    """What an export wrote."""

    exported: Path
    """The new folder."""
    format: str
    """Name of its format."""
    episodes: int
    """Episodes."""


def import_data(
    path: Path,
    out: Path,
    *,
    format_name: str | None,
    read_options: ReadOptions,
    requirements: Requirements,
    options: ImportOptions,
) -> ImportedData:
    """Import a foreign data set into a new store; returns what was written."""
    source = open_source(path, name=format_name, options=read_options)
    imported = import_source(
        source, out, options=options, requirements=requirements, read_options=read_options
    )
    return ImportedData(
        store=_describe_store(imported.store),
        skipped_episodes=imported.num_skipped,
        notes=[problem.to_text() for problem in told_once(imported.problems)],
    )


def inspect_data(
    path: Path, *, format_name: str | None, read_options: ReadOptions
) -> StoreSummary | SourceSummary:
    """Describe a store or a foreign data set."""
    if format_name is None and _is_store(path):
        return _describe_store(open_store(path))
    if read_options.camera is None:  # several are shown, not asked for
        read_options = replace(read_options, camera=FIRST_CAMERA)
    return _describe_source(open_source(path, name=format_name, options=read_options))


def check_data(
    path: Path,
    *,
    format_name: str | None,
    read_options: ReadOptions,
    requirements: Requirements,
) -> CheckedData:
    """List all problems of a store or a foreign data set; `good` says whether all can be used."""
    if format_name is None and _is_store(path):
        store = open_store(path)
        store.verify()
        return CheckedData(good=True, episodes=len(store), problems=[], notes=[])
    source = open_source(path, name=format_name, options=read_options)
    problems = check_source(source, requirements)
    fatal = [problem for problem in problems if problem.fatal]
    notes = [problem for problem in problems if not problem.fatal]
    return CheckedData(
        good=not fatal,
        episodes=len(source.episodes),
        bad_episodes=len({problem.episode for problem in fatal}),
        problems=[problem.to_text() for problem in told_once(fatal)],
        notes=[problem.to_text() for problem in told_once(notes)],
    )


def export_data(path: Path, out: Path, *, format_name: str, options: ExportOptions) -> ExportedData:
    """Write a store in another format; returns what was written."""
    store = open_store(path)
    export_store(store, out, format_name=format_name, options=options)
    return ExportedData(exported=out, format=format_name, episodes=len(store))


def join_data(paths: Sequence[Path], out: Path, *, weights: Sequence[float] = ()) -> StoreSummary:
    """Join stores into a new one, mixed by weights if given; returns what was written."""
    return _describe_store(join_stores(paths, out, weights=weights))


def _is_store(path: Path) -> bool:
    return (path / MANIFEST_NAME).is_file()


def _describe_store(store: EpisodeStore) -> StoreSummary:
    manifest = store.manifest
    source = manifest.source
    return StoreSummary(
        store=store.path,
        environment=manifest.environment,
        episodes=manifest.num_episodes,
        frames=manifest.num_frames,
        frames_of_an_episode=_spread(store.lengths),
        frames_per_second=manifest.fps,
        pixels=f"{manifest.image_size} x {manifest.image_size}, {manifest.pixel_encoding}"
        + (f", of {', '.join(manifest.cameras)}" if manifest.cameras else ""),
        action_width=manifest.action_dim,
        proprio_width=manifest.proprio_dim,
        state_width=manifest.state_dim,
        tasks=sorted(set(store.tasks) - {""}),
        imported_from="collected here"
        if source is None
        else f"{source.name} ({source.format}, camera {source.camera})",
    )


def _describe_source(source: Source) -> SourceSummary:
    return SourceSummary(
        source=source.path,
        format=source.format,
        environment=source.environment,
        episodes=len(source.episodes),
        frames_per_second=source.fps,
        cameras=list(source.cameras),
        camera_read=source.camera,
        files=len(source.files),
        bytes=sum(file.stat().st_size for file in source.files),
        columns=dict(source.columns),
        notes=list(source.notes),
    )


def _spread(lengths: np.ndarray) -> str:
    return f"{lengths.min()} to {lengths.max()}, median {int(np.median(lengths))}"
