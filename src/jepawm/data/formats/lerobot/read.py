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
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int64, Shaped, UInt8

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
from jepawm.data.resample import require_times
from jepawm.data.video import pick_times, read_video, video_times
from jepawm.errors import UserError, plain_text, show
from jepawm.strict_json import expect

_ACTIONS = ("action", "actions")
_PROPRIO = ("observation.state", "state", "observation.states")
_STATE = "observation.environment_state"
_REWARDS = ("next.reward", "reward", "next.success")
_SUFFIXES = (".json", ".jsonl", ".parquet", ".mp4", ".png", ".jpg", ".jpeg")
_KEPT_TIMES = 4
"""Video files whose frame times are remembered; a file of 3.0 holds many episodes."""
_TimesOf = Callable[[Path], tuple[Int64[np.ndarray, " n"], Fraction]]
"""Times of all frames of a video, remembered."""
_Pair = Callable[[Path, Int64[np.ndarray, " n"], Fraction], Int64[np.ndarray, " m"]]
"""Which frames of a video, by their times, belong to an episode."""


def open_lerobot(path: Path, options: ReadOptions) -> Source:
    """Open a data set folder."""
    info = read_info(path)
    keys = _choose_keys(info, options)
    times = lru_cache(maxsize=_KEPT_TIMES)(_times)
    entries = list_episodes(info, camera=keys.camera)
    shares = _shares(entries, fps=info.fps)
    read = partial(_read, info, keys=keys, times=times, in_order=options.pair_frames == "order")
    notes = []
    if info.num_episodes != len(entries):
        said = show(info.num_episodes)
        notes = [f"meta/ lists {len(entries)} episodes, total_episodes of info.json is {said}"]
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
                read=partial(read, entry, share=shares[entry.index]),
            )
            for entry in entries
        ],
        files=[file for file in all_files(path) if file.suffix in _SUFFIXES],
        columns={name: feature.to_text() for name, feature in info.features.items()},
        notes=notes,
        reward_names=keys.rewards,
        action_names=[one for name in keys.actions for one in info.features[name].names],
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
    actions: tuple[str, ...]
    proprio: tuple[str, ...]
    state: str | None
    rewards: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Share:
    """Which frames of a video belong to an episode if all are in order."""

    before: int
    """Frames of the episodes before it in the same video."""
    total: int
    """Frames of all episodes in that video."""
    also_of: int | None
    """Another episode that `meta/episodes` gives some of the same frames; None if there is none."""


def _choose_keys(info: Info, options: ReadOptions) -> _Keys:
    numbers = [name for name, feature in info.features.items() if feature.is_number]
    usual = [name for name in _ACTIONS if name in numbers]
    actions = (options.action_key or next(iter(usual), _ACTIONS[0])).split(",")
    if options.proprio_key == "none":
        proprio: Sequence[str] = []
    elif options.proprio_key is not None:
        proprio = options.proprio_key.split(",")
    else:
        proprio = [name for name in _PROPRIO if name in numbers][:1]
    for option, wanted in (("--action-key", actions), ("--proprio-key", proprio)):
        for name in wanted:
            if name not in numbers:
                parts = [one for one in numbers if one.startswith("action")]
                example = (
                    f", such as {','.join(parts)}" if parts and option != "--proprio-key" else ""
                )
                raise UserError(
                    f"{info.path}: there is no column {plain_text(name)}; by {option} choose among "
                    f"(several are joined by commas{plain_text(example)}): "
                    f"{plain_text(', '.join(numbers))}"
                )
    state = _STATE if _STATE in numbers else None
    camera = choose_camera(options.camera, info.cameras, where=info.path)
    rewards = tuple(name for name in _REWARDS if name in numbers)
    return _Keys(
        camera=camera,
        actions=tuple(actions),
        proprio=tuple(proprio),
        state=state,
        rewards=rewards,
    )


def _shares(entries: Sequence[EpisodeEntry | GarbledEntry], *, fps: float) -> dict[int, _Share]:
    """Return the share of each episode in its video, by its number."""
    of_video = dict[Path | None, list[EpisodeEntry]]()
    for one in entries:
        if isinstance(one, EpisodeEntry):
            of_video.setdefault(one.video_file, []).append(one)
    shares = {}
    for video, together in of_video.items():
        lengths = [one.length for one in together]
        by_time = sorted(together, key=lambda one: one.video_start)
        shared = dict[int, int]()
        for one, after in pairwise(by_time if video is not None else ()):
            if one.video_start + (one.length - 0.5) / fps > after.video_start:
                shared |= {one.index: after.index, after.index: one.index}
        for number, one in enumerate(together):
            shares[one.index] = _Share(
                before=sum(lengths[:number]), total=sum(lengths), also_of=shared.get(one.index)
            )
    return shares


def _read(
    info: Info,
    entry: EpisodeEntry,
    *,
    share: _Share,
    keys: _Keys,
    times: _TimesOf,
    in_order: bool,
) -> Recording:
    is_video = info.features[keys.camera].dtype == "video"
    names = ["timestamp", *keys.actions, *keys.proprio, *keys.rewards]
    names += [keys.state] if keys.state else []
    names += [] if is_video else [keys.camera]
    table, notes = read_table(info, entry, columns=list(dict.fromkeys(names)))
    with foreign(entry.data_file, "table of LeRobot"):
        actions = _joined(table, keys.actions, file=entry.data_file)
        proprio = [matrix(table, name, file=entry.data_file) for name in keys.proprio]
        state = matrix(table, keys.state, file=entry.data_file) if keys.state else None
        rewards = [_reward(table, name, file=entry.data_file) for name in keys.rewards]
        seconds = matrix(table, "timestamp", file=entry.data_file)[:, 0]
    said = str(info.path / "meta" / "info.json")
    require_times(seconds, info.fps, said=said, of=f"episode {entry.index}")
    if is_video:
        if entry.video_file is None:
            raise UserError(f"meta/episodes names no video of camera {keys.camera}; fix meta/")
        require_file(info, entry.video_file)
        pair = partial(_in_order, share=share, length=entry.length)
        if not in_order:
            _require_single(share, entry)
            wanted = entry.video_start + _rising(seconds, file=entry.data_file)
            pair = partial(_at_times, wanted=wanted, share=share)
        frames = partial(_video_frames, entry.video_file, pair, times=times)
        count = partial(_count_video, entry.video_file, pair, times=times)
    else:
        frames = partial(_image_frames, info, entry, table, camera=keys.camera)
        count = partial(len, table)
    return Recording(
        num_frames=table.num_rows,
        actions=actions[: entry.num_actions],
        proprio=np.concatenate(proprio, axis=1) if proprio else None,
        state=state,
        rewards=np.concatenate(rewards, axis=1)[: entry.num_actions] if rewards else None,
        task="; ".join(entry.tasks),
        video=entry.video_file,
        frames=frames,
        count_frames=count,
        notes=notes,
    )


def _require_single(share: _Share, entry: EpisodeEntry) -> None:
    """Refuse times by which two episodes have the same frames, as some merges leave them."""
    if share.also_of is not None:
        raise UserError(
            f"meta/episodes gives episodes {entry.index} and {share.also_of} the same frames of "
            f"{entry.video_file}; repair from_timestamp, or pair frames and rows by their order "
            "(--pair-frames order)"
        )


def _joined(table: pa.Table, names: Sequence[str], *, file: Path) -> Shaped[np.ndarray, "L d"]:
    parts = [matrix(table, name, file=file) for name in names]
    return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def _reward(table: pa.Table, name: str, *, file: Path) -> Float[np.ndarray, "L 1"]:
    """Return a column of rewards, or of labels, which may be true and false."""
    column = table[name]
    if pa.types.is_boolean(column.type):
        table = pa.table({name: column.cast(pa.uint8())})
    return matrix(table, name, file=file)[:, :1].astype(np.float64)


def _rising(seconds: Float[np.ndarray, " L"], *, file: Path) -> Float[np.ndarray, " L"]:
    """Return the times of all rows, which say what frames of the video belong to them."""
    wrong = {
        "is NaN or infinite": ~np.isfinite(seconds),
        "does not rise": np.diff(seconds, prepend=-np.inf) <= 0,
    }
    for what, rows in wrong.items():
        if rows.any():
            raise UserError(
                f"{file}: timestamp {what} at row {int(np.argmax(rows))} of the episode, so its "
                "frames cannot be found in the video; fix the table, pair frames and rows by their "
                "order (--pair-frames order), or leave the episode out"
            )
    return seconds


def _times(file: Path) -> tuple[Int64[np.ndarray, " n"], Fraction]:
    return video_times(file, name=str(file))


def _count_video(file: Path, pair: _Pair, *, times: _TimesOf) -> int:
    return len(pair(file, *times(file)))


def _video_frames(
    file: Path, pair: _Pair, *, times: _TimesOf
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    return read_video(file, name=str(file), times=pair(file, *times(file)))


def _at_times(
    file: Path,
    there: Int64[np.ndarray, " n"],
    unit: Fraction,
    *,
    wanted: Float[np.ndarray, " k"],
    share: _Share,
) -> Int64[np.ndarray, " m"]:
    """Return the frames at the times of the table; fewer, if the video ends before."""
    found = pick_times(there, wanted, unit=unit)
    if len(found) == len(wanted) or len(there) < share.total:
        return found
    first, last = (float(time * unit) for time in (int(there[0]), int(there[-1])))
    offer = ", or pair them by their order (--pair-frames order)" * (len(there) == share.total)
    raise UserError(
        f"the video {file} has {len(there)} frames, from {first:.6g} to {last:.6g} s, but only "
        f"{len(found)} of the {len(wanted)} at the times of the table, {wanted[0]:.6g} to "
        f"{wanted[-1]:.6g} s: repair timestamp (or from_timestamp of meta/episodes){offer}"
    )


def _in_order(
    file: Path, there: Int64[np.ndarray, " n"], _unit: Fraction, *, share: _Share, length: int
) -> Int64[np.ndarray, " m"]:
    """Return the frames of an episode by their number, whatever times are written."""
    if len(there) != share.total:
        raise UserError(
            f"the video {file} has {len(there)} frames, its episodes have {share.total} rows; "
            "--pair-frames order needs as many: leave the option or the episode out"
        )
    return there[share.before : share.before + length]


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
