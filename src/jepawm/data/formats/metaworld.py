"""The reference's Metaworld tables: one row for each episode, its video inside.

    *.parquet    task (text), video (mp4 bytes, or a struct with `bytes`), states [T + 1, 39],
                 actions [T, 4], rewards [T]

Proprioception is the first four numbers of the state: hand position and gripper opening.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jepawm.data.recording import (
    Episode,
    Format,
    ReadOptions,
    Recording,
    Source,
    choose_camera,
    refuse_keys,
    require_columns,
)
from jepawm.data.video import read_video, video_rate, video_times
from jepawm.errors import UserError

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
    group_of = lru_cache(maxsize=1)(_read_group)
    episodes = []
    for file in files:
        footer = _footer(file)
        require_columns(footer.schema.to_arrow_schema().names, _COLUMNS, file=file)
        for group in range(footer.num_row_groups):
            for row in range(footer.row_group(group).num_rows):
                read = partial(_read, group_of, file, group=group, row=row)
                name = f"episode {len(episodes)}"
                episodes.append(Episode(name=name, file=file, read=read))
    first = group_of(files[0], 0)["video"][0].as_py()
    schema = _footer(files[0]).schema.to_arrow_schema()
    return Source(
        format="metaworld",
        path=path,
        environment="metaworld",
        fps=video_rate(_content(first), name=f"the first video of {files[0]}"),
        cameras=[_CAMERA],
        camera=camera,
        episodes=episodes,
        files=files,
        columns={field.name: str(field.type) for field in schema},
    )


def _recognises(path: Path) -> bool:
    files = _files(path)
    if not files or (path / "meta").exists():
        return False
    return set(_COLUMNS) <= set(_footer(files[0]).schema.to_arrow_schema().names)


FORMAT = Format(
    summary="Metaworld as the reference keeps it", recognises=_recognises, open=open_metaworld
)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".parquet" else []
    return sorted(path.rglob("*.parquet"))


def _footer(file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{file} is truncated or damaged ({error}); copy it again") from error


def _read_group(file: Path, group: int) -> pa.Table:
    try:
        return pq.ParquetFile(file).read_row_group(group, columns=_COLUMNS)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{file} is truncated or damaged ({error}); copy it again") from error


def _read(
    group_of: Callable[[Path, int], pa.Table],
    file: Path,
    *,
    group: int,
    row: int,
) -> Recording:
    values = group_of(file, group).slice(row, 1).to_pylist()[0]
    states = _matrix(values["states"], "states", file)
    video = _content(values["video"])
    name = f"the video in row {row} of row group {group} of {file}"
    return Recording(
        num_frames=len(states),
        actions=_matrix(values["actions"], "actions", file).astype(np.float32),
        proprio=states[:, :_PROPRIO_WIDTH],
        state=states,
        task=str(values["task"]),
        frames=partial(read_video, video, name=name),
        count_frames=lambda: len(video_times(video, name=name)[0]),
    )


def _matrix(rows: Sequence[Sequence[float]], name: str, file: Path) -> np.ndarray:
    widths = {len(row) for row in rows}
    if len(widths) != 1:
        raise UserError(f"{file}: rows of {name} have several lengths, {sorted(widths)}")
    return np.asarray(rows, dtype=np.float64)


def _content(video: bytes | dict[str, bytes]) -> bytes:
    return video if isinstance(video, bytes) else video["bytes"]
