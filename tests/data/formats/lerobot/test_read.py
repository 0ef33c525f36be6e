import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepawm.data.checking import Requirements
from jepawm.data.formats import get_format, open_source
from jepawm.data.importing import check_source
from jepawm.data.jpeg_frames import encode_png
from jepawm.data.recording import ReadOptions, Source
from jepawm.errors import UserError
from jepawm.testing import check_data_format

LENGTHS = (6, 9, 4)
FPS = 10
CAMERAS = ("observation.images.front", "observation.images.wrist")


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
    with pytest.raises(UserError, match=r"no column torque; by --action-key choose.*action"):
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
    for fps in (0, -30, 1e308, 5e-324):
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


def change_info(path: Path, **entries: object) -> None:
    file = path / "meta" / "info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def test_names_of_the_columns_of_actions(write):
    path = write("v3.0")
    features = json.loads((path / "meta" / "info.json").read_text())["features"]
    width = features["action"]["shape"][0]
    names = [f"left.joint_{number}" for number in range(width)]
    for given in (names, {"motors": names}):
        change_info(path, features=features | {"action": {**features["action"], "names": given}})
        assert list(_open(path).action_names) == names
    for given in (None, [1, 2], {"a": 1, "b": 2}):
        change_info(path, features=features | {"action": {**features["action"], "names": given}})
        assert list(_open(path).action_names) == []


IMAGE = {"dtype": "image", "shape": [32, 32, 3]}


def test_pictures_in_tables(write, tmp_path: Path):
    """Bytes count before a path; a path stays in the data set; what is no picture is named."""
    path = write("v2.1")
    camera = CAMERAS[0]
    info = json.loads((path / "meta" / "info.json").read_text())
    change_info(path, features=info["features"] | {camera: IMAGE})
    good = encode_png(np.full((8, 8, 3), 7, np.uint8))
    (path / "own.png").write_bytes(good)
    (tmp_path / "secret.png").write_bytes(good)
    (path / "link.png").symlink_to(tmp_path / "secret.png")
    outside = str(tmp_path / "secret.png")
    cases = [
        ({"bytes": good, "path": "/home/who/frame.png"}, None),
        ({"bytes": None, "path": "own.png"}, None),
        ({"bytes": None, "path": outside}, r"secret\.png lies outside of the data set"),
        ({"bytes": None, "path": "../secret.png"}, r"secret\.png lies outside of the data set"),
        ({"bytes": None, "path": "link.png"}, r"link\.png lies outside of the data set"),
        ({"bytes": None, "path": "absent.png"}, r"absent\.png is missing"),
        ({"bytes": None, "path": "meta"}, "meta is a folder"),
        ({"bytes": None, "path": None}, "is None, not the path of a file"),
        ({"bytes": b"%!PS", "path": None}, "is no PNG or JPEG picture"),
        (None, "is None, not an object"),
    ]
    file = path / "data/chunk-000/episode_000000.parquet"
    table = pq.read_table(file)
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    for image, message in cases:
        column = pa.array([image] * len(table), kind)
        pq.write_table(table.append_column(camera, column), file)
        frames = _open(path).episodes[0].read().frames
        if message is None:
            assert (next(frames()) == 7).all()
            continue
        with pytest.raises(UserError, match=message):
            next(frames())
    pq.write_table(table.append_column(camera, pa.array(["own.png"] * len(table))), file)
    with pytest.raises(UserError, match=r"in row 0 is 'own\.png', not an object"):
        next(_open(path).episodes[0].read().frames())


def test_bimanual_recordings(shared_data: Path):
    source = _open(shared_data / "bimanual_lerobot")
    assert len(source.episodes) == 12
    problems = check_source(source, Requirements())
    assert [problem.fatal for problem in problems] == [False, False]
    assert "12 of 34 columns are constant" in problems[0].message
    frames = source.episodes[3].read().frames()
    assert next(frames).shape == (480, 640, 3)
