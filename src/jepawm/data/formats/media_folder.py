"""A folder of videos or images, with tables of actions next to them.

    SRC/actions.csv (or .parquet)      all episodes, distinguished by a column `episode`; or
    SRC/<episode>.csv (or .parquet)    a table for each
    SRC/<episode>.mp4                  its frames as a video (mp4, mkv, mov, avi, webm), or
    SRC/<episode>/*.png                as images (png, jpg), in the order of their numbers

With several cameras, each has a folder of its own: SRC/<camera>/<episode>.mp4. Or each episode has
a folder with its table: SRC/<episode>/actions.csv beside its images, videos or folders of images.

A table has one row for each frame, or one less. Columns whose names begin with `action`, `proprio`
and `state` are what they say; without `proprio`, `state` is that: what others call proprioception.
`task` is what the episode is about; others are left out unless they are named.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped, UInt8

from jepawm.border import inside, require_inside
from jepawm.data.formats.csv_table import EPISODE, read_csv
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
    require_own,
)
from jepawm.data.resample import require_times
from jepawm.data.video import read_video, video_rate, video_times
from jepawm.errors import UserError, plain_text
from jepawm.foreign_files import is_sidecar, natural_order, picture_order

_TABLES = (".csv", ".tsv", ".parquet")
_VIDEOS = (".mp4", ".mkv", ".mov", ".avi", ".webm")
_IMAGES = (".png", ".jpg", ".jpeg")
_ONE_TABLE = "actions"
_HERE = "frames"
"""Name of the camera whose files are in the folder itself."""
_NO_ACTION = ("timestamp", "time_stamp", "_time", "_index", "_step", "_id")
"""Ends of names of columns that begin with `action` and are none."""
_TIMES = ("timestamp", "timestamps", "time", "time_s")
_MOST_NAMES = 10
_Load = Callable[[Path], pa.Table]


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where tables and frames are."""

    path: Path
    """The folder."""
    tables: dict[str, Path]
    """The table of each episode by its name."""
    within: bool
    """Whether each episode has a folder with its table and its frames."""

    @property
    def is_one_table(self) -> bool:
        """Return whether one table has all episodes, and its content their names."""
        return not self.within and any(_stem(file) == _ONE_TABLE for file in self.tables.values())

    def cameras(self, episode: str) -> list[str]:
        """List the cameras of an episode."""
        if not self.within:
            folders = [self.path, *_folders(self.path)]
            return [self._name(one) for one in folders if _media(one, episode) is not None]
        folder = self.path / episode
        if _images(folder):
            return [_HERE]
        videos = [one.stem for one in _entries(folder) if one.suffix.lower() in _VIDEOS]
        return [*videos, *(one.name for one in _folders(folder) if _images(one))]

    def media(self, camera: str, episode: str) -> Path | None:
        """Return the video or the folder of images of an episode; None if there is neither."""
        if self.within:
            folder = self.path / episode
            return folder if camera == _HERE else _media(folder, camera)
        return _media(self.path if camera == _HERE else self.path / camera, episode)

    def place(self, camera: str, episode: str) -> str:
        """Say where frames are looked for."""
        folder, name = self.path, episode
        if self.within:
            folder, name = self.path / episode, camera
        elif camera != _HERE:
            folder = self.path / camera
        return plain_text(f"{folder} has no {name}.mp4 and no folder {name}/ of images")

    def _name(self, folder: Path) -> str:
        return _HERE if folder == self.path else folder.name


def open_media_folder(path: Path, options: ReadOptions) -> Source:
    """Open a folder."""
    load = lru_cache(maxsize=1)(partial(_load, path))
    layout = _layout(path, load)
    if not layout.tables:
        raise UserError(f"{path} holds no table of actions: add actions.csv or <episode>.csv")
    first = next(iter(layout.tables))
    places = [name for name in layout.tables if _is_place(layout, name)]
    cameras = next((found for name in places if (found := layout.cameras(name))), None)
    if cameras is None:
        _require_place(layout, first)
        raise UserError(
            plain_text(
                f"{path} holds no frames: there is no {first}.mp4 and no folder {first}/ of images, "
                "neither here nor in a folder below, nor those of another episode; there is: "
                f"{_there(path)}; add them, or write the names that are there into the table"
            )
        )
    camera = choose_camera(options.camera, cameras, where=path)
    media = (layout.media(camera, name) for name in places)
    columns = read_any(dict.fromkeys(layout.tables.values()), partial(_columns, load)) or {}
    return Source(
        format="folder",
        path=path,
        environment=path.resolve().name,
        fps=read_any(
            (one for one in media if one is not None and is_there(one)), partial(_rate, path)
        ),
        cameras=cameras,
        camera=camera,
        episodes=[
            Episode(
                name=f"episode {name}",
                file=file,
                read=partial(_read, layout, name, camera=camera, load=load, options=options),
            )
            for name, file in layout.tables.items()
        ],
        files=all_files(path),
        columns=columns,
        notes=list(_notes(list(columns), options)),
    )


def _recognises(path: Path) -> bool:
    if not path.is_dir():
        return False
    if any(_stem(file) == _ONE_TABLE for file in _table_files(path)):
        return True
    tables = {file.stem: file for file in _table_files(path)}
    beside = _Layout(path=path, tables=tables, within=False)
    return any(beside.cameras(name) for name in tables) or bool(_tables_within(path))


FORMAT = Format(
    summary="videos or images with tables of actions",
    recognises=_recognises,
    open=open_media_folder,
)


def _read(
    layout: _Layout, name: str, *, camera: str, load: _Load, options: ReadOptions
) -> Recording:
    _require_place(layout, name)
    file = layout.tables[name]
    table = load(file)
    if layout.is_one_table:
        table = table.filter(pa.array(np.array(_episodes(table)) == name))
    kinds = _kinds(table.column_names, options)
    rows = {kind: _joined(table, chosen, file) for kind, chosen in kinds.items()}
    actions = rows["actions"]
    known = plain_text(", ".join(table.column_names))
    if actions is None:
        raise UserError(
            f"{file} has no columns that begin with {plain_text(options.action_key or 'action')}; "
            f"by --action-key choose among: {known}"
        )
    if rows["proprioception"] is None and options.proprio_key not in (None, "none"):
        raise UserError(f"{file} has no column {options.proprio_key!r}; there are: {known}")
    media = layout.media(camera, name)
    if media is None:
        raise UserError(f"{layout.place(camera, name)}; add it; there is: {_there(layout.path)}")
    require_inside(layout.path, media)
    if media.is_dir():
        images = _images(media)
        frames, count, fps = partial(_read_images, layout.path, images), partial(len, images), None
    else:
        frames = partial(read_video, media, name=str(media))
        count = partial(_count, media)
        fps = _rate(layout.path, media)
        _require_times(table, fps, media=media, file=file)
    tasks = table["task"][:1].to_pylist() if "task" in table.column_names else []
    has_one_more = count() == len(actions) + 1  # the last frame needs no action
    return Recording(
        num_frames=len(actions) + has_one_more,
        actions=actions,
        proprio=rows["proprioception"],
        state=rows["state"],
        task=str(tasks[0]) if tasks and tasks[0] is not None else "",
        video=media,
        fps=fps,
        frames=frames,
        count_frames=count,
    )


def _kinds(columns: Sequence[str], options: ReadOptions) -> dict[str, list[str]]:
    """Return which columns become actions, proprioception and state, each in their order."""

    def named(names: str) -> list[str]:
        return [one for one in columns if one.lower().startswith(tuple(names.lower().split(",")))]

    actions = named(options.action_key or "action")
    if options.action_key is None:
        actions = [one for one in actions if not one.lower().endswith(_NO_ACTION)]
    proprio, state = named(options.proprio_key or "proprio"), named("state")
    if options.proprio_key == "none":
        proprio = []
    elif options.proprio_key is None and not proprio:
        proprio, state = state, []
    return {"actions": actions, "proprioception": proprio, "state": state}


def _notes(columns: Sequence[str], options: ReadOptions) -> Iterator[str]:
    """Say which columns became what."""
    kinds = _kinds(columns, options)
    kinds["task"] = [name for name in columns if name == "task"]
    used = {EPISODE, *(name for names in kinds.values() for name in names)}
    kinds["left out"] = [name for name in columns if name not in used]
    parts = [f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names]
    if columns:
        yield plain_text(f"columns by their names ({'; '.join(parts)})")


def _layout(path: Path, load: _Load) -> _Layout:
    files = _table_files(path)
    whole = [file for file in files if _stem(file) == _ONE_TABLE]
    if whole:
        names = _names_of(load(whole[0]), whole[0])
        return _Layout(path=path, tables=dict.fromkeys(names, whole[0]), within=False)
    beside = _Layout(path=path, tables={file.stem: file for file in files}, within=False)
    if any(beside.cameras(name) for name in beside.tables):
        return beside
    within = _tables_within(path)
    return _Layout(path=path, tables=within, within=True) if within else beside


def _names_of(table: pa.Table, file: Path) -> list[str]:
    if EPISODE not in table.column_names:
        known = plain_text(", ".join(table.column_names))
        raise UserError(f"{file} lacks the column episode; it has: {known}; rename one")
    kind = table.schema.field(EPISODE).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or _is_text(kind)):
        raise UserError(f"{file}: episode holds {kind}; expected numbers or names")
    return sorted(dict.fromkeys(_episodes(table)), key=natural_order)


def _episodes(table: pa.Table) -> list[str]:
    return [str(value).strip() for value in table[EPISODE].to_pylist()]


def _tables_within(path: Path) -> dict[str, Path]:
    """Return the table of each folder that holds one, and frames, by the folder's name."""
    found = {}
    for folder in _folders(path):
        files = _table_files(folder)
        chosen = [file for file in files if _stem(file) == _ONE_TABLE] or files
        if len(chosen) == 1:
            found[folder.name] = chosen[0]
    layout = _Layout(path=path, tables=found, within=True)
    return found if any(layout.cameras(name) for name in found) else {}


def _table_files(folder: Path) -> list[Path]:
    return [file for file in _entries(folder) if file.suffix.lower() in _TABLES]


def _stem(file: Path) -> str:
    return file.stem.lower()


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)


def _load(path: Path, file: Path) -> pa.Table:
    require_own(path, file)
    return read_parquet(file) if file.suffix.lower() == ".parquet" else read_csv(file)


def _columns(load: _Load, file: Path) -> dict[str, str]:
    return {field.name: str(field.type) for field in load(file).schema}


def _joined(table: pa.Table, names: list[str], file: Path) -> Shaped[np.ndarray, "n d"] | None:
    if not names:
        return None
    return np.concatenate([matrix(table, name, file=file) for name in names], axis=1)


def _require_times(table: pa.Table, fps: float | None, *, media: Path, file: Path) -> None:
    """Compare the times of a table, where it has some, with the rate of its video."""
    for name in table.column_names:
        kind = table.schema.field(name).type
        is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if fps is not None and name.lower() in _TIMES and is_number:
            times = table[name].to_numpy().astype(np.float64)
            require_times(times, fps, said=f"the video {media}", of=str(file), units=True)


def _is_place(layout: _Layout, episode: str) -> bool:
    """Return whether a name is of a file of the data set; if not, reading the episode says why."""
    try:
        _require_place(layout, episode)
    except UserError:
        return False
    return True


def _require_place(layout: _Layout, episode: str) -> None:
    """Check a name that the content of a table gives; others are names of files already."""
    if layout.is_one_table:
        file = layout.tables[episode]
        inside(layout.path, f"{episode}{_VIDEOS[-1]}", field="episode", file=file)


def _there(path: Path) -> str:
    """List the first names of what could be frames."""
    names = [
        f"{one.name}/" if _is_folder(one) else one.name
        for one in _entries(path)
        if _is_folder(one) or one.suffix.lower() in _VIDEOS
    ]
    more = ", ..." * (len(names) > _MOST_NAMES)
    return plain_text(", ".join(names[:_MOST_NAMES]) + more) or "nothing"


def _entries(folder: Path) -> list[Path]:
    """List what is in a folder, in natural order, but what a desktop left there."""
    found = [one for one in folder.iterdir() if not is_sidecar(folder, one)]
    return sorted(found, key=lambda one: natural_order(one.name))


def _folders(path: Path) -> list[Path]:
    return [one for one in _entries(path) if _is_folder(one)]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a link to too long a name, say
        return False


def _media(folder: Path, episode: str) -> Path | None:
    """Return the video or the folder of images of a name; None if there is neither."""
    for suffix in _VIDEOS:
        for video in (folder / f"{episode}{suffix}", folder / f"{episode}{suffix.upper()}"):
            if is_there(video):
                return video
    images = folder / episode
    return images if _is_folder(images) and _images(images) else None


def _images(folder: Path) -> list[Path]:
    return picture_order(one for one in _entries(folder) if one.suffix.lower() in _IMAGES)


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
