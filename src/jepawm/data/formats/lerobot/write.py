"""Write LeRobot data sets, version 3.0 (many episodes in a file) and 2.1 (one in each)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Shaped, UInt8
from rich.console import Console
from rich.progress import track

from jepawm.data.episodes import EpisodeStore
from jepawm.data.exporting import ExportOptions, StoredEpisode, stored_episodes
from jepawm.data.formats.lerobot.plan import (
    EPISODES_PER_CHUNK,
    LeRobotPlan,
    dataset_info,
    new_file,
    plan_export,
    tasks_table,
)
from jepawm.data.video import VideoWriter
from jepawm.files import complete_or_absent, telling_full_disk

Stats = dict[str, dict[str, list]]
"""By column: min, max, mean, std and count; those of images by colour, scaled to [0, 1]."""
_SAMPLED_FRAMES = 100
_DATA_MB = 100
_VIDEO_MB = 200
_DATA_V3 = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO_V3 = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_EPISODES_V3 = "meta/episodes/chunk-000/file-000.parquet"
_DATA_V2 = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
_VIDEO_V2 = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def write_v3(store: EpisodeStore, out: Path, *, options: ExportOptions) -> None:
    """Write a store as LeRobot 3.0."""
    plan = plan_export(store, options)
    with complete_or_absent(out) as folder, telling_full_disk(out, num_bytes=plan.num_bytes):
        files = _PackedFiles(folder, plan)
        rows, stats = [], []
        for episode in _progress(store, out):
            row, one = files.append(episode)
            rows.append(row)
            stats.append(one)
        files.close()
        names = dict.fromkeys(name for row in rows for name in row)
        table = pa.table({name: [row[name] for row in rows] for name in names})
        _write_table(folder / _EPISODES_V3, table)
        pq.write_table(tasks_table(plan.tasks), folder / "meta" / "tasks.parquet")
        _write_json(folder / "meta" / "stats.json", merge_stats(stats))
        sizes = {"data_files_size_in_mb": _DATA_MB, "video_files_size_in_mb": _VIDEO_MB}
        info = dataset_info(plan, version="v3.0", paths=(_DATA_V3, _VIDEO_V3)) | sizes
        _write_json(folder / "meta" / "info.json", info)


def write_v2(store: EpisodeStore, out: Path, *, options: ExportOptions) -> None:
    """Write a store as LeRobot 2.1."""
    plan = plan_export(store, options)
    with complete_or_absent(out) as folder, telling_full_disk(out, num_bytes=plan.num_bytes):
        rows, stats = [], []
        for episode in _progress(store, out):
            where = {
                "episode_chunk": episode.index // EPISODES_PER_CHUNK,
                "episode_index": episode.index,
            }
            _write_table(folder / _DATA_V2.format(**where), plan.table(episode))
            if plan.is_video:
                video = plan.video(folder / _VIDEO_V2.format(video_key=plan.camera, **where))
                video.append(episode.frames)
                video.close()
            one = episode_stats(plan.columns(episode), episode.frames, camera=plan.camera)
            stats.append({"episode_index": episode.index, "stats": one})
            rows.append({"episode_index": episode.index, **plan.episode_row(episode)})
        tasks = [{"task_index": index, "task": task} for index, task in enumerate(plan.tasks)]
        lines = {"episodes": rows, "tasks": tasks, "episodes_stats": stats}
        for name, entries in lines.items():
            text = "".join(json.dumps(entry) + "\n" for entry in entries)
            new_file(folder / "meta" / f"{name}.jsonl").write_text(text, encoding="utf-8")
        num_chunks = -(-len(store) // EPISODES_PER_CHUNK)
        info = dataset_info(plan, version="v2.1", paths=(_DATA_V2, _VIDEO_V2))
        info |= {"total_chunks": num_chunks, "total_videos": len(store) * plan.is_video}
        _write_json(folder / "meta" / "info.json", info)


@dataclass
class _PackedFiles:
    """Tables and videos of version 3.0 that are filled until they are large enough."""

    folder: Path
    plan: LeRobotPlan
    data_index: int = 0
    video_index: int = 0
    _tables: list[pa.Table] = field(default_factory=list)
    _video: VideoWriter | None = None

    def append(self, episode: StoredEpisode) -> tuple[dict[str, object], Stats]:
        """Add an episode; returns its row of `meta/episodes` and its statistics."""
        plan, start = self.plan, int(self.plan.store.starts[episode.index])
        stats = episode_stats(plan.columns(episode), episode.frames, camera=plan.camera)
        row: dict[str, object] = {"episode_index": episode.index, **plan.episode_row(episode)}
        row |= {f"data/{k}": v for k, v in _position(self.data_index).items()}
        row |= {"dataset_from_index": start, "dataset_to_index": start + len(episode.frames)}
        row |= self._append_video(episode)
        row |= {f"stats/{name}/{k}": v for name, one in stats.items() for k, v in one.items()}
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        self._tables.append(plan.table(episode))
        if sum(table.nbytes for table in self._tables) > _DATA_MB * 2**20:
            self._flush_data()
        return row, stats

    def close(self) -> None:
        """Finish the last files."""
        self._flush_data()
        self._close_video()

    def _append_video(self, episode: StoredEpisode) -> dict[str, object]:
        if not self.plan.is_video:
            return {}
        key, where = self.plan.camera, _position(self.video_index)
        path = self.folder / _VIDEO_V3.format(video_key=key, **where)
        if self._video is None:
            self._video = self.plan.video(path)
        first = self._video.num_frames
        self._video.append(episode.frames)
        row: dict[str, object] = {f"videos/{key}/{k}": v for k, v in where.items()}
        row[f"videos/{key}/from_timestamp"] = first / self.plan.fps
        row[f"videos/{key}/to_timestamp"] = self._video.num_frames / self.plan.fps
        if path.stat().st_size > _VIDEO_MB * 2**20:
            self._close_video()
        return row

    def _flush_data(self) -> None:
        if self._tables:
            path = self.folder / _DATA_V3.format(**_position(self.data_index))
            _write_table(path, pa.concat_tables(self._tables))
            self.data_index += 1
            self._tables = []

    def _close_video(self) -> None:
        if self._video is not None:
            self._video.close()
            self.video_index += 1
            self._video = None


def _position(index: int) -> dict[str, int]:
    return {"chunk_index": index // EPISODES_PER_CHUNK, "file_index": index % EPISODES_PER_CHUNK}


def _write_table(path: Path, table: pa.Table) -> None:
    pq.write_table(table, new_file(path))


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    new_file(path).write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")


def _progress(store: EpisodeStore, out: Path) -> Iterable[StoredEpisode]:
    return track(
        stored_episodes(store),
        description=f"exporting {out.name}",
        total=len(store),
        console=Console(stderr=True),
    )


def episode_stats(
    columns: Mapping[str, Shaped[np.ndarray, "L *d"]],
    frames: UInt8[np.ndarray, "L height width 3"],
    *,
    camera: str,
) -> Stats:
    """Measure one episode; of its frames at most a hundred, evenly spread."""
    stats = {name: _measure(rows.reshape(len(rows), -1)) for name, rows in columns.items()}
    count = min(len(frames), _SAMPLED_FRAMES)
    sampled = frames[np.linspace(0, len(frames) - 1, count).astype(int)]
    image = _measure(sampled.reshape(-1, 3) / 255.0)
    stats[camera] = {
        key: [[[number]] for number in numbers] for key, numbers in image.items() if key != "count"
    }
    stats[camera]["count"] = [count]
    return stats


def merge_stats(parts: Sequence[Stats]) -> Stats:
    """Join statistics of episodes: exactly, as if all rows had been measured together."""
    merged: Stats = {}
    for name in parts[0]:
        count = np.array([part[name]["count"][0] for part in parts])
        values = {
            key: np.array([part[name][key] for part in parts])
            for key in ("min", "max", "mean", "std")
        }
        weights = (count / count.sum()).reshape(-1, *[1] * (values["mean"].ndim - 1))
        mean = (weights * values["mean"]).sum(axis=0)
        variance = (weights * (values["std"] ** 2 + (values["mean"] - mean) ** 2)).sum(axis=0)
        merged[name] = {
            "min": values["min"].min(axis=0).tolist(),
            "max": values["max"].max(axis=0).tolist(),
            "mean": mean.tolist(),
            "std": np.sqrt(variance).tolist(),
            "count": [int(count.sum())],
        }
    return merged


def _measure(rows: np.ndarray) -> dict[str, list]:
    return {
        "min": rows.min(axis=0).tolist(),
        "max": rows.max(axis=0).tolist(),
        "mean": rows.mean(axis=0, dtype=np.float64).tolist(),
        "std": rows.std(axis=0, dtype=np.float64).tolist(),
        "count": [len(rows)],
    }
