"""The `meta/` folder of LeRobot data sets: features, episodes, and where their files are."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import pyarrow as pa
import pyarrow.parquet as pq

from jepawm.data.recording import require_columns
from jepawm.errors import UserError

VERSIONS = ("v2.0", "v2.1", "v3.0")
_IMAGES = ("video", "image")


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One column of the data set."""

    dtype: str
    """Type as LeRobot calls it: `video`, `image`, `float32`, ..."""
    shape: tuple[int, ...]
    """Shape of one entry."""

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
    num_episodes: int
    """Number of episodes."""
    chunks_size: int
    """Episodes in a folder (2.x)."""
    data_path: str
    """Template of the tables' paths."""
    video_path: str | None
    """Template of the videos' paths; None where there are none."""
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


def read_info(path: Path) -> Info:
    """Read and check `meta/info.json`."""
    file = path / "meta" / "info.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is no LeRobot data set: {file} is missing; check the path, or copy meta/ again"
        ) from error
    except ValueError as error:
        raise UserError(f"{file} is truncated or altered ({error}); copy it again") from error
    try:
        version = content["codebase_version"]
        if version not in VERSIONS:
            raise UserError(
                f"{file}: version {version}; convert it by the lerobot package to one of "
                f"{', '.join(VERSIONS)}"
            )
        fps = float(content["fps"])
        if not 0 < fps < math.inf:
            raise UserError(f"{file}: fps is {fps:g}; write the frames per second")
        return Info(
            path=path,
            version=version,
            fps=fps,
            robot=content.get("robot_type") or "",
            num_episodes=int(content["total_episodes"]),
            chunks_size=int(content["chunks_size"]),
            data_path=content["data_path"],
            video_path=content.get("video_path"),
            features={
                name: Feature(dtype=feature["dtype"], shape=tuple(feature["shape"]))
                for name, feature in content["features"].items()
            },
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file} lacks or garbles an entry ({error!r}); copy it again") from error


def list_episodes(info: Info, *, camera: str) -> list[EpisodeEntry]:
    """List all episodes with the files of one camera."""
    read = _list_v3 if info.version == "v3.0" else _list_v2
    entries = sorted(read(info, camera), key=lambda entry: entry.index)
    if len(entries) != info.num_episodes:
        raise UserError(
            f"{info.path}/meta lists {len(entries)} episodes, info.json says {info.num_episodes}; "
            "copy meta/ again"
        )
    return entries


def read_table(info: Info, entry: EpisodeEntry, *, columns: list[str]) -> pa.Table:
    """Read the rows of one episode."""
    file = entry.data_file
    require_file(info, file)
    try:
        require_columns(pq.read_schema(file).names, [*columns, "episode_index"], file=file)
        return pq.read_table(file, columns=columns, filters=[("episode_index", "=", entry.index)])
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{file} is truncated or damaged ({error}); copy it again") from error


def require_file(info: Info, file: Path) -> None:
    """Check that a file of the data set is where info.json says."""
    if file.is_file():
        return
    said, *rest = file.relative_to(info.path).parts
    for folder in sorted(info.path.iterdir()):
        if folder.joinpath(*rest).is_file():
            raise UserError(
                f"{file} is missing: the files are under {folder.name}/ where meta/info.json says "
                f"{said}/; rename the folder {folder.name} to {said}, or fix the path in info.json"
            )
    raise UserError(f"{file} is missing; copy it again, or leave the episode out")


def _list_v2(info: Info, camera: str) -> Iterator[EpisodeEntry]:
    file = info.path / "meta" / "episodes.jsonl"
    for row in _json_lines(file):
        index = row.get("episode_index")
        length = row.get("length")
        if not isinstance(index, int) or not isinstance(length, int):
            raise UserError(f"{file}: a line lacks episode_index or length; copy it again")
        where = {"episode_chunk": index // info.chunks_size, "episode_index": index}
        yield EpisodeEntry(
            index=index,
            length=length,
            num_actions=_count(row.get("num_actions"), length),
            data_file=info.path / info.data_path.format(**where),
            video_file=_video(info, camera, **where),
            video_start=0.0,
            tasks=_texts(row.get("tasks")),
        )


def _list_v3(info: Info, camera: str) -> Iterator[EpisodeEntry]:
    files = sorted((info.path / "meta" / "episodes").rglob("*.parquet"))
    if not files:
        raise UserError(f"{info.path}/meta/episodes holds no parquet file; copy it again")
    is_video = info.features[camera].dtype == "video"
    names = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    video = [f"videos/{camera}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
    names += video if is_video else []
    for file in files:
        try:
            there = pq.read_schema(file).names
            require_columns(there, names, file=file)
            more = [name for name in ("tasks", "num_actions") if name in there]
            rows = pq.read_table(file, columns=[*names, *more]).to_pylist()
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{file} is truncated or damaged ({error}); copy it again") from error
        for row in rows:
            data = {"chunk_index": row[names[2]], "file_index": row[names[3]]}
            yield EpisodeEntry(
                index=row["episode_index"],
                length=row["length"],
                num_actions=_count(row.get("num_actions"), row["length"]),
                data_file=info.path / info.data_path.format(**data),
                video_file=_video(info, camera, chunk_index=row[video[0]], file_index=row[video[1]])
                if is_video
                else None,
                video_start=row[video[2]] if is_video else 0.0,
                tasks=_texts(row.get("tasks")),
            )


def _video(info: Info, camera: str, **where: int) -> Path | None:
    if info.features[camera].dtype != "video":
        return None
    if info.video_path is None:
        raise UserError(f"{info.path}/meta/info.json has no video_path; copy it again")
    return info.path / info.video_path.format(video_key=camera, **where)


def _json_lines(file: Path) -> list[Mapping[str, object]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
    except FileNotFoundError as error:
        raise UserError(f"{file} is missing; copy it again") from error
    except ValueError as error:
        raise UserError(f"{file} is truncated or altered ({error}); copy it again") from error
    return [row for row in rows if isinstance(row, dict)]


def _count(value: object, default: int) -> int:
    return value if isinstance(value, int) else default


def _texts(value: object) -> tuple[str, ...]:
    return tuple(value) if _is_texts(value) else ()


def _is_texts(value: object) -> TypeGuard[Sequence[str]]:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
