"""Write an episode store crash-safely: aside first, in files that grow, renamed when complete."""

import logging
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, UInt8

from jepawm.data.episodes import INDEX_COLUMNS, INDEX_NAME, TASK_COLUMN
from jepawm.data.jpeg_frames import encode_frames
from jepawm.data.manifest import (
    MANIFEST_NAME,
    ImportedFrom,
    Manifest,
    Statistics,
    column_statistics,
    digest_file,
)
from jepawm.errors import UserError
from jepawm.files import (
    flush_to_disk,
    new_partial_folder,
    partial_folders,
    publish_folder,
    require_free,
    require_free_bytes,
    telling_full_disk,
)

_LOG = logging.getLogger(__name__)
_DTYPES = {
    "pixels": "|u1",
    "pixel_sizes": "<i8",
    "actions": "<f4",
    "proprio": "<f4",
    "state": "<f8",
    "rewards": "<f4",
}
HEADER_BYTES = 128
"""Bytes before the first row of an array on the disk."""
_RAW_UP_TO = 128
"""Largest frames, in pixels a side, that are stored raw unless it is said otherwise."""

PixelEncoding = Literal["auto", "raw", "jpeg"]
"""How frames are stored: `raw` (exact, fastest), `jpeg` (about 10 times smaller), or by size."""


class EpisodeWriter:
    """Write a store into `<path>.partial-<id>` and rename it to `path` at the end of the block.

    If the block raises, or the disk is full, what was written is removed; after a kill or a power
    cut the folder with `.partial-` in its name remains and `open_store` says so. Nothing that
    exists is ever overwritten.
    """

    def __init__(
        self,
        path: Path,
        *,
        environment: str,
        image_size: int,
        settings: Mapping[str, object],
        seed: int | None = None,
        expected_frames: int = 0,
        pixels: PixelEncoding = "auto",
        fps: float | None = None,
        source: ImportedFrom | None = None,
        reward_names: Sequence[str] = (),
        cameras: Sequence[str] = (),
    ) -> None:
        """Take the folder to create and the provenance for the manifest.

        Args:
            path: folder of the store; must not exist, or be empty.
            environment: name of the environment or robot.
            image_size: height and width of the frames in pixels.
            settings: how the episodes are made, as JSON values.
            seed: seed that makes them; None for recordings.
            expected_frames: number of frames to come, if known; a disk without room for them is
                refused before the first is written.
            pixels: how frames are stored; `auto` is raw up to 128 pixels a side, JPEG above.
            fps: frames per second, if known.
            source: what the episodes are imported from; None if they are collected.
            reward_names: names of the logged rewards; none if there are none.
            cameras: names of the cameras, where a frame has pictures of several.
        """
        self.path = path
        self._environment = environment
        self._image_size = image_size
        self._settings = dict(settings)
        self._seed = seed
        self._frames_left = expected_frames
        is_small = image_size <= _RAW_UP_TO
        self._encoding = ("raw" if is_small else "jpeg") if pixels == "auto" else pixels
        self._fps = fps
        self._source = source
        self._reward_names = list(reward_names)
        self._cameras = list(cameras)
        self._tasks: list[str] = []
        self._files: dict[str, ArrayFile] = {}
        self._index: list[tuple[int, int, int, int]] = []
        require_free(path)
        require_free_bytes(path, num_bytes=expected_frames * self._frame_bytes())
        for leftover in partial_folders(path):
            _LOG.warning("%s is left from an interrupted run; it may be deleted", leftover)
        with telling_full_disk(path, num_bytes=expected_frames * self._frame_bytes()):
            self._folder = new_partial_folder(path)

    def append(
        self,
        pixels: UInt8[np.ndarray, "L *views 3 H W"],
        actions: Float[np.ndarray, "n a"],
        *,
        proprio: Float[np.ndarray, "_ P"] | None = None,
        state: Float[np.ndarray, "_ S"] | None = None,
        rewards: Float[np.ndarray, "_ R"] | None = None,
        task: str = "",
    ) -> None:
        """Add one episode of `L` frames and `L - 1` or `L` actions, in environment units.

        Where the store has several cameras, frames are `[L, V, 3, H, W]`.

        `task` says in words what it is about. Row t of `rewards` is earned by action t, and may be
        NaN where nothing was logged.
        """
        num_frames, num_actions = len(pixels), len(actions)
        columns = {"actions": actions, "proprio": proprio, "state": state}
        present = {name: rows for name, rows in columns.items() if rows is not None}
        self._check(pixels, present)
        if self._reward_names:
            present["rewards"] = self._checked_rewards(rewards, num_frames)
        if num_actions == num_frames - 1:
            present["actions"] = np.concatenate([actions, np.zeros_like(actions[:1])])
        start = self._index[-1][1] + self._index[-1][2] if self._index else 0
        need = max(num_frames, self._frames_left) * self._frame_bytes()
        with telling_full_disk(self.path, num_bytes=need, since=f"its episode {len(self._index)}"):
            for name, rows in (self._encoded(pixels) | present).items():
                if name not in self._files:
                    self._files[name] = self._create(name, rows.shape[1:])
                self._files[name].append(rows)
        self._index.append((len(self._index), start, num_frames, num_actions))
        self._tasks.append(task)
        self._frames_left = max(0, self._frames_left - num_frames)

    def __enter__(self) -> "EpisodeWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        complete = False
        try:
            if kind is None:
                self._finish()
                complete = True
        finally:
            if not complete:
                for file in self._files.values():
                    file.discard()
                shutil.rmtree(self._folder, ignore_errors=True)  # what matters is the first error
        if complete:
            self._publish()

    def _finish(self) -> None:
        if not self._index:
            raise UserError(f"no episode was written to {self.path}; give at least one")
        with telling_full_disk(self.path, num_bytes=64 * len(self._index) + 2**16):
            for file in self._files.values():
                file.close()
            columns: dict[str, object] = dict(
                zip(INDEX_COLUMNS, np.array(self._index, dtype=np.int64).T, strict=True)
            )
            if any(self._tasks):
                columns[TASK_COLUMN] = self._tasks
            pq.write_table(pa.table(columns), self._folder / INDEX_NAME)
            (self._folder / MANIFEST_NAME).write_text(self._manifest().to_text(), encoding="utf-8")
            for path in (self._folder / INDEX_NAME, self._folder / MANIFEST_NAME, self._folder):
                flush_to_disk(path)

    def _publish(self) -> None:
        publish_folder(self._folder, self.path)
        flush_to_disk(self.path.parent)

    def _manifest(self) -> Manifest:
        _, _, num_frames, num_actions = np.array(self._index, dtype=np.int64).T
        return Manifest(
            environment=self._environment,
            num_episodes=len(self._index),
            num_frames=int(num_frames.sum()),
            num_actions=int(num_actions.sum()),
            image_size=self._image_size,
            pixel_encoding=self._encoding,
            action_dim=self._files["actions"].row_shape[0],
            proprio_dim=self._width("proprio"),
            state_dim=self._width("state"),
            statistics=self._statistics(num_frames, num_actions),
            seed=self._seed,
            fps=self._fps,
            source=self._source,
            reward_names=self._reward_names or None,
            cameras=self._cameras or None,
            settings=self._settings,
            files={path.name: digest_file(path) for path in sorted(self._folder.iterdir())},
        )

    def _statistics(self, num_frames: np.ndarray, num_actions: np.ndarray) -> Statistics:
        actions = np.load(self._files["actions"].path, mmap_mode="r")
        ends = np.cumsum(num_frames) - 1
        real = np.ones(len(actions), dtype=bool)
        real[ends[num_actions < num_frames]] = False
        action_mean, action_std = column_statistics(actions[real])
        proprio_mean, proprio_std = None, None
        if "proprio" in self._files:
            proprio = np.load(self._files["proprio"].path, mmap_mode="r")
            proprio_mean, proprio_std = column_statistics(proprio)
        return Statistics(
            action_mean=action_mean,
            action_std=action_std,
            proprio_mean=proprio_mean,
            proprio_std=proprio_std,
        )

    def _check(self, pixels: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
        where = f"episode {len(self._index)} for {self.path}"
        size, num_frames = self._image_size, len(pixels)
        shape = (*([len(self._cameras)] if self._cameras else []), 3, size, size)
        if pixels.shape[1:] != shape or pixels.dtype != np.uint8 or num_frames < 2:
            raise UserError(
                f"{where}: pixels are {pixels.dtype} {pixels.shape}; expected at least two frames "
                f"of uint8 {shape}"
            )
        for name, rows in columns.items():
            allowed = (num_frames - 1, num_frames) if name == "actions" else (num_frames,)
            if rows.ndim != 2 or len(rows) not in allowed:
                raise UserError(
                    f"{where}: {name} has shape {rows.shape}, expected {allowed[0]} rows for "
                    f"{num_frames} frames"
                )
            bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
            if len(bad):
                raise UserError(
                    f"{where}: {name} is NaN or infinite at step {int(bad[0])} ({len(bad)} of "
                    f"{len(rows)} rows); repair or leave out this episode"
                )
        self._check_columns(where, columns)

    def _checked_rewards(self, rewards: np.ndarray | None, num_frames: int) -> np.ndarray:
        """Return rewards with a row for each frame; NaN may stand where nothing was logged."""
        shape = None if rewards is None else rewards.shape
        width = len(self._reward_names)
        if rewards is None or shape not in ((num_frames, width), (num_frames - 1, width)):
            raise UserError(
                f"episode {len(self._index)} for {self.path}: rewards have shape {shape}, expected "
                f"{num_frames - 1} rows of {width} numbers ({', '.join(self._reward_names)})"
            )
        missing = np.full((num_frames - len(rewards), width), np.nan)
        return np.concatenate([rewards, missing])

    def _check_columns(self, where: str, columns: Mapping[str, np.ndarray]) -> None:
        widths = {
            name: file.row_shape[0]
            for name, file in self._files.items()
            if name[:5] != "pixel" and name != "rewards"
        }
        given = {name: rows.shape[1] for name, rows in columns.items()}
        if self._index and widths != given:
            raise UserError(f"{where}: column widths {given} differ from those before, {widths}")

    def _create(self, name: str, row_shape: tuple[int, ...]) -> "ArrayFile":
        return ArrayFile(self._folder / f"{name}.npy", row_shape=row_shape, dtype=_DTYPES[name])

    def _width(self, name: str) -> int | None:
        return self._files[name].row_shape[0] if name in self._files else None

    def _frame_bytes(self) -> int:
        raw = 3 * self._image_size**2 * max(1, len(self._cameras))
        return raw if self._encoding == "raw" else raw // 4  # JPEG is smaller, mostly by far

    def _encoded(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        if self._encoding == "raw":
            return {"pixels": pixels}
        pictures, sizes = encode_frames(pixels.reshape(-1, *pixels.shape[-3:]))
        return {"pixels": pictures, "pixel_sizes": sizes}


class ArrayFile:
    """Write an array `[F, *row_shape]` of unknown length `F` in pieces; readable by `numpy.load`."""

    def __init__(
        self, path: Path, *, row_shape: tuple[int, ...], dtype: str, keep_rows: int | None = None
    ) -> None:
        """Create the file, or continue one.

        Args:
            path: the file; it must not exist, unless rows of it are kept.
            row_shape: shape of a row.
            dtype: a NumPy name with byte order, for example `<f4`.
            keep_rows: rows to keep of a file that is there, the rest is cut off; None creates it.
        """
        self.path = path
        self.row_shape = row_shape
        self.dtype = np.dtype(dtype)
        self.num_rows = keep_rows or 0
        how = os.O_CREAT | os.O_EXCL if keep_rows is None else 0
        self._descriptor = os.open(path, os.O_WRONLY | how | _binary(), 0o644)
        if keep_rows is not None:
            size = HEADER_BYTES + keep_rows * math.prod(row_shape) * self.dtype.itemsize
            if os.fstat(self._descriptor).st_size < size:
                self.discard()
                raise UserError(
                    f"{path} has lost rows: {keep_rows} were written; delete its folder"
                )
            os.ftruncate(self._descriptor, size)
        self._write(memoryview(self._header()))
        os.lseek(self._descriptor, 0, os.SEEK_END)

    def append(self, rows: np.ndarray) -> None:
        """Append rows `[n, *row_shape]`, cast to the file's dtype."""
        data = np.ascontiguousarray(rows, dtype=self.dtype)
        if data.shape[1:] != self.row_shape:
            raise ValueError(f"{self.path.name}: rows {data.shape[1:]}, expected {self.row_shape}")
        if data.size:
            self._write(data.data.cast("B"))
        self.num_rows += data.shape[0]

    def flush(self) -> None:
        """Bring all rows so far to the disk."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Write the final length into the header and flush the file to the disk."""
        try:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            self._write(memoryview(self._header()))
            os.fsync(self._descriptor)
        finally:
            self.discard()

    def discard(self) -> None:
        """Close the file as it is; does nothing if it is closed already."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _header(self) -> bytes:
        shape = (self.num_rows, *self.row_shape)
        text = f"{{'descr': {self.dtype.str!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
        body = text.ljust(HEADER_BYTES - 11) + "\n"
        return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body.encode("ascii")

    def _write(self, data: memoryview) -> None:
        while data:  # a nearly full disk, and the kernel's limit of 2 GiB, write less than asked
            data = data[os.write(self._descriptor, data) :]


def _binary() -> int:
    return getattr(os, "O_BINARY", 0)  # Windows only
