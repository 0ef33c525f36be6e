"""The one native store of episodes: a folder of memory-mapped arrays, an index and a manifest.

    manifest.json    counts, statistics, provenance, size and SHA-256 of the other files
    index.parquet    episode, start, num_frames, num_actions (and task): one row for each episode
    pixels.npy       uint8   [F, 3, H, W]  the frames of all episodes, one after the other, with
                     several cameras [F, V, 3, H, W]; or
                     uint8   [bytes]       the same as JPEG pictures, with their sizes in
    pixel_sizes.npy  int64   [F]
    actions.npy      float32 [F, a]        row t leads frame t to frame t + 1 of the same episode
    proprio.npy      float32 [F, P]        optional
    state.npy        float64 [F, S]        optional; for probes and diagnosis, never for the model
    rewards.npy      float32 [F, R]        optional; row t is earned by action t; for learned rewards

`F` counts the frames of all episodes. An episode of `L` frames has `L` or `L - 1` actions; in the
second case its last action row is zero padding. `EpisodeWriter` writes stores, `open_store` opens
them; how the pixels are stored is known to `EpisodeStore.frames` alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int64, UInt8

from jepawm.border import foreign, require_regular
from jepawm.data.cameras import read_views
from jepawm.data.jpeg_frames import JpegFrames
from jepawm.data.manifest import (
    Manifest,
    Statistics,
    check_hash,
    check_opened,
    check_size,
    column_statistics,
    read_manifest,
)
from jepawm.data.recording import read_parquet
from jepawm.errors import UserError
from jepawm.files import content_hash, partial_folders
from jepawm.normalizer import Normalizer
from jepawm.views import choose_views, stack_views

INDEX_NAME = "index.parquet"
TASK_COLUMN = "task"
INDEX_COLUMNS = ("episode", "start", "num_frames", "num_actions")


@dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeStore:
    """Episodes on the disk, opened for reading."""

    path: Path
    """The folder."""
    manifest: Manifest
    """Counts, statistics, provenance and hashes."""
    lengths: Int64[np.ndarray, " E"]
    """Number of frames of each episode `[E]`."""
    num_actions: Int64[np.ndarray, " E"]
    """Number of actions of each episode `[E]`: its frames, or one less."""
    starts: Int64[np.ndarray, " E"]
    """Row of the first frame of each episode `[E]`."""
    pixels: UInt8[np.ndarray, "F *views 3 H W"] | JpegFrames
    """Frames of all episodes, memory-mapped and read-only: `[F, 3, H, W]`, or JPEG pictures."""
    actions: Float[np.ndarray, "F a"]
    """Actions `[F, a]`, float32, environment units."""
    proprio: Float[np.ndarray, "F P"] | None
    """Proprioception `[F, P]`, float32, environment units; None if there is none."""
    state: Float[np.ndarray, "F S"] | None
    """Simulator state `[F, S]`, float64; None if there is none."""
    rewards: Float[np.ndarray, "F R"] | None
    """Logged rewards `[F, R]`, float32, of the actions of the same rows; None if there are none."""
    tasks: tuple[str, ...]
    """What each episode is about, in words `[E]`; empty texts if nothing is said."""
    views: tuple[int, ...] = ()
    """Places of the cameras that are read, where there are several; see `with_cameras`."""

    def __len__(self) -> int:
        """Count the episodes."""
        return len(self.lengths)

    def frames(self, rows: Int64[np.ndarray, "*b"]) -> UInt8[np.ndarray, "*b 3 H W"]:
        """Read frames `[*b, 3, H, W]` at rows `[*b]` of the whole store.

        Pictures of several cameras lie one below the other, `[*b, 3, V H, W]`.
        """
        if self.manifest.cameras:
            return stack_views(self.pictures(rows))
        if isinstance(self.pixels, JpegFrames):
            return self.pixels.read(rows)
        return np.take(self.pixels, rows, axis=0)  # twice as fast as `pixels[rows]`

    def pictures(self, rows: Int64[np.ndarray, "*b"]) -> UInt8[np.ndarray, "*b V 3 H W"]:
        """Read the pictures `[*b, V, 3, H, W]` of the cameras that are read, of a store of several."""
        count = len(self.manifest.cameras or ())
        return read_views(self.pixels, rows, views=self.views, of=count)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Return the names of the cameras that are read, of a store of several."""
        return tuple((self.manifest.cameras or [])[at] for at in self.views)

    def with_cameras(self, names: Sequence[str]) -> "EpisodeStore":
        """Return the store of some of its cameras; none named: of all."""
        known = self.manifest.cameras or []
        if names and not known:
            raise UserError(
                f"{self.path} holds one camera; leave {', '.join(names)} out, or import it again with "
                "--camera"
            )
        return replace(self, views=choose_views(names, known, where=self.path))

    def require_one_camera(self, use: str) -> None:
        """Refuse a store of several cameras for what takes the pictures of one."""
        if self.manifest.cameras:
            known = ", ".join(self.manifest.cameras)
            raise UserError(
                f"{self.path} holds several cameras ({known}), and {use} takes one: import that one "
                "alone by --camera"
            )

    def statistics(self, *, num_episodes: int | None = None) -> Statistics:
        """Return the statistics of the first `num_episodes` episodes, computed if not all count."""
        if num_episodes is None or num_episodes == len(self):
            return self.manifest.statistics
        rows = int(self.lengths[:num_episodes].sum())
        counted = np.ones(rows, dtype=bool)  # [F], without the padding rows of actions
        ends = np.cumsum(self.lengths)[:num_episodes] - 1
        counted[ends] = (self.num_actions == self.lengths)[:num_episodes]
        action_mean, action_std = column_statistics(self.actions[:rows][counted])
        proprio_mean, proprio_std = None, None
        if self.proprio is not None:
            proprio_mean, proprio_std = column_statistics(self.proprio[:rows])
        return Statistics(
            action_mean=action_mean,
            action_std=action_std,
            proprio_mean=proprio_mean,
            proprio_std=proprio_std,
        )

    def normalizer(self, *, num_episodes: int | None = None) -> Normalizer:
        """Build the normaliser from the statistics of the first `num_episodes`; None: of all."""
        statistics = self.statistics(num_episodes=num_episodes)
        return Normalizer.from_statistics(
            action_mean=statistics.action_mean,
            action_std=statistics.action_std,
            proprio_mean=statistics.proprio_mean,
            proprio_std=statistics.proprio_std,
        )

    @cached_property
    def sha256(self) -> str:
        """Return the hash of all that a model learns from: another one means other data."""
        digests = self.manifest.files.items()
        learned = (
            item for item in digests if item[0] != "rewards.npy"
        )  # no model learns from them
        arrays = {name: one.sha256 for name, one in learned if name.endswith(".npy")}
        rows = {"lengths": self.lengths.tolist(), "num_actions": self.num_actions.tolist()}
        return content_hash({"arrays": arrays, **rows})

    def verify(self) -> None:
        """Compare every file, pixels too, with its recorded size and hash (about 1 s per GB)."""
        for name, digest in self.manifest.files.items():
            check_size(self.path / name, digest)
            check_hash(self.path / name, digest)


def open_store(path: Path) -> EpisodeStore:
    """Open a store and check it: sizes, hashes, agreement with the manifest, finite actions.

    Of files above 2 GiB only the size is checked here; `EpisodeStore.verify` hashes them too.
    """
    _require_folder(path)
    manifest = read_manifest(path)
    for name, digest in manifest.files.items():
        check_opened(path / name, digest)
    index, tasks = _read_index(path, manifest)
    actions = _read_array(path, "actions", (manifest.num_frames, manifest.action_dim), "<f4")
    _require_finite(path / "actions.npy", actions, index)
    num_rewards = None if manifest.reward_names is None else len(manifest.reward_names)
    return EpisodeStore(
        path=path,
        manifest=manifest,
        lengths=index["num_frames"],
        num_actions=index["num_actions"],
        starts=index["start"],
        pixels=_read_pixels(path, manifest),
        actions=actions,
        proprio=_read_optional(path, "proprio", (manifest.num_frames, manifest.proprio_dim), "<f4"),
        state=_read_optional(path, "state", (manifest.num_frames, manifest.state_dim), "<f8"),
        rewards=_read_optional(path, "rewards", (manifest.num_frames, num_rewards), "<f4"),
        tasks=tasks,
        views=tuple(range(len(manifest.cameras or ()))),
    )


def _require_folder(path: Path) -> None:
    if path.is_dir():
        return
    if path.exists():
        raise UserError(f"{path} is a file; give the folder of an episode store")
    unfinished = partial_folders(path)
    if unfinished:
        raise UserError(
            f"{path} was never finished: only the half-written {unfinished[0].name} is there; "
            "delete that folder and collect again"
        )
    raise UserError(f"there is no episode store at {path}; collect one with `jepawm collect`")


def _read_index(
    path: Path, manifest: Manifest
) -> tuple[Mapping[str, Int64[np.ndarray, " E"]], tuple[str, ...]]:
    file = path / INDEX_NAME
    table = read_parquet(file)
    missing = sorted(set(INDEX_COLUMNS) - set(table.column_names))
    if missing:
        raise UserError(f"{file} lacks the columns {missing}; collect the store anew")
    index = {}
    for name in INDEX_COLUMNS:
        if not pa.types.is_integer(table[name].type) or table[name].null_count:
            raise UserError(f"{file}: {name} is no column of whole numbers; collect the store anew")
        index[name] = np.asarray(table[name], dtype=np.int64)
    lengths, num_actions = index["num_frames"], index["num_actions"]
    padding = lengths - num_actions
    agrees = (
        len(lengths) == manifest.num_episodes
        and int(lengths.sum()) == manifest.num_frames
        and int(num_actions.sum()) == manifest.num_actions
        and bool(((padding == 0) | (padding == 1)).all())
        and int(num_actions.min(initial=1)) > 0
        and np.array_equal(index["start"], np.cumsum(lengths) - lengths)
    )
    if not agrees:
        raise UserError(f"{file} disagrees with the manifest; collect the store anew")
    if TASK_COLUMN not in table.column_names:
        return index, ("",) * len(lengths)
    texts = table[TASK_COLUMN]
    if not pa.types.is_string(texts.type) or texts.null_count:
        raise UserError(f"{file}: {TASK_COLUMN} is no column of texts; collect the store anew")
    with foreign(file, "index"):
        return index, tuple(texts.to_pylist())


def _read_pixels(path: Path, manifest: Manifest) -> np.ndarray | JpegFrames:
    size, num_frames = manifest.image_size, manifest.num_frames
    views = (len(manifest.cameras),) if manifest.cameras else ()
    if manifest.pixel_encoding == "raw":
        return _read_array(path, "pixels", (num_frames, *views, 3, size, size), "|u1")
    if manifest.pixel_encoding != "jpeg":
        raise UserError(
            f"{path} holds pixels as {manifest.pixel_encoding!r}, this jepawm reads raw and jpeg; "
            "use a newer jepawm"
        )
    sizes = _read_array(path, "pixel_sizes", (num_frames * sum(views or (1,)),), "<i8")
    if int(sizes.min(initial=1)) < 1:
        raise UserError(f"{path / 'pixel_sizes.npy'} holds a picture of no bytes; copy it again")
    pictures = _read_array(path, "pixels", (int(sizes.sum()),), "|u1")
    return JpegFrames(
        file=path / "pixels.npy", pictures=pictures, sizes=np.array(sizes), image_size=size
    )


def _read_array(path: Path, name: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    file = path / f"{name}.npy"
    require_regular(file, "copy the store again or collect it anew")
    with foreign(file, "array of a store"):
        array = np.lib.format.open_memmap(file, mode="r")
    if array.shape != shape or array.dtype.str != dtype:
        raise UserError(
            f"{file} holds {array.dtype} {array.shape}, the manifest says {np.dtype(dtype)} "
            f"{shape}; collect the store anew"
        )
    return array.view(np.ndarray)


def _read_optional(
    path: Path, name: str, shape: tuple[int, int | None], dtype: str
) -> np.ndarray | None:
    num_rows, width = shape
    return None if width is None else _read_array(path, name, (num_rows, width), dtype)


def _require_finite(file: Path, rows: np.ndarray, index: Mapping[str, np.ndarray]) -> None:
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        episode = int(np.searchsorted(index["start"], bad[0], side="right")) - 1
        step = int(bad[0] - index["start"][episode])
        raise UserError(
            f"{file}: NaN or infinite value in episode {episode}, step {step} ({len(bad)} rows in "
            "all); collect the store anew, or repair the recording and import it again"
        )
