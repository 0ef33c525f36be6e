"""Plain NumPy files, one for each episode, that `numpy.load` opens.

    episode_000000.npz    frames uint8 [L, height, width, 3]; actions [n, a]; optional are
                          proprio [L, P], state [L, S], task (a text) and fps (a number)

Every array of four dimensions and type uint8 is a camera. A leading dimension of one before
actions and proprioception is dropped. A file of many episodes, as OGBench has them, is cut where
arrays such as `terminals` say so (`flat.py`).
"""

import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from jepawm.border import foreign, load_npz
from jepawm.data.cameras import picture_like
from jepawm.data.episodes import EpisodeStore
from jepawm.data.exporting import ExportOptions, stored_episodes
from jepawm.data.formats.flat import BORDERS, Pieces, find_pieces
from jepawm.data.recording import (
    AS_FRAMES,
    Episode,
    Format,
    ReadOptions,
    Recording,
    Source,
    choose_camera,
    own_files,
    read_any,
    require_own,
)
from jepawm.data.resample import require_rate, require_times
from jepawm.errors import UserError, plain_text, show
from jepawm.files import complete_or_absent, telling_full_disk
from jepawm.foreign_files import listed

_ACTIONS = "actions"
_PROPRIO = "proprio"
_STATE = "state"
_TIMES = ("timestamps", "timestamp", "times", "time")
_VALIDATION = ("-val", "_val")


def open_npz(path: Path, options: ReadOptions) -> Source:
    """Open a folder of `.npz` files, or one of them."""
    files, left_out = _without_validation(_files(path))
    if not files:
        raise UserError(f"{path} holds no .npz file; check the path")
    load = lru_cache(maxsize=1)(partial(_load, path))  # a file may hold many episodes
    first = read_any(files, partial(_read_first, load)) or load(files[0])
    cameras = _cameras(first)
    columns = {name: f"{rows.dtype} {list(rows.shape)}" for name, rows in first.items()}
    others = {name: kind for name, kind in picture_like(columns).items() if name not in cameras}
    camera = choose_camera(options.camera, cameras, where=files[0], others=others)
    places = list(_places(path, files))
    read = partial(_read, load, camera=camera, options=options)
    return Source(
        format="npz",
        path=path,
        environment=path.resolve().stem,
        fps=_rate(first, files[0]),
        cameras=cameras,
        camera=camera,
        episodes=[
            Episode(name=f"episode {index}", file=place.file, read=partial(read, place))
            for index, place in enumerate(places)
        ],
        files=own_files(path, files),
        columns=columns,
        notes=[*left_out, *_notes(places, first, options)],
    )


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where an episode is: a file, or some rows of one."""

    file: Path
    rows: slice | None = None
    num_rows: int | None = None
    """Rows of the whole file, as what cut it says; None: it is one episode."""
    cut_by: str = ""
    """Names of the arrays that cut it."""
    refused: UserError | None = None
    """Why it cannot be cut, or not be opened."""


def _places(path: Path, files: list[Path]) -> Iterator[_Place]:
    for file in files:
        try:
            pieces = _pieces(path, file)
        except UserError as error:
            yield _Place(file=file, refused=error)
            continue
        if pieces is None:
            yield _Place(file=file)
            continue
        names, num_rows = ", ".join(pieces.names), pieces.rows[-1].stop
        for rows in pieces.rows:
            yield _Place(file=file, rows=rows, num_rows=num_rows, cut_by=names)


def _pieces(path: Path, file: Path) -> Pieces | None:
    require_own(path, file)
    with foreign(file, "npz file"), zipfile.ZipFile(file) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
    named = [name for name in names if name in BORDERS]
    return find_pieces(load_npz(file, named), file=file) if named else None


def _without_validation(files: list[Path]) -> tuple[list[Path], list[str]]:
    """Leave out `<name>-val.npz` next to `<name>.npz`, as OGBench names them; says so."""
    stems = {file.with_suffix("") for file in files}
    left_out = [
        file
        for file in files
        if any(
            file.stem.endswith(end) and file.with_name(file.stem.removesuffix(end)) in stems
            for end in _VALIDATION
        )
    ]
    notes = [f"left out {file.name}: validation; import it by its own path" for file in left_out]
    return [file for file in files if file not in left_out], notes


def _notes(
    places: list[_Place], first: Mapping[str, np.ndarray], options: ReadOptions
) -> Iterator[str]:
    counts = {place.file: sum(one.file == place.file for one in places) for place in places}
    cut = {place.file: place.cut_by for place in places if counts[place.file] > 1}
    for file, names in cut.items():
        yield f"{file.name} is cut into {counts[file]} episodes by {names}"
    if _STATE in first and _PROPRIO not in first and options.proprio_key is None:
        yield (
            "the array state is kept as the state of a simulator, which models do not see; "
            "--proprio-key state makes it proprioception"
        )


def write_npz(store: EpisodeStore, out: Path, *, options: ExportOptions) -> None:
    """Write every episode of a store as one compressed `.npz` file."""
    manifest = store.manifest
    fps = options.fps or manifest.fps
    num_bytes = manifest.num_frames * manifest.image_size**2 * 3
    with complete_or_absent(out) as folder, telling_full_disk(out, num_bytes=num_bytes):
        for episode in stored_episodes(store):
            arrays: dict[str, np.ndarray] = {
                "frames": episode.frames,
                _ACTIONS: episode.actions[: episode.num_actions],
                "task": np.array(episode.task),
            }
            optional = {_PROPRIO: episode.proprio, "state": episode.state}
            arrays |= {name: rows for name, rows in optional.items() if rows is not None}
            arrays |= {} if fps is None else {"fps": np.array(fps)}
            file = folder / f"episode_{episode.index:06d}.npz"
            np.savez_compressed(file, allow_pickle=False, **arrays)


def _recognises(path: Path) -> bool:
    return bool(_files(path)) and not (path / "ep_len.npz").exists()  # stable-worldmodel's


FORMAT = Format(
    summary="NumPy files (.npz), one for each episode", recognises=_recognises, open=open_npz
)


def _read(
    load: Callable[[Path], dict[str, np.ndarray]],
    place: _Place,
    *,
    camera: str,
    options: ReadOptions,
) -> Recording:
    file = place.file
    if place.refused is not None:
        raise place.refused
    whole = load(file)
    frames = _array(whole, camera, file=file, option="--camera")
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
        raise UserError(f"{file}: {camera} is {frames.dtype} {frames.shape}; {AS_FRAMES}")
    arrays = _cut(whole, place, num_frames=len(frames))
    frames = arrays[camera]
    proprio_key = options.proprio_key or (_PROPRIO if _PROPRIO in arrays else "none")
    proprio = None
    if proprio_key != "none":
        proprio = _joined(arrays, proprio_key, file, "--proprio-key")
    fps, times = _rate(whole, file), _times(arrays, len(frames))
    if fps is not None and times is not None:
        require_times(times, fps, said=f"fps of {file}", of="the episode", units=True)
    return Recording(
        num_frames=len(frames),
        actions=_joined(arrays, options.action_key or _ACTIONS, file, "--action-key"),
        proprio=proprio,
        state=_rows(arrays, _STATE, file, "") if _STATE in arrays else None,
        task=str(arrays["task"].reshape(-1)[0]) if arrays.get("task", np.zeros(0)).size else "",
        fps=fps,
        frames=lambda: iter(frames),
        count_frames=partial(len, frames),
    )


def _cut(arrays: dict[str, np.ndarray], place: _Place, *, num_frames: int) -> dict[str, np.ndarray]:
    """Return the rows of an episode of all arrays that have as many rows as the frames."""
    if place.num_rows is None or place.rows is None:
        return arrays
    one_more = place.num_rows + 1 == num_frames and place.rows == slice(0, place.num_rows)
    if one_more:  # one episode whose marks are those of its actions
        return arrays
    if place.num_rows != num_frames:
        raise UserError(
            f"{place.file}: {place.cut_by} counts {place.num_rows} rows, there are {num_frames} "
            "frames; it has to say for each frame whether its episode ends there"
        )
    whole = place.rows == slice(0, num_frames)
    for name in (_ACTIONS, _PROPRIO, _STATE):
        if not whole and name in arrays and len(arrays[name]) != num_frames:
            raise UserError(
                f"{place.file}: {name} has {len(arrays[name])} rows for {num_frames} frames of "
                f"several episodes ({place.cut_by}); as many are needed, the last of each unused"
            )
    return {
        name: rows[place.rows] if rows.ndim and len(rows) == num_frames else rows
        for name, rows in arrays.items()
    }


def _times(arrays: dict[str, np.ndarray], num_frames: int) -> np.ndarray | None:
    named = (arrays[name].reshape(-1) for name in _TIMES if name in arrays)
    return next((one for one in named if len(one) == num_frames and one.dtype.kind in "iuf"), None)


def _joined(
    arrays: dict[str, np.ndarray], names: str, file: Path, option: str
) -> Shaped[np.ndarray, "n d"]:
    """Join arrays of rows, named with commas between."""
    parts = [_rows(arrays, name, file, option) for name in names.split(",")]
    lengths = [len(part) for part in parts]
    if len(set(lengths)) != 1:
        raise UserError(f"{file}: {names} have {lengths} rows; they need equally many")
    return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".npz" else []
    return listed(path, "*.npz")


def _read_first(load: Callable[[Path], dict[str, np.ndarray]], file: Path) -> dict[str, np.ndarray]:
    """Read a file that can speak for all: it has frames, and its rate is one."""
    arrays = load(file)
    _rate(arrays, file)
    if not _cameras(arrays):
        raise UserError(f"{file} holds no camera")
    return arrays


def _cameras(arrays: dict[str, np.ndarray]) -> list[str]:
    found = [name for name, rows in arrays.items() if rows.ndim == 4 and rows.dtype == np.uint8]
    return [
        name for name in found if name.removeprefix("next_") not in found or name[:5] != "next_"
    ]


def _load(path: Path, file: Path) -> dict[str, np.ndarray]:
    require_own(path, file)
    return load_npz(file)


def _rate(arrays: dict[str, np.ndarray], file: Path) -> float | None:
    if "fps" not in arrays:
        return None
    rate = arrays["fps"]
    if rate.size != 1 or rate.dtype.kind not in "iuf" or not 0 < rate.item() < math.inf:
        raise UserError(
            f"{file}: fps is {show(rate.tolist())}, not a number above 0; save the frames per "
            "second, or leave fps out"
        )
    return require_rate(float(rate.item()), where=f"{file}: fps")


def _rows(
    arrays: dict[str, np.ndarray], name: str, file: Path, option: str
) -> Shaped[np.ndarray, "n d"]:
    rows = _array(arrays, name, file=file, option=option)
    rows = rows[0] if rows.ndim == 3 and len(rows) == 1 else rows
    rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or rows.dtype.kind not in "iuf":
        raise UserError(
            f"{file}: {name} is {rows.dtype} {rows.shape}; expected rows of real numbers"
        )
    return rows


def _array(arrays: dict[str, np.ndarray], name: str, *, file: Path, option: str) -> np.ndarray:
    if name not in arrays:
        known = plain_text(", ".join(arrays))
        raise UserError(f"{file} has no array {name!r}; by {option} choose among: {known}")
    return arrays[name]
