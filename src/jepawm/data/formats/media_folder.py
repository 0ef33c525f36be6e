"""A folder of videos or images, with tables of actions next to them.

    SRC/actions.csv (or .parquet)      all episodes, distinguished by a column `episode`; or
    SRC/<episode>.csv (or .parquet)    a table for each
    SRC/<episode>.mp4                  its frames as a video (mp4, mkv, mov, avi, webm), or
    SRC/<episode>/*.png                as images (png, jpg), in the order of their numbers

With several cameras, each has a folder of its own: SRC/<camera>/<episode>.mp4. A table has one row
for each frame, or one less. Columns whose names begin with `action`, `proprio` and `state` are what
they say; `task` is what the episode is about; others are left out unless they are named.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
from jaxtyping import Shaped, UInt8

from jepawm.border import foreign, inside, require_inside
from jepawm.data.jpeg_frames import decode_picture
from jepawm.data.recording import (
    Episode,
    Format,
    ReadOptions,
    Recording,
    Source,
    all_files,
    choose_camera,
    is_there,
    matrix,
    read_any,
    read_parquet,
    require_distinct,
    require_own,
)
from jepawm.data.video import read_video, video_rate, video_times
from jepawm.errors import UserError, plain_text

_TABLES = (".csv", ".parquet")
_VIDEOS = (".mp4", ".mkv", ".mov", ".avi", ".webm")
_IMAGES = (".png", ".jpg", ".jpeg")
_ONE_TABLE = "actions"
_HERE = "frames"
"""Name of the camera whose files are in the folder itself."""


def open_media_folder(path: Path, options: ReadOptions) -> Source:
    """Open a folder."""
    tables = _tables(path)
    if not tables:
        raise UserError(f"{path} holds no table of actions: add actions.csv or <episode>.csv")
    first = next(iter(tables))
    places = [name for name, file in tables.items() if _is_place(path, name, file=file)]
    cameras = next((found for name in places if (found := _cameras(path, name))), None)
    if cameras is None:
        _require_place(path, first, file=tables[first])
        raise UserError(
            f"{path} holds no frames: there is no {first}.mp4 and no folder {first}/ of images, "
            "neither here nor in a folder below, nor those of another episode; add them"
        )
    camera = choose_camera(options.camera, list(cameras), where=path)
    media = (_media(cameras[camera], name) for name in places)
    return Source(
        format="folder",
        path=path,
        environment=path.resolve().name,
        fps=read_any(
            (one for one in media if one is not None and is_there(one)), partial(_rate, path)
        ),
        cameras=list(cameras),
        camera=camera,
        episodes=[
            Episode(
                name=f"episode {name}",
                file=file,
                read=partial(_read, path, name, file=file, folder=cameras[camera], options=options),
            )
            for name, file in tables.items()
        ],
        files=all_files(path),
        columns=read_any(dict.fromkeys(tables.values()), partial(_columns, path)) or {},
    )


def _recognises(path: Path) -> bool:
    if not path.is_dir():
        return False
    tables = [file for file in path.iterdir() if file.suffix in _TABLES]
    if any(file.stem == _ONE_TABLE for file in tables):
        return True
    return any(_media(folder, file.stem) for file in tables for folder in _places(path))


FORMAT = Format(
    summary="videos or images with tables of actions",
    recognises=_recognises,
    open=open_media_folder,
)


def _read(path: Path, name: str, *, file: Path, folder: Path, options: ReadOptions) -> Recording:
    _require_place(path, name, file=file)
    table = _load(path, file)
    if file.stem == _ONE_TABLE:
        chosen = np.array([str(value) for value in table["episode"].to_pylist()]) == name
        table = table.filter(pa.array(chosen))
    actions = _joined(table, options.action_key or "action", file)
    if actions is None:
        raise UserError(
            f"{file} has no columns that begin with action; by --action-key choose among: "
            f"{plain_text(', '.join(table.column_names))}"
        )
    proprio = None
    if options.proprio_key != "none":
        proprio = _joined(table, options.proprio_key or "proprio", file)
        if proprio is None and options.proprio_key is not None:
            known = plain_text(", ".join(table.column_names))
            raise UserError(f"{file} has no column {options.proprio_key!r}; there are: {known}")
    media = _media(folder, name)
    if media is None:
        raise UserError(f"{folder} has no {name}.mp4 and no folder {name}/ of images; add it")
    require_inside(path, media)
    if media.is_dir():
        images = _images(media)
        frames, count, fps = partial(_read_images, path, images), partial(len, images), None
    else:
        frames = partial(read_video, media, name=str(media))
        count = partial(_count, media)
        fps = _rate(path, media)
    tasks = table["task"][:1].to_pylist() if "task" in table.column_names else []
    has_one_more = count() == len(actions) + 1  # the last frame needs no action
    return Recording(
        num_frames=len(actions) + has_one_more,
        actions=actions,
        proprio=proprio,
        state=_joined(table, "state", file),
        task=str(tasks[0]) if tasks and tasks[0] is not None else "",
        video=media,
        fps=fps,
        frames=frames,
        count_frames=count,
    )


def _tables(path: Path) -> dict[str, Path]:
    """Return the table of each episode by its name."""
    files = [file for file in path.iterdir() if file.suffix in _TABLES]
    whole = [file for file in files if file.stem == _ONE_TABLE]
    if not whole:
        return {file.stem: file for file in sorted(files, key=_order)}
    file = whole[0]
    table = _load(path, file)
    if "episode" not in table.column_names:
        known = plain_text(", ".join(table.column_names))
        raise UserError(f"{file} lacks the column episode; it has: {known}; rename one")
    kind = table.schema.field("episode").type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or _is_text(kind)):
        raise UserError(f"{file}: episode holds {kind}; expected numbers or names")
    names = dict.fromkeys(str(value) for value in table["episode"].to_pylist())
    return dict.fromkeys(names, file)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)


def _load(path: Path, file: Path) -> pa.Table:
    require_own(path, file)
    if file.suffix != ".csv":
        return read_parquet(file)
    with foreign(file, "CSV table"):
        table = pc.read_csv(file)
        try:
            names = table.column_names
        except UnicodeDecodeError as error:
            raise UserError(f"{file}: a name of a column is not UTF-8; save it as UTF-8") from error
    require_distinct(names, file=file)
    for field in table.schema:
        if pa.types.is_binary(field.type):
            raise UserError(f"{file}: {plain_text(field.name)} is not UTF-8; save it as UTF-8")
    return table


def _columns(path: Path, file: Path) -> dict[str, str]:
    return {field.name: str(field.type) for field in _load(path, file).schema}


def _joined(table: pa.Table, names: str, file: Path) -> Shaped[np.ndarray, "n d"] | None:
    """Join the columns that begin with one of the names (joined by commas), in their order."""
    wanted = tuple(names.split(","))
    chosen = [name for name in table.column_names if name.startswith(wanted)]
    if not chosen:
        return None
    return np.concatenate([matrix(table, name, file=file) for name in chosen], axis=1)


def _is_place(path: Path, episode: str, *, file: Path) -> bool:
    """Return whether a name is of a file of the data set; if not, reading the episode says why."""
    try:
        _require_place(path, episode, file=file)
    except UserError:
        return False
    return True


def _require_place(path: Path, episode: str, *, file: Path) -> None:
    """Check a name that the content of a table gives; others are names of files already."""
    if file.stem == _ONE_TABLE:
        inside(path, f"{episode}{_VIDEOS[-1]}", field="episode", file=file)


def _cameras(path: Path, episode: str) -> dict[str, Path]:
    return {
        _HERE if folder == path else folder.name: folder
        for folder in _places(path)
        if _media(folder, episode) is not None
    }


def _places(path: Path) -> list[Path]:
    return [path, *sorted(one for one in path.iterdir() if _is_folder(one))]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a link to too long a name, say
        return False


def _media(folder: Path, episode: str) -> Path | None:
    """Return the video or the folder of images of an episode; None if there is neither."""
    videos = [folder / f"{episode}{suffix}" for suffix in _VIDEOS]
    for video in videos:
        if is_there(video):
            return video
    images = folder / episode
    return images if _is_folder(images) and _images(images) else None


def _images(folder: Path) -> list[Path]:
    return sorted((one for one in folder.iterdir() if one.suffix.lower() in _IMAGES), key=_order)


def _order(file: Path) -> tuple[Sequence[int], str]:
    return [int(digits) for digits in re.findall(r"\d+", file.stem)], file.stem


def _read_images(
    path: Path, files: Sequence[Path]
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    for file in files:
        require_own(path, file)
        yield decode_picture(file.read_bytes(), name=str(file))


def _rate(path: Path, video: Path) -> float | None:
    require_own(path, video)
    return video_rate(video, name=str(video))


def _count(video: Path) -> int:
    return len(video_times(video, name=str(video))[0])
