"""LeRobot data sets, versions 2.0, 2.1 and 3.0, read by pyarrow and PyAV.

meta/info.json                    features, frames per second, templates of paths
meta/episodes.jsonl, tasks.jsonl  2.x: one line for each episode, for each task
meta/episodes/**/*.parquet        3.0: one row for each episode, with its files and times
data/**/*.parquet                 numbers, one row for each frame (3.0: of several episodes)
videos/**/*.mp4                   one video for each camera and episode (3.0: several)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int64, UInt8

from jepawm.border import foreign, inside, require_regular
from jepawm.data.formats.lerobot.meta import (
    EpisodeEntry,
    GarbledEntry,
    Info,
    list_episodes,
    read_info,
    read_table,
    require_file,
)
from jepawm.data.jpeg_frames import decode_picture
from jepawm.data.recording import (
    Episode,
    Format,
    ReadOptions,
    Recording,
    Source,
    all_files,
    choose_camera,
    matrix,
    refuse,
)
from jepawm.data.video import pick_times, read_video, video_times
from jepawm.errors import UserError
from jepawm.strict_json import expect

_ACTIONS = ("action", "actions")
_PROPRIO = ("observation.state", "state", "observation.states")
_STATE = "observation.environment_state"
_SUFFIXES = (".json", ".jsonl", ".parquet", ".mp4", ".png", ".jpg", ".jpeg")
_KEPT_TIMES = 4
"""Video files whose frame times are remembered; a file of 3.0 holds many episodes."""
_TimesOf = Callable[[Path], tuple[Int64[np.ndarray, " n"], Fraction]]
"""Times of all frames of a video, remembered."""


def open_lerobot(path: Path, options: ReadOptions) -> Source:
    """Open a data set folder."""
    info = read_info(path)
    keys = _choose_keys(info, options)
    times = lru_cache(maxsize=_KEPT_TIMES)(_times)
    return Source(
        format="lerobot",
        path=path,
        environment=info.robot or path.resolve().name,
        fps=info.fps,
        cameras=info.cameras,
        camera=keys.camera,
        episodes=[
            Episode(
                name=f"row {entry.index} of {entry.file.name}",
                file=entry.file,
                read=partial(refuse, entry.error),
            )
            if isinstance(entry, GarbledEntry)
            else Episode(
                name=f"episode {entry.index}",
                file=entry.data_file,
                read=partial(_read, info, entry, keys=keys, times=times),
            )
            for entry in list_episodes(info, camera=keys.camera)
        ],
        files=[file for file in all_files(path) if file.suffix in _SUFFIXES],
        columns={name: feature.to_text() for name, feature in info.features.items()},
    )


def _recognises(path: Path) -> bool:
    return (path / "meta" / "info.json").is_file()


FORMAT = Format(
    summary="LeRobot data set, versions 2.0, 2.1 and 3.0",
    recognises=_recognises,
    open=open_lerobot,
)


@dataclass(frozen=True, kw_only=True)
class _Keys:
    camera: str
    actions: str
    proprio: tuple[str, ...]
    state: str | None


def _choose_keys(info: Info, options: ReadOptions) -> _Keys:
    numbers = [name for name, feature in info.features.items() if feature.is_number]
    usual = [name for name in _ACTIONS if name in numbers]
    actions = options.action_key or (usual[0] if usual else "")
    if options.proprio_key == "none":
        proprio: Sequence[str] = []
    elif options.proprio_key is not None:
        proprio = options.proprio_key.split(",")
    else:
        proprio = [name for name in _PROPRIO if name in numbers][:1]
    for option, wanted in (("--action-key", [actions]), ("--proprio-key", proprio)):
        for name in wanted:
            if name not in numbers:
                raise UserError(
                    f"{info.path}: there is no column {name!r}; by {option} choose among: "
                    f"{', '.join(numbers)}"
                )
    state = _STATE if _STATE in numbers else None
    camera = choose_camera(options.camera, info.cameras, where=info.path)
    return _Keys(camera=camera, actions=actions, proprio=tuple(proprio), state=state)


def _read(info: Info, entry: EpisodeEntry, *, keys: _Keys, times: _TimesOf) -> Recording:
    is_video = info.features[keys.camera].dtype == "video"
    names = ["timestamp", keys.actions, *keys.proprio]
    names += [keys.state] if keys.state else []
    names += [] if is_video else [keys.camera]
    table = read_table(info, entry, columns=list(dict.fromkeys(names)))
    if table.num_rows != entry.length:
        raise UserError(
            f"{entry.data_file} has {table.num_rows} rows, meta/ says {entry.length} frames; copy "
            "the file again, or leave the episode out"
        )
    with foreign(entry.data_file, "table of LeRobot"):
        actions = matrix(table, keys.actions, file=entry.data_file)
        proprio = [matrix(table, name, file=entry.data_file) for name in keys.proprio]
        state = matrix(table, keys.state, file=entry.data_file) if keys.state else None
    if is_video:
        if entry.video_file is None:
            raise UserError(f"meta/episodes names no video of camera {keys.camera}; fix meta/")
        require_file(info, entry.video_file)
        wanted = entry.video_start + _timestamps(table, file=entry.data_file)
        frames = partial(_video_frames, entry.video_file, wanted, times=times)
        count = partial(_count_video, entry.video_file, wanted, times=times)
    else:
        frames = partial(_image_frames, info, entry, table, camera=keys.camera)
        count = partial(len, table)
    return Recording(
        num_frames=table.num_rows,
        actions=actions[: entry.num_actions],
        proprio=np.concatenate(proprio, axis=1) if proprio else None,
        state=state,
        task="; ".join(entry.tasks),
        video=entry.video_file,
        frames=frames,
        count_frames=count,
    )


def _timestamps(table: pa.Table, *, file: Path) -> Float[np.ndarray, " L"]:
    """Return the times of all rows in seconds; they say which frames of the video belong to them."""
    seconds = matrix(table, "timestamp", file=file)[:, 0]
    wrong = {
        "is NaN or infinite": ~np.isfinite(seconds),
        "does not rise": np.diff(seconds, prepend=-np.inf) <= 0,
    }
    for what, rows in wrong.items():
        if rows.any():
            raise UserError(
                f"{file}: timestamp {what} at row {int(np.argmax(rows))} of the episode, so its "
                "frames cannot be found in the video; fix the table, or leave the episode out"
            )
    return seconds


def _times(file: Path) -> tuple[Int64[np.ndarray, " n"], Fraction]:
    return video_times(file, name=str(file))


def _count_video(file: Path, wanted: Float[np.ndarray, " k"], *, times: _TimesOf) -> int:
    there, unit = times(file)
    return len(pick_times(there, wanted, unit=unit))


def _video_frames(
    file: Path, wanted: Float[np.ndarray, " k"], *, times: _TimesOf
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    there, unit = times(file)
    return read_video(file, name=str(file), times=pick_times(there, wanted, unit=unit))


def _image_frames(
    info: Info, entry: EpisodeEntry, table: pa.Table, *, camera: str
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    for number, row in enumerate(table[camera]):
        with foreign(entry.data_file, "table of LeRobot"):
            image = row.as_py()
        where = f"{camera} in row {number}"
        image = expect(image, dict, where=entry.data_file, field=where)
        content = image.get("bytes")
        if content is None:
            file = inside(info.path, image.get("path"), field=where, file=entry.data_file)
            require_regular(file)
            content = file.read_bytes()
        if not isinstance(content, bytes):
            raise UserError(f"{entry.data_file}: {where} holds no picture; copy it again")
        yield decode_picture(content, name=f"{camera} of {entry.data_file}, row {number}")
