"""LeRobot data sets whose `meta/` is old, or says what was true before a merge."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from jepawm.data.formats.lerobot.meta import EpisodeEntry, Feature, Info
from jepawm.data.recording import read_parquet
from jepawm.errors import UserError, plain_text, show
from jepawm.foreign_files import listed
from jepawm.strict_json import entry, expect, optional_entry

_INDEX = "episode_index"
_OWN_COLUMNS = ("timestamp", "frame_index", _INDEX, "index", "task_index")


def features_of_keys(content: Mapping[str, object], *, where: Path) -> dict[str, Feature]:
    """Return the features of the first version 2.0, which listed `keys` and `shapes` instead."""
    shapes = entry(content, "shapes", dict, where=where)
    kinds = {"keys": "float32", "video_keys": "video", "image_keys": "image"}
    features = {
        name: Feature(dtype="float32" if name == "timestamp" else "int64", shape=(1,))
        for name in _OWN_COLUMNS
    }
    for field, dtype in kinds.items():
        for name in optional_entry(content, field, list, where=where) or []:
            if not isinstance(name, str):
                raise UserError(f"{where}: {field} holds {show(name)}, not a name; copy it again")
            shape = _shape(shapes.get(name), field=f"shape of {name}", where=where)
            features[name] = Feature(dtype=dtype, shape=shape)
    return features


def _shape(value: object, *, field: str, where: Path) -> tuple[int, ...]:
    if isinstance(value, dict):  # of pictures
        value = [value.get(side) for side in ("height", "width", "channels")]
    sides = value if isinstance(value, list) else [value]
    return tuple(expect(side, int, where=where, field=field) for side in sides)


def find_rows(
    info: Info, entry: EpisodeEntry, *, table: pa.Table | None, columns: list[str]
) -> tuple[pa.Table, str]:
    """Find the rows of an episode that are not all where `meta/` says; returns them and a note.

    Args:
        info: the data set.
        entry: the episode.
        table: what is where `meta/` says; None if the file is missing.
        columns: what to read.
    """
    there = 0 if table is None else table.num_rows
    if there == 0 and table is not None and info.version != "v3.0":
        whole = read_parquet(entry.data_file, columns, optional=(_INDEX,))
        others = whole[_INDEX].unique().to_pylist() if _INDEX in whole.column_names else []
        if whole.num_rows == entry.length and len(others) == 1:
            note = f"{entry.data_file.name} calls itself episode {others[0]}; its name counts"
            return whole.select(columns), note
    folder = info.path / entry.data_file.relative_to(info.path).parts[0]
    parts, files = [], []
    for file in listed(folder, "**/*.parquet"):
        part = read_parquet(file, columns, only=(_INDEX, entry.index))
        if part.num_rows:
            parts.append(part)
            files.append(str(file.relative_to(info.path)))
    found, names = sum(part.num_rows for part in parts), plain_text(", ".join(files))
    said = entry.data_file.relative_to(info.path)
    if found != entry.length:
        raise UserError(
            f"{entry.data_file} has {there} rows of episode {entry.index}, meta/ says "
            f"{entry.length} frames; all tables together have {found} ({names or 'in none'}): the "
            "tables or meta/ are of another state of the data set; copy both again, or leave the "
            "episode out"
        )
    return pa.concat_tables(parts), f"meta/ says that its rows are in {said}; they are in {names}"
