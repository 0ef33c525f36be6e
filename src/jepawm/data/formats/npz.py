"""Plain NumPy files, one for each episode, that `numpy.load` opens.

    episode_000000.npz    frames uint8 [L, height, width, 3]; actions [n, a]; optional are
                          proprio [L, P], state [L, S], task (a text) and fps (a number)

Every array of four dimensions and type uint8 is a camera. A leading dimension of one before
actions and proprioception is dropped.
"""

import math
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from jepawm.border import load_npz
from jepawm.data.episodes import EpisodeStore
from jepawm.data.exporting import ExportOptions, stored_episodes
from jepawm.data.recording import (
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
from jepawm.data.resample import require_rate
from jepawm.errors import UserError, plain_text, show
from jepawm.files import complete_or_absent, telling_full_disk

_ACTIONS = "actions"
_PROPRIO = "proprio"


def open_npz(path: Path, options: ReadOptions) -> Source:
    """Open a folder of `.npz` files, or one of them."""
    files = _files(path)
    if not files:
        raise UserError(f"{path} holds no .npz file; check the path")
    first = read_any(files, partial(_read_first, path)) or _load(path, files[0])
    cameras = _cameras(first)
    camera = choose_camera(options.camera, cameras, where=files[0])
    return Source(
        format="npz",
        path=path,
        environment=path.resolve().stem,
        fps=_rate(first, files[0]),
        cameras=cameras,
        camera=camera,
        episodes=[
            Episode(
                name=f"episode {index}",
                file=file,
                read=partial(_read, path, file, camera=camera, options=options),
            )
            for index, file in enumerate(files)
        ],
        files=own_files(path, files),
        columns={name: f"{rows.dtype} {list(rows.shape)}" for name, rows in first.items()},
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


def _read(path: Path, file: Path, *, camera: str, options: ReadOptions) -> Recording:
    arrays = _load(path, file)
    proprio_key = options.proprio_key or (_PROPRIO if _PROPRIO in arrays else "none")
    frames = _array(arrays, camera, file=file, option="--camera")
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
        raise UserError(
            f"{file}: {camera} is {frames.dtype} {frames.shape}; frames are uint8 (L, height, "
            "width, 3)"
        )
    actions = options.action_key or _ACTIONS
    proprio = None
    if proprio_key != "none":
        parts = [_rows(arrays, key, file, "--proprio-key") for key in proprio_key.split(",")]
        lengths = [len(part) for part in parts]
        if len(set(lengths)) != 1:
            raise UserError(f"{file}: {proprio_key} have {lengths} rows; they need equally many")
        proprio = np.concatenate(parts, axis=1)
    return Recording(
        num_frames=len(frames),
        actions=_rows(arrays, actions, file, "--action-key"),
        proprio=proprio,
        state=_rows(arrays, "state", file, "") if "state" in arrays else None,
        task=str(arrays["task"]) if "task" in arrays else "",
        fps=_rate(arrays, file),
        frames=lambda: iter(frames),
        count_frames=partial(len, frames),
    )


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".npz" else []
    return sorted(path.glob("*.npz"))


def _read_first(path: Path, file: Path) -> dict[str, np.ndarray]:
    """Read a file that can speak for all: it has frames, and its rate is one."""
    arrays = _load(path, file)
    _rate(arrays, file)
    if not _cameras(arrays):
        raise UserError(f"{file} holds no camera")
    return arrays


def _cameras(arrays: dict[str, np.ndarray]) -> list[str]:
    return [name for name, rows in arrays.items() if rows.ndim == 4 and rows.dtype == np.uint8]


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
