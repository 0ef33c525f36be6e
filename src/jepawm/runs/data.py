"""`jepawm data`: import, inspect, check and export data sets."""

from pathlib import Path

import numpy as np

from jepawm.data.checking import Requirements
from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.exporting import ExportOptions, export_store
from jepawm.data.formats import open_source
from jepawm.data.importing import ImportOptions, check_source, import_source
from jepawm.data.manifest import MANIFEST_NAME
from jepawm.data.recording import ReadOptions, Source


def import_data(
    path: Path,
    out: Path,
    *,
    format_name: str | None,
    read_options: ReadOptions,
    requirements: Requirements,
    options: ImportOptions,
) -> dict[str, object]:
    """Import a foreign data set into a new store; returns what was written."""
    source = open_source(path, name=format_name, options=read_options)
    imported = import_source(
        source, out, options=options, requirements=requirements, read_options=read_options
    )
    return {
        **_describe_store(imported.store),
        "skipped episodes": imported.num_skipped,
        "notes": [problem.to_text() for problem in imported.problems],
    }


def inspect_data(
    path: Path, *, format_name: str | None, read_options: ReadOptions
) -> dict[str, object]:
    """Describe a store or a foreign data set."""
    if format_name is None and _is_store(path):
        return _describe_store(open_store(path))
    return _describe_source(open_source(path, name=format_name, options=read_options))


def check_data(
    path: Path,
    *,
    format_name: str | None,
    read_options: ReadOptions,
    requirements: Requirements,
) -> dict[str, object]:
    """List all problems of a store or a foreign data set; `good` says whether all can be used."""
    if format_name is None and _is_store(path):
        store = open_store(path)
        store.verify()
        return {"good": True, "episodes": len(store), "problems": [], "notes": []}
    source = open_source(path, name=format_name, options=read_options)
    problems = check_source(source, requirements)
    fatal = [problem for problem in problems if problem.fatal]
    return {
        "good": not fatal,
        "episodes": len(source.episodes),
        "bad episodes": len({problem.episode for problem in fatal}),
        "problems": [problem.to_text() for problem in fatal],
        "notes": [problem.to_text() for problem in problems if not problem.fatal],
    }


def export_data(
    path: Path, out: Path, *, format_name: str, options: ExportOptions
) -> dict[str, object]:
    """Write a store in another format; returns what was written."""
    store = open_store(path)
    export_store(store, out, format_name=format_name, options=options)
    return {"exported": out, "format": format_name, "episodes": len(store)}


def _is_store(path: Path) -> bool:
    return (path / MANIFEST_NAME).is_file()


def _describe_store(store: EpisodeStore) -> dict[str, object]:
    manifest = store.manifest
    source = manifest.source
    return {
        "store": store.path,
        "environment": manifest.environment,
        "episodes": manifest.num_episodes,
        "frames": manifest.num_frames,
        "frames of an episode": _spread(store.lengths),
        "frames per second": manifest.fps or "unknown",
        "pixels": f"{manifest.image_size} x {manifest.image_size}, {manifest.pixel_encoding}",
        "action width": manifest.action_dim,
        "proprio width": manifest.proprio_dim or "none",
        "state width": manifest.state_dim or "none",
        "tasks": sorted(set(store.tasks) - {""}) or "none",
        "imported from": "collected here"
        if source is None
        else f"{source.name} ({source.format}, camera {source.camera})",
    }


def _describe_source(source: Source) -> dict[str, object]:
    return {
        "source": source.path,
        "format": source.format,
        "environment": source.environment,
        "episodes": len(source.episodes),
        "frames per second": source.fps or "unknown",
        "cameras": list(source.cameras),
        "camera read": source.camera,
        "files": len(source.files),
        "bytes": sum(file.stat().st_size for file in source.files),
        "columns": dict(source.columns),
    }


def _spread(lengths: np.ndarray) -> str:
    return f"{lengths.min()} to {lengths.max()}, median {int(np.median(lengths))}"
