"""Data sets in LeRobot's layouts, written by hand."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

LENGTHS = (6, 9, 4)
FPS = 10
CAMERAS = ("observation.images.front", "observation.images.wrist")


@pytest.fixture(params=["v2.1", "v3.0"])
def version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def write(tmp_path: Path, make_frames, make_numbers, make_mp4):
    """Write a data set in the layout of a version; in 3.0 all episodes share their files."""

    def info(version: str, cameras: tuple[str, ...]) -> dict[str, object]:
        names = {
            "episode_chunk": "chunk-{episode_chunk:03d}",
            "file": "episode_{episode_index:06d}",
        }
        if version == "v3.0":
            names = {"episode_chunk": "chunk-{chunk_index:03d}", "file": "file-{file_index:03d}"}
        chunk, file = names["episode_chunk"], names["file"]
        video = (
            "videos/{video_key}/" + chunk if version == "v3.0" else f"videos/{chunk}/{{video_key}}"
        )
        features = {camera: {"dtype": "video", "shape": [32, 32, 3]} for camera in cameras}
        features |= {
            "observation.state": {"dtype": "float32", "shape": [3]},
            "action": {"dtype": "float32", "shape": [2]},
            "timestamp": {"dtype": "float32", "shape": [1]},
            "episode_index": {"dtype": "int64", "shape": [1]},
        }
        return {
            "codebase_version": version,
            "robot_type": "arm",
            "total_episodes": len(LENGTHS),
            "chunks_size": 1000,
            "fps": FPS,
            "data_path": f"data/{chunk}/{file}.parquet",
            "video_path": f"{video}/{file}.mp4",
            "features": features,
        }

    def table(episode: int, length: int) -> pa.Table:
        return pa.table(
            {
                "observation.state": list(make_numbers(episode, length, 3)),
                "action": list(make_numbers(episode, length, 2)),
                "timestamp": (np.arange(length) / FPS).astype(np.float32),
                "episode_index": np.full(length, episode),
            }
        )

    def write(version: str, cameras: tuple[str, ...] = CAMERAS[:1]) -> Path:
        root = tmp_path / version
        (root / "meta").mkdir(parents=True)
        content = info(version, cameras)
        (root / "meta" / "info.json").write_text(json.dumps(content))
        tables = [table(episode, length) for episode, length in enumerate(LENGTHS)]
        frames = [make_frames(episode, length) for episode, length in enumerate(LENGTHS)]
        if version == "v3.0":
            _save(root / "data/chunk-000/file-000.parquet", pa.concat_tables(tables))
            starts = np.cumsum((0, *LENGTHS))[:-1] / FPS
            columns: dict[str, object] = {
                "episode_index": range(len(LENGTHS)),
                "length": LENGTHS,
                "tasks": [["push"]] * len(LENGTHS),
                "data/chunk_index": [0] * len(LENGTHS),
                "data/file_index": [0] * len(LENGTHS),
            }
            for camera in cameras:
                make_mp4(root / f"videos/{camera}/chunk-000/file-000.mp4", np.concatenate(frames))
                columns |= {
                    f"videos/{camera}/chunk_index": [0] * len(LENGTHS),
                    f"videos/{camera}/file_index": [0] * len(LENGTHS),
                    f"videos/{camera}/from_timestamp": starts,
                }
            _save(root / "meta/episodes/chunk-000/file-000.parquet", pa.table(columns))
            return root
        rows = []
        for episode, length in enumerate(LENGTHS):
            rows.append({"episode_index": episode, "length": length, "tasks": ["push"]})
            _save(root / f"data/chunk-000/episode_{episode:06d}.parquet", tables[episode])
            for camera in cameras:
                file = root / f"videos/chunk-000/{camera}/episode_{episode:06d}.mp4"
                make_mp4(file, frames[episode])
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (root / "meta" / "episodes.jsonl").write_text(lines)
        return root

    return write


def _save(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
