"""Recordings of the user's: found as a store, or imported below the data root at first use."""

import hashlib
import logging
import os
from dataclasses import replace
from pathlib import Path

from jepawm.data.checking import Requirements
from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.formats import open_source
from jepawm.data.importing import ImportOptions, import_source
from jepawm.data.manifest import MANIFEST_NAME
from jepawm.data.recording import ReadOptions, Source
from jepawm.errors import UserError
from jepawm.experiment import DataConfig, Experiment
from jepawm.files import alone

_LOG = logging.getLogger(__name__)


def use_recordings(experiment: Experiment, path: Path, *, data_root: Path) -> Experiment:
    """Return the experiment with `data.store` set to recordings, imported where they are foreign.

    Args:
        experiment: the configuration; its `data.image_size` is that of the import.
        path: a store, or a data set of any known format.
        data_root: folder of imported data sets.

    Raises:
        UserError: if both `--data` and `data.store` are given, or the data set is damaged.
    """
    data = experiment.data
    if (path / MANIFEST_NAME).is_file():
        store = str(path.resolve())
    else:
        store = _find_or_import(path, data, data_root=data_root).path.name
    if data.store not in (None, store):
        raise UserError(f"--data {path} and --data.store {data.store} differ; give one of them")
    return replace(experiment, data=replace(data, store=store))


def _find_or_import(path: Path, data: DataConfig, *, data_root: Path) -> EpisodeStore:
    source = open_source(path, name=None, options=ReadOptions())
    out = data_root / f"{path.resolve().name}-{data.image_size}px-{_fingerprint(source)}"
    with alone(out):
        if out.exists():
            return open_store(out)
        _LOG.info("importing %s into %s", path, out)
        imported = import_source(
            source,
            out,
            options=ImportOptions(image_size=data.image_size),
            requirements=Requirements(),
            read_options=ReadOptions(),
        )
    return imported.store


def _fingerprint(source: Source) -> str:
    """Return 8 digits that change with the names and sizes of a source's files."""
    root = source.path if source.path.is_dir() else source.path.parent
    lines = sorted(
        f"{Path(os.path.relpath(file, root)).as_posix()} {file.stat().st_size}\n"
        for file in source.files
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:8]
