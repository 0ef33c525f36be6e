"""The `meta/` folder of LeRobot data sets: features, episodes, and where their files are."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import TypeGuard

import pyarrow as pa

from jepawm.border import foreign, inside, require_inside, require_regular
from jepawm.data.recording import read_parquet
from jepawm.data.resample import is_rate
from jepawm.errors import UserError, plain_text, show
from jepawm.foreign_files import listed
from jepawm.strict_json import entry, expect, optional_entry, parse_json, read_json, read_text

VERSIONS = ("v2.0", "v2.1", "v3.0")
_IMAGES = ("video", "image")
_PLACE = ("chunk_index", "file_index", "from_timestamp")
"""Where an episode is stored: folder, file, seconds in a video."""
_CHUNKS = 1000
"""Episodes in a folder (2.x) where nothing is said."""
_MOST = 10**9
"""More than any data set has episodes or frames."""
_NUMBERS = ("chunk_index", "file_index", "episode_chunk", "episode_index", "total_episodes")
_TEXTS = ("video_key",)
_FORM = re.compile(r"0?(\d*)d?")
_WIDEST = 20
"""Most characters of a number in a path."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """Paths of files, such as `data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet`."""

    text: str
    """The path, with fields in braces."""
    name: str
    """Name of the entry that says it."""
    file: Path
    """File that says it."""
    root: Path
    """Folder of the data set."""

    def __post_init__(self) -> None:
        """Check the fields: names that are known, and numbers of a sane width."""
        where = f"{self.file}: {self.name}"
        try:
            parts = [part for part in Formatter().parse(self.text) if part[1] is not None]
        except ValueError as error:
            raise UserError(f"{where} is {show(self.text)} ({error}); copy it again") from error
        for _, field, form, conversion in parts:
            width = _FORM.fullmatch(form or "") if field in _NUMBERS else None
            if conversion or not (width or (field in _TEXTS and not form)):
                raise UserError(
                    f"{where} has the field {{{show(field)}}} in the form {show(form)}; known are "
                    f"{', '.join((*_NUMBERS, *_TEXTS))}, numbers in the form '03d'; copy it again"
                )
            digits = (width and width[1].lstrip("0")) or "0"
            if len(digits) > len(str(_WIDEST)) or int(digits) > _WIDEST:
                raise UserError(
                    f"{where} claims {digits[:40]} bytes for the field {field}, more than the "
                    f"{_WIDEST} of a number in a path; copy it again"
                )

    def path(self, fields: Mapping[str, int | str]) -> Path:
        """Return the path that the fields give; refuses one that leads out of the data set."""
        try:
            relative = self.text.format(**fields)
        except KeyError as error:
            raise UserError(
                f"{self.file}: {self.name} has the field {error}, which its version of LeRobot "
                f"does not have; known are {', '.join(fields)}; copy it again"
            ) from error
        return inside(self.root, relative, field=self.name, file=self.file)


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One column of the data set."""

    dtype: str
    """Type as LeRobot calls it: `video`, `image`, `float32`, ..."""
    shape: tuple[int, ...]
    """Shape of one entry."""
    names: tuple[str, ...] = ()
    """Names of its numbers; none where they are not told one by one."""

    @property
    def is_number(self) -> bool:
        """Return whether entries are numbers."""
        return self.dtype.startswith(("float", "int", "uint", "bool"))

    def to_text(self) -> str:
        """Return type and shape in words."""
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True, kw_only=True)
class Info:
    """`meta/info.json`."""

    path: Path
    """Folder of the data set."""
    version: str
    """Version of the layout."""
    fps: float
    """Frames per second."""
    robot: str
    """Name of the robot; empty if nothing is said."""
    num_episodes: object
    """Number of episodes that it says; nothing depends on it."""
    chunks_size: int
    """Episodes in a folder (2.x)."""
    data_path: Template
    """Paths of the tables."""
    video_path: Template | None
    """Paths of the videos; None where there are none."""
    features: Mapping[str, Feature]
    """All columns by name."""

    @property
    def cameras(self) -> list[str]:
        """Return the names of all cameras."""
        return [name for name, feature in self.features.items() if feature.dtype in _IMAGES]


@dataclass(frozen=True, kw_only=True)
class EpisodeEntry:
    """Where one episode is stored."""

    index: int
    """Number of the episode."""
    length: int
    """Number of frames."""
    num_actions: int
    """Number of actions that count; LeRobot keeps as many as frames, this library may say less."""
    data_file: Path
    """Table that holds its numbers."""
    video_file: Path | None
    """Video of the chosen camera; None if images are stored in the table."""
    video_start: float
    """Time of its first frame in the video, in seconds."""
    tasks: tuple[str, ...]
    """What it is about, in words."""


@dataclass(frozen=True, kw_only=True)
class GarbledEntry:
    """An episode of which `meta/` says something impossible."""

    index: int
    """Number of its row, from 0."""
    file: Path
    """File that says so."""
    error: UserError
    """What is wrong."""


def read_info(path: Path) -> Info:
    """Read and check `meta/info.json`."""
    file = path / "meta" / "info.json"
    if not file.exists() and not file.is_symlink():
        raise UserError(
            f"{path} is no LeRobot data set: {file} is missing; check the path, or copy meta/ again"
        )
    require_inside(path, file)
    content = expect(read_json(file, what="info.json"), dict, where=file, field="the content")
    version = entry(content, "codebase_version", str, where=file)
    if version not in VERSIONS:
        raise UserError(
            f"{file}: version {plain_text(version)}; convert it by the lerobot package to one of "
            f"{', '.join(VERSIONS)}"
        )
    fps = entry(content, "fps", float, where=file)
    if not is_rate(fps):
        raise UserError(f"{file}: fps is {fps:g}; write the frames per second")
    video_path = optional_entry(content, "video_path", str, where=file)
    is_new = version == "v3.0"
    sized = not is_new and content.get("chunks_size") is not None
    return Info(
        path=path,
        version=version,
        fps=fps,
        robot=optional_entry(content, "robot_type", str, where=file) or "",
        num_episodes=content.get("total_episodes"),
        chunks_size=_whole(content, "chunks_size", least=1, where=file) if sized else _CHUNKS,
        data_path=_template(entry(content, "data_path", str, where=file), "data_path", path),
        video_path=None if video_path is None else _template(video_path, "video_path", path),
        features=_features(content, file),
    )


def list_episodes(info: Info, *, camera: str) -> list[EpisodeEntry | GarbledEntry]:
    """List all episodes with the files of one camera."""
    if info.version == "v3.0":
        rows, read = _rows_v3(info, camera), _entry_v3
    else:
        rows, read = _rows_v2(info), _entry_v2
    entries: list[EpisodeEntry | GarbledEntry] = []
    for number, (file, row) in enumerate(rows):
        try:
            entries.append(read(info, camera, row, file))
        except UserError as error:
            entries.append(GarbledEntry(index=number, file=file, error=error))
    known = [one.index for one in entries if isinstance(one, EpisodeEntry)]
    if len(set(known)) < len(known):
        raise UserError(f"{info.path}/meta lists an episode twice; copy meta/ again")
    return sorted(entries, key=lambda one: one.index)


def read_table(
    info: Info, entry: EpisodeEntry, *, columns: list[str]
) -> tuple[pa.Table, tuple[str, ...]]:
    """Read the rows of one episode; also returns notes on where they were."""
    table = None
    if entry.data_file.exists() or info.version != "v3.0":
        require_file(info, entry.data_file)
        table = read_parquet(entry.data_file, columns, only=("episode_index", entry.index))
        if table.num_rows == entry.length:
            return table, ()
    from jepawm.data.formats.lerobot.repair import find_rows

    table, note = find_rows(info, entry, table=table, columns=columns)
    return table, (note,)


def require_file(info: Info, file: Path) -> None:
    """Check that a file of the data set is where info.json says."""
    if file.exists():
        require_regular(file, "copy it again, or leave the episode out")
        return
    said, *rest = file.relative_to(info.path).parts
    for folder in sorted(info.path.iterdir()):
        if folder.joinpath(*rest).is_file():
            raise UserError(
                f"{file} is missing: the files are under {folder.name}/ where meta/info.json says "
                f"{said}/; rename the folder {folder.name} to {said}, or fix the path in info.json"
            )
    raise UserError(f"{file} is missing; copy it again, or leave the episode out")


def _whole(content: Mapping[str, object], name: str, *, least: int, where: Path) -> int:
    number = entry(content, name, float, where=where)
    if not number.is_integer() or not least <= number <= _MOST:
        raise UserError(
            f"{where}: {name} is {show(content[name])}, not a whole number of at least {least}; "
            "copy it again"
        )
    return int(number)


def _template(text: str, name: str, path: Path) -> Template:
    return Template(text=text, name=name, file=path / "meta" / "info.json", root=path)


def _features(content: Mapping[str, object], file: Path) -> Mapping[str, Feature]:
    if "features" not in content and "shapes" in content:
        from jepawm.data.formats.lerobot.repair import features_of_keys

        return features_of_keys(content, where=file)
    features = entry(content, "features", dict, where=file)
    return {name: _feature(value, name, file) for name, value in features.items()}


def _feature(value: object, name: str, file: Path) -> Feature:
    where = f"{file}: feature {name}"
    content = expect(value, dict, where=where, field="its entry")
    shape = entry(content, "shape", list, where=where)
    return Feature(
        dtype=entry(content, "dtype", str, where=where),
        shape=tuple(expect(side, int, where=where, field="shape") for side in shape),
        names=_names(content.get("names")),
    )


def _names(given: object) -> tuple[str, ...]:
    """Return the names of the numbers of a column, of which layouts differ; none if they are others."""
    if isinstance(given, dict) and len(given) == 1:  # {"motors": [...]} of the first layouts
        given = next(iter(given.values()))
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        return ()
    return tuple(plain_text(one) for one in given)


def _rows_v2(info: Info) -> list[tuple[Path, dict[str, object]]]:
    file = info.path / "meta" / "episodes.jsonl"
    require_inside(info.path, file)
    rows = []
    for number, line in enumerate(read_text(file, what="list of episodes").split("\n"), start=1):
        if line.strip():
            where = f"{file}, line {number}"
            row = parse_json(line, where=where)
            rows.append((file, expect(row, dict, where=where, field="its content")))
    return rows


def _entry_v2(info: Info, camera: str, row: Mapping[str, object], file: Path) -> EpisodeEntry:
    index = _number(row, "episode_index", file)
    length = _number(row, "length", file)
    where = {"episode_chunk": index // info.chunks_size, "episode_index": index}
    if isinstance(info.num_episodes, int):
        where["total_episodes"] = info.num_episodes
    return EpisodeEntry(
        index=index,
        length=length,
        num_actions=_count(row, length, file),
        data_file=info.data_path.path(where),
        video_file=_video(info, camera, where),
        video_start=0.0,
        tasks=_texts(row.get("tasks")),
    )


def _rows_v3(info: Info, camera: str) -> list[tuple[Path, dict[str, object]]]:
    files = listed(info.path / "meta" / "episodes", "**/*.parquet")
    if not files:
        raise UserError(f"{info.path}/meta/episodes holds no parquet file; copy it again")
    names = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    if info.features[camera].dtype == "video":
        names += [f"videos/{camera}/{name}" for name in _PLACE]
    rows = []
    for file in files:
        require_inside(info.path, file)
        table = read_parquet(file, names, optional=("tasks", "num_actions"))
        with foreign(file, "table of episodes"):
            rows += [(file, row) for row in table.to_pylist()]
    return rows


def _entry_v3(info: Info, camera: str, row: Mapping[str, object], file: Path) -> EpisodeEntry:
    is_video = info.features[camera].dtype == "video"
    place = {name: _number(row, f"data/{name}", file) for name in _PLACE[:2]}
    where = {name: _number(row, f"videos/{camera}/{name}", file) for name in _PLACE[:2] if is_video}
    start = f"videos/{camera}/{_PLACE[2]}"
    length = _number(row, "length", file)
    return EpisodeEntry(
        index=_number(row, "episode_index", file),
        length=length,
        num_actions=_count(row, length, file),
        data_file=info.data_path.path(place),
        video_file=_video(info, camera, where),
        video_start=entry(row, start, float, where=file) if is_video else 0.0,
        tasks=_texts(row.get("tasks")),
    )


def _video(info: Info, camera: str, where: Mapping[str, int]) -> Path | None:
    if info.features[camera].dtype != "video":
        return None
    if info.video_path is None:
        raise UserError(f"{info.path}/meta/info.json has no video_path; copy it again")
    return info.video_path.path({"video_key": camera, **where})


def _number(row: Mapping[str, object], name: str, file: Path) -> int:
    value = row.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        raise UserError(
            f"{file}: {plain_text(name)} of an episode is {show(value)}, not a whole number of at "
            "least 0; copy it again, or leave the episode out"
        )
    return value


def _count(row: Mapping[str, object], length: int, file: Path) -> int:
    """Return how many actions count; as many as frames, unless this library said less."""
    if row.get("num_actions") is None:
        return length
    return min(_number(row, "num_actions", file), length)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(value) if _is_texts(value) else ()


def _is_texts(value: object) -> TypeGuard[Sequence[str]]:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
