"""The reference's Metaworld tables: one row for each episode, its video inside.

    *.parquet    task (text), video (mp4 bytes, or a struct with `bytes`), states [T + 1, 39],
                 actions [T, 4], rewards [T]

Proprioception is the first four numbers of the state: hand position and gripper opening.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from jepawm.border import foreign, require_claim
from jepawm.data.recording import (
    Episode,
    Format,
    ReadOptions,
    Recording,
    Source,
    check_parquet,
    choose_camera,
    is_list,
    own_files,
    read_any,
    refuse_keys,
    require_columns,
    require_own,
)
from jepawm.data.video import read_video, video_rate, video_times
from jepawm.errors import UserError
from jepawm.foreign_files import listed

_COLUMNS = ["task", "video", "states", "actions"]
_PROPRIO_WIDTH = 4
_CAMERA = "video"


def open_metaworld(path: Path, options: ReadOptions) -> Source:
    """Open a table, or a folder of tables."""
    refuse_keys(options, "action_key", "proprio_key")
    camera = choose_camera(options.camera, [_CAMERA], where=path)
    files = _files(path)
    if not files:
        raise UserError(f"{path} holds no parquet file; check the path")
    checked = partial(_check, path)
    schema = read_any(files, checked) or checked(files[0])
    episodes = list(_episodes(path, files))
    return Source(
        format="metaworld",
        path=path,
        environment="metaworld",
        fps=read_any(episodes, lambda episode: episode.read().fps),
        cameras=[_CAMERA],
        camera=camera,
        episodes=episodes,
        files=own_files(path, files),
        columns={field.name: str(field.type) for field in schema},
    )


def _recognises(path: Path) -> bool:
    files = _files(path)
    if not files or (path / "meta").exists():
        return False
    names = read_any(files, partial(_names, path)) or _names(path, files[0])
    return set(_COLUMNS) <= set(names)


FORMAT = Format(
    summary="Metaworld as the reference keeps it", recognises=_recognises, open=open_metaworld
)


def _names(path: Path, file: Path) -> list[str]:
    require_own(path, file)
    return check_parquet(file).schema.to_arrow_schema().names


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".parquet" else []
    return listed(path, "**/*.parquet")


def _check(path: Path, file: Path) -> pa.Schema:
    """Check rows and columns of a table; returns its schema."""
    require_own(path, file)
    footer = check_parquet(file)
    require_claim(footer.num_rows, file=file, what="one video for each of its rows")
    schema = footer.schema.to_arrow_schema()
    require_columns(schema.names, _COLUMNS, file=file)
    expected = {
        "task": _is_text(schema.field("task").type),
        "video": _is_video(schema.field("video").type),
        "states": _is_matrix(schema.field("states").type),
        "actions": _is_matrix(schema.field("actions").type),
    }
    for name, is_right in expected.items():
        if not is_right:
            raise UserError(
                f"{file}: {name} holds {schema.field(name).type}; expected a text, a video in "
                "bytes, rows of states and rows of actions: copy it again"
            )
    return schema


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_video(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_video(kind.field(index).type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_matrix(kind: pa.DataType) -> bool:
    for _ in range(2):
        if not is_list(kind):
            return False
        kind = kind.value_type
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _episodes(path: Path, files: Sequence[Path]) -> Iterator[Episode]:
    """Return an episode for each row of all tables; a damaged table is one that cannot be read."""
    group_of = lru_cache(maxsize=1)(_read_group)
    count = 0
    for file in files:
        try:
            _check(path, file)
            footer = check_parquet(file)
        except UserError as error:
            yield Episode(name=f"all of {file.name}", file=file, read=partial(_refuse, str(error)))
            continue
        for group in range(footer.num_row_groups):
            for row in range(footer.row_group(group).num_rows):
                read = partial(_read, group_of, file, group=group, row=row)
                yield Episode(name=f"episode {count}", file=file, read=read)
                count += 1


def _refuse(message: str) -> NoReturn:
    raise UserError(message)


def _read_group(file: Path, group: int) -> pa.Table:
    with foreign(file, "parquet table"), pq.ParquetFile(file) as opened:
        return opened.read_row_group(group, columns=_COLUMNS)


def _read(
    group_of: Callable[[Path, int], pa.Table],
    file: Path,
    *,
    group: int,
    row: int,
) -> Recording:
    name = f"the video in row {row} of row group {group} of {file}"
    with foreign(name, "row of a table"):
        values = group_of(file, group).slice(row, 1).to_pylist()[0]
    states = _matrix(values["states"], "states", file)
    if states.shape[1] < _PROPRIO_WIDTH:
        raise UserError(f"{file}: states have {states.shape[1]} numbers, at least 4 are needed")
    video = values["video"]
    content = video["bytes"] if isinstance(video, dict) else video
    if not content:
        raise UserError(f"{name} is empty; copy it again")
    return Recording(
        num_frames=len(states),
        actions=_matrix(values["actions"], "actions", file),
        proprio=states[:, :_PROPRIO_WIDTH],
        state=states,
        task=values["task"] or "",
        frames=partial(read_video, content, name=name),
        count_frames=lambda: len(video_times(content, name=name)[0]),
        fps=video_rate(content, name=name),
    )


def _matrix(
    rows: Sequence[Sequence[float | None] | None] | None, name: str, file: Path
) -> Float[np.ndarray, "n d"]:
    widths = {None if row is None else len(row) for row in rows or ()}
    if len(widths) != 1 or None in widths:
        raise UserError(
            f"{file}: rows of {name} have several lengths or none; copy it again, or leave the "
            "episode out"
        )
    return np.asarray(rows, dtype=np.float64)
