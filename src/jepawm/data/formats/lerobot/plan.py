"""What a store becomes in LeRobot's layout: columns, tables, features, tasks."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped

from jepawm.data.episodes import EpisodeStore
from jepawm.data.exporting import ExportOptions, StoredEpisode, export_rate, stored_episodes
from jepawm.data.jpeg_frames import encode_png
from jepawm.data.video import VideoWriter
from jepawm.errors import UserError, show

EPISODES_PER_CHUNK = 1000
"""Episodes or files in a folder."""
_LONGEST_NAME = 200


@dataclass(frozen=True, kw_only=True)
class LeRobotPlan:
    """What is written for every episode."""

    store: EpisodeStore
    """The store."""
    fps: float
    """Frames per second."""
    camera: str
    """Name of the camera."""
    is_video: bool
    """Whether frames are videos; if not, PNG pictures in the tables."""
    tasks: tuple[str, ...]
    """All different tasks."""

    @property
    def num_bytes(self) -> int:
        """Estimate the size at most: numbers, and frames at one byte a pixel, as PNG at three."""
        manifest = self.store.manifest
        pixels = (1 if self.is_video else 3) * manifest.image_size**2
        return manifest.num_frames * (pixels + 8 * manifest.action_dim)

    def columns(self, episode: StoredEpisode) -> dict[str, Shaped[np.ndarray, "L *d"]]:
        """Return all columns of numbers of an episode."""
        steps = np.arange(len(episode.frames))
        start = int(self.store.starts[episode.index])
        columns = {"action": episode.actions}
        if episode.proprio is not None:
            columns["observation.state"] = episode.proprio
        if episode.state is not None:
            columns["observation.environment_state"] = episode.state
        return columns | {
            "timestamp": (steps / self.fps).astype(np.float32),
            "frame_index": steps,
            "episode_index": np.full(len(steps), episode.index),
            "index": start + steps,
            "task_index": np.full(len(steps), self.tasks.index(episode.task)),
        }

    def table(self, episode: StoredEpisode) -> pa.Table:
        """Return the rows of an episode, with its frames as PNG unless they go into a video."""
        arrays = {name: _arrow(rows) for name, rows in self.columns(episode).items()}
        if not self.is_video:
            arrays[self.camera] = pa.array(
                [
                    {"bytes": encode_png(frame), "path": f"frame-{i:06d}.png"}
                    for i, frame in enumerate(episode.frames)
                ]
            )
        table = pa.table(arrays)
        if self.is_video:
            return table
        # version 2.1 of LeRobot learns from this entry alone that a column holds pictures
        features = {"info": {"features": {self.camera: {"_type": "Image"}}}}
        return table.replace_schema_metadata({"huggingface": json.dumps(features)})

    def episode_row(self, episode: StoredEpisode) -> dict[str, object]:
        """Return what `meta/` says of an episode; `num_actions` is read back by this library."""
        return {
            "tasks": [episode.task],
            "length": len(episode.frames),
            "num_actions": episode.num_actions,
        }

    def video(self, path: Path) -> VideoWriter:
        """Create a video file."""
        size = self.store.manifest.image_size
        return VideoWriter(new_file(path), fps=self.fps, height=size, width=size)


def plan_export(store: EpisodeStore, options: ExportOptions) -> LeRobotPlan:
    """Decide what an export writes."""
    source = store.manifest.source
    camera = "camera" if source is None else source.camera.split(".")[-1].split("/")[-1]
    if not camera.isprintable() or len(camera.encode()) > _LONGEST_NAME:
        raise UserError(
            f"{store.path}: the camera {show(camera)} cannot name a folder of videos; rename it in "
            "the recordings and import them again"
        )
    return LeRobotPlan(
        store=store,
        fps=export_rate(store, options),
        camera=f"observation.images.{camera}",
        is_video=options.images == "video",
        tasks=tuple(sorted(set(store.tasks))),
    )


def dataset_info(plan: LeRobotPlan, *, version: str, paths: tuple[str, str]) -> dict[str, object]:
    """Return the content of `meta/info.json` for a version with its templates of data and video."""
    manifest = plan.store.manifest
    size = manifest.image_size
    image = {
        "dtype": "video" if plan.is_video else "image",
        "shape": [size, size, 3],
        "names": ["height", "width", "channels"],
    }
    fps = int(plan.fps) if plan.fps == int(plan.fps) else plan.fps
    if plan.is_video:
        sides = {"video.height": size, "video.width": size, "video.channels": 3}
        coding = {"video.codec": "h264", "video.pix_fmt": "yuv420p", "video.is_depth_map": False}
        image["info"] = {**sides, **coding, "video.fps": fps, "has_audio": False}
    first = next(stored_episodes(plan.store))
    features = {
        name: {"dtype": str(rows.dtype), "shape": [*rows.shape[1:]] or [1], "names": None}
        for name, rows in plan.columns(first).items()
    }
    return {
        "codebase_version": version,
        "robot_type": manifest.environment,
        "total_episodes": manifest.num_episodes,
        "total_frames": manifest.num_frames,
        "total_tasks": len(plan.tasks),
        "chunks_size": EPISODES_PER_CHUNK,
        "fps": fps,
        "splits": {"train": f"0:{manifest.num_episodes}"},
        "data_path": paths[0],
        "video_path": paths[1] if plan.is_video else None,
        "features": {plan.camera: image, **features},
    }


def tasks_table(tasks: tuple[str, ...]) -> pa.Table:
    """Build the table of tasks; pandas, by which LeRobot reads it, makes the texts its index."""
    index = {"field_name": "__index_level_0__", "pandas_type": "unicode", "numpy_type": "object"}
    column = {"name": "task_index", "field_name": "task_index", "metadata": None}
    column |= {"pandas_type": "int64", "numpy_type": "int64"}
    pandas = {
        "index_columns": [index["field_name"]],
        "column_indexes": [],
        "columns": [column, {"name": None, "metadata": None, **index}],
    }
    table = pa.table({"task_index": range(len(tasks)), index["field_name"]: list(tasks)})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def new_file(path: Path) -> Path:
    """Make the folder of a file; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _arrow(rows: np.ndarray) -> pa.Array:
    """Turn `[n]` or `[n, 1]` into numbers and `[n, d]` into vectors."""
    if rows.ndim == 1 or rows.shape[1] == 1:
        return pa.array(rows.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
