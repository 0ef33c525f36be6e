import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepawm.data.checking import Requirements
from jepawm.data.formats import get_format, open_source
from jepawm.data.importing import check_source
from jepawm.data.recording import ReadOptions, Source
from jepawm.errors import UserError
from jepawm.testing import check_data_format

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


def _open(path: Path, **options: str | None) -> Source:
    return open_source(path, name=None, options=ReadOptions(**options))


def test_episodes_read_as_written(write, version: str, make_frames, make_numbers):
    source = _open(write(version))
    assert (source.format, source.environment, source.fps) == ("lerobot", "arm", FPS)
    for episode, length in enumerate(LENGTHS):
        recording = source.episodes[episode].read()
        assert recording.num_frames == recording.count_frames() == length
        assert recording.task == "push"
        assert np.array_equal(recording.actions, make_numbers(episode, length, 2))
        assert recording.proprio is not None
        assert np.array_equal(recording.proprio, make_numbers(episode, length, 3))
        frames = np.stack(list(recording.frames()))
        error = np.abs(frames.astype(int) - make_frames(episode, length))
        assert error.mean() < 2
        assert error.max() < 12  # below the 8 between frames on average: no frame is off by one


def test_nothing_is_wrong_with_it(write, version: str):
    assert check_source(_open(write(version)), Requirements()) == []


def test_keeps_the_contract(write, version: str):
    check_data_format(get_format("lerobot"), write(version))


def test_several_cameras_have_to_be_chosen(write, version: str):
    path = write(version, CAMERAS)
    with pytest.raises(UserError, match=r"several cameras.*front, observation.images.wrist"):
        _open(path)
    with pytest.raises(UserError, match=r"no camera 'top'.*front, observation.images.wrist"):
        _open(path, camera="top")
    assert _open(path, camera=CAMERAS[1]).camera == CAMERAS[1]


def test_other_columns_by_name(write, version: str):
    path = write(version)
    recording = _open(path, action_key="observation.state", proprio_key="none").episodes[0].read()
    assert recording.actions.shape == (6, 3)
    assert recording.proprio is None
    both = _open(path, proprio_key="observation.state,action").episodes[0].read()
    assert both.proprio is not None
    assert both.proprio.shape == (6, 5)
    with pytest.raises(UserError, match=r"no column 'torque'; by --action-key choose.*action"):
        _open(path, action_key="torque")


def test_videos_in_another_folder_than_info_says(write, version: str):
    path = write(version)
    (path / "videos").rename(path / "video")
    problems = check_source(_open(path), Requirements())
    assert len(problems) == len(LENGTHS)
    assert "the files are under video/ where meta/info.json says videos/" in problems[0].message
    assert "rename the folder video to videos" in problems[0].message


def test_a_missing_a_truncated_and_a_short_video_are_all_listed(write, make_frames, make_mp4):
    path = write("v2.1")
    videos = sorted((path / "videos").rglob("*.mp4"))
    videos[0].unlink()
    videos[1].write_bytes(videos[1].read_bytes()[:600])
    make_mp4(videos[2], make_frames(2, 3))
    problems = [problem.to_text() for problem in check_source(_open(path), Requirements())]
    assert len(problems) == 3
    assert "episode_000000.mp4 is missing" in problems[0]
    assert "episode_000001.mp4 is truncated or damaged" in problems[1]
    assert "has 3 frames, fewer than the 4 of its table" in problems[2]
    assert all(f"episode {index}" in text for index, text in enumerate(problems))


def test_a_video_that_ends_early_names_its_episode(write, make_frames, make_mp4):
    path = write("v3.0")
    video = next((path / "videos").rglob("*.mp4"))
    make_mp4(video, np.concatenate([make_frames(0, 6), make_frames(1, 8)]))
    problems = check_source(_open(path), Requirements())
    assert [problem.episode for problem in problems] == ["episode 1", "episode 2"]
    assert "8 frames, fewer than the 9" in problems[0].message
    assert "0 frames, fewer than the 4" in problems[1].message


def test_a_table_with_other_columns(write):
    path = write("v2.1")
    file = path / "data/chunk-000/episode_000001.parquet"
    table = pq.read_table(file)
    pq.write_table(
        table.rename_columns(["observation.state", "act", *table.column_names[2:]]), file
    )
    problems = check_source(_open(path), Requirements())
    assert len(problems) == 1
    assert "lacks the columns action; it has: observation.state, act" in problems[0].to_text()


@pytest.mark.parametrize(("value", "word"), [(np.nan, "is NaN"), (0.0, "does not rise")])
def test_timestamps_that_name_no_frame(write, value: float, word: str):
    path = write("v2.1")
    file = path / "data/chunk-000/episode_000001.parquet"
    table = pq.read_table(file)
    times = table["timestamp"].to_numpy().copy()
    times[4] = value
    place = table.column_names.index("timestamp")
    pq.write_table(table.set_column(place, "timestamp", pa.array(times)), file)
    problems = check_source(_open(path), Requirements())
    assert [problem.episode for problem in problems] == ["episode 1"]
    assert f"timestamp {word}" in problems[0].message
    assert "row 4" in problems[0].message


def test_damaged_meta(write, version: str):
    path = write(version)
    file = path / "meta" / "info.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"codebase_version": "v9.0"}))
    with pytest.raises(UserError, match=r"version v9\.0; convert it by .* to .*v2\.1, v3\.0"):
        _open(path)
    file.write_text(json.dumps(content | {"total_episodes": 7}))
    with pytest.raises(UserError, match=r"lists 3 episodes, info\.json says 7"):
        _open(path)
    for fps in (0, -30):
        file.write_text(json.dumps(content | {"fps": fps}))
        with pytest.raises(UserError, match=r"info\.json: fps is .*; write the frames per second"):
            _open(path)
    del content["fps"]
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"info\.json lacks fps"):
        _open(path)
    file.write_text("{")
    with pytest.raises(UserError, match="truncated or altered"):
        _open(path)


def test_bimanual_recordings(shared_data: Path):
    source = _open(shared_data / "bimanual_lerobot")
    assert len(source.episodes) == 12
    problems = check_source(source, Requirements())
    assert [problem.fatal for problem in problems] == [False, False]
    assert "12 of 34 columns are constant" in problems[0].message
    frames = source.episodes[3].read().frames()
    assert next(frames).shape == (480, 640, 3)
