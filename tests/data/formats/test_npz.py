import os
import re
from pathlib import Path

import numpy as np
import pytest

from jepawm.data.checking import Requirements
from jepawm.data.formats import open_source
from jepawm.data.importing import check_source
from jepawm.data.recording import ReadOptions
from jepawm.errors import UserError


def test_other_names_are_chosen(tmp_path: Path, make_frames, make_numbers):
    np.savez(
        tmp_path / "a.npz",
        left=make_frames(0, 4),
        right=make_frames(1, 4),
        act=make_numbers(0, 3, 2)[None],
        joints=make_numbers(0, 4, 5),
    )
    with pytest.raises(UserError, match=r"several cameras.*left, right"):
        open_source(tmp_path, name=None, options=ReadOptions())
    source = open_source(tmp_path, name=None, options=ReadOptions(camera="right"))
    with pytest.raises(UserError, match=r"no array 'actions'; by --action-key choose.*act"):
        source.episodes[0].read()
    options = ReadOptions(camera="right", action_key="act", proprio_key="joints")
    recording = open_source(tmp_path, name="npz", options=options).episodes[0].read()
    assert np.array_equal(recording.actions, make_numbers(0, 3, 2))
    assert recording.proprio is not None
    assert recording.proprio.shape == (4, 5)
    assert np.array_equal(np.stack(list(recording.frames())), make_frames(1, 4))


@pytest.mark.parametrize("bad", ["a.npz", "b.npz"])
def test_a_truncated_file_is_named(tmp_path: Path, make_frames, make_numbers, bad: str):
    for name in ("a.npz", "b.npz"):
        np.savez(tmp_path / name, frames=make_frames(0, 4), actions=make_numbers(0, 3, 2))
    file = tmp_path / bad
    file.write_bytes(file.read_bytes()[:500])
    problems = check_source(open_source(tmp_path, name=None, options=ReadOptions()), Requirements())
    assert len(problems) == 1
    assert f"{bad} is damaged or no npz file" in problems[0].to_text()
    assert f"episode {int(bad == 'b.npz')}" in problems[0].to_text()


def test_all_files_truncated(tmp_path: Path):
    for name in ("a.npz", "b.npz"):
        (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(UserError, match=r"a\.npz is damaged or no npz file"):
        open_source(tmp_path, name=None, options=ReadOptions())


def test_another_frame_rate(tmp_path: Path, make_frames, make_numbers):
    arrays = {"frames": make_frames(0, 4), "actions": make_numbers(0, 3, 2)}
    for name, fps in (("a", 30.0), ("b", 15.0), ("c", 30.0)):
        np.savez(tmp_path / f"{name}.npz", **arrays, fps=np.array(fps))
    problems = check_source(open_source(tmp_path, name=None, options=ReadOptions()), Requirements())
    assert [problem.episode for problem in problems] == ["episode 1"]
    assert "15 frames per second, others have 30; import episodes" in problems[0].message


GOOD = {
    "frames": np.full((4, 8, 8, 3), 9, np.uint8),
    "actions": np.arange(8.0).reshape(4, 2),
    "proprio": np.arange(12.0).reshape(4, 3),
}
BAD: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "1e39": ({"actions": GOOD["actions"] + 1e39}, "actions is beyond 1e"),
    "-1e300": ({"proprio": GOOD["proprio"] - 1e300}, "proprio is beyond 1e"),
    "nan": ({"actions": GOOD["actions"] * np.nan}, "actions is NaN or infinite"),
    "complex": ({"actions": GOOD["actions"] + 1j}, "complex128"),
    "no actions": ({"actions": GOOD["actions"][:, :0]}, "actions has no columns"),
    "no proprio": ({"proprio": GOOD["proprio"][:, :0]}, "proprio has no columns"),
    "texts": ({"actions": GOOD["actions"].astype(str)}, "expected rows of real numbers"),
    "truth": ({"actions": GOOD["actions"] > 1}, "expected rows of real numbers"),
    "one number": ({"actions": np.array(3.0)}, "expected rows of real numbers"),
    "four": ({"actions": np.zeros((1, 1, 4, 2))}, "expected rows of real numbers"),
    "short": ({"actions": GOOD["actions"][:2]}, "2 actions for 4 frames"),
    "empty": ({"frames": np.zeros((4, 0, 0, 3), np.uint8)}, r"a frame is uint8 \(0, 0, 3\)"),
    "wide": ({"frames": np.zeros((4, 1, 2**16, 3), np.uint8)}, "too many"),
    "grey": ({"frames": np.zeros((4, 8, 8, 1), np.uint8)}, r"frames are uint8 \(L, height"),
    "no frames": ({"frames": np.zeros((0, 8, 8, 3), np.uint8)}, "fewer than the 2"),
    "floats": ({"frames": np.zeros((4, 8, 8, 3))}, r"frames are uint8 \(L, height"),
    "fps 0": ({"fps": np.array(0)}, "fps is 0, not a number above 0"),
    "fps -3": ({"fps": np.array(-3.0)}, "fps is -3.0, not a number above 0"),
    "fps nan": ({"fps": np.array(np.nan)}, "fps is nan, not a number above 0"),
    "fps inf": ({"fps": np.array(np.inf)}, "fps is inf, not a number above 0"),
    "fps text": ({"fps": np.array("fast")}, "fps is 'fast', not a number above 0"),
    "fps list": ({"fps": np.array([10, 10])}, r"fps is \[10, 10\], not a number above 0"),
    "fps none": ({"fps": np.zeros(0)}, r"fps is \[\], not a number above 0"),
    "task": ({"task": np.array("\ud800")}, "is no text"),
    "objects": ({"task": np.array({})}, "holds Python objects"),
}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", BAD)
def test_bad_arrays_are_a_problem_of_their_episode(tmp_path: Path, name: str, first: bool):
    changes, message = BAD[name]
    bad = "a.npz" if first else "b.npz"
    for file in ("a.npz", "b.npz", "c.npz"):
        np.savez(tmp_path / file, **(GOOD | changes if file == bad else GOOD))
    source = open_source(tmp_path, name="npz", options=ReadOptions())
    problems = [one for one in check_source(source, Requirements()) if one.fatal]
    assert {one.episode for one in problems} == {f"episode {int(not first)}"}
    assert any(re.search(message, one.message) for one in problems)


def test_a_rate_may_be_an_array_of_one_number(tmp_path: Path):
    np.savez(tmp_path / "a.npz", **GOOD, fps=np.array([25]))
    source = open_source(tmp_path, name=None, options=ReadOptions())
    assert source.fps == source.episodes[0].read().fps == 25.0


@pytest.mark.parametrize("rate", [1e39, 1e-30])
def test_an_impossible_rate_is_that_of_its_episode(tmp_path: Path, rate: float):
    for name, fps in (("a", rate), ("b", 10.0), ("c", 10.0)):
        np.savez(tmp_path / f"{name}.npz", **GOOD, fps=np.array(fps))
    source = open_source(tmp_path, name=None, options=ReadOptions())
    assert source.fps == 10.0
    problems = [one for one in check_source(source, Requirements()) if one.fatal]
    assert [one.episode for one in problems] == ["episode 0"]
    assert "frames per second is no rate" in problems[0].message


def test_what_has_no_frames_does_not_speak_for_the_others(tmp_path: Path):
    np.savez(tmp_path / "a.npz", labels=np.zeros(3))
    np.savez(tmp_path / "b.npz", **GOOD)
    source = open_source(tmp_path, name=None, options=ReadOptions())
    problems = [one for one in check_source(source, Requirements()) if one.fatal]
    assert [one.episode for one in problems] == ["episode 0"]


def test_proprioception_of_several_lengths(tmp_path: Path):
    np.savez(tmp_path / "a.npz", **GOOD, more=np.zeros((3, 1)))
    options = ReadOptions(proprio_key="proprio,more")
    with pytest.raises(UserError, match=r"have \[4, 3\] rows"):
        open_source(tmp_path, name=None, options=options).episodes[0].read()


def test_franka_clip(shared_data: Path):
    file = shared_data / "franka_clip.npz"
    source = open_source(file, name=None, options=ReadOptions())
    recording = source.episodes[0].read()
    assert (recording.num_frames, recording.actions.shape) == (4, (3, 7))
    problems = check_source(source, Requirements())
    assert [problem.fatal for problem in problems] == [False]
    assert "1 of 7 columns are constant" in problems[0].message  # the gripper


def test_what_is_no_file_is_never_hashed(tmp_path: Path):
    np.savez(tmp_path / "a.npz", **GOOD)
    os.mkfifo(tmp_path / "b.npz")
    (tmp_path / "c.npz").symlink_to("nothing")
    source = open_source(tmp_path, name="npz", options=ReadOptions())
    assert [file.name for file in source.files] == ["a.npz"]
    assert len(source.episodes) == 3


@pytest.mark.parametrize(
    ("frames", "kind"),
    [
        (GOOD["frames"].astype(np.float32) / 255, "float32"),
        (GOOD["frames"].astype(np.float16), "float16"),
        (GOOD["frames"].astype(np.uint16) * 257, "uint16"),
        (GOOD["frames"][..., :1].astype(float), "float64"),
    ],
)
def test_frames_that_are_no_bytes_say_what_they_are(tmp_path: Path, frames: np.ndarray, kind: str):
    np.savez(tmp_path / "a.npz", **(GOOD | {"frames": frames}))
    with pytest.raises(UserError, match=rf"frames is {kind} \[4, 8, 8.*multiplied by 255"):
        open_source(tmp_path, name=None, options=ReadOptions())


def test_files_come_by_their_numbers(tmp_path: Path):
    for number in (1, 2, 10):
        np.savez(tmp_path / f"episode_{number}.npz", **GOOD)
    (tmp_path / "._episode_1.npz").write_bytes(b"\x00")
    source = open_source(tmp_path, name=None, options=ReadOptions())
    assert [one.file.name for one in source.episodes] == [
        "episode_1.npz",
        "episode_2.npz",
        "episode_10.npz",
    ]


def test_a_row_of_numbers_is_a_column_and_several_are_joined(tmp_path: Path):
    arrays = {
        "frames": GOOD["frames"],
        "x": np.arange(4.0),
        "y": -np.arange(4.0),
        "state": GOOD["proprio"],
    }
    np.savez(tmp_path / "a.npz", **arrays)
    options = ReadOptions(action_key="x,y", proprio_key="y,state")
    source = open_source(tmp_path, name=None, options=options)
    read = source.episodes[0].read()
    assert read.actions.tolist() == [[step, -step] for step in range(4)]
    assert read.proprio is not None
    assert read.proprio.shape == (4, 4)
    (note,) = open_source(tmp_path, name=None, options=ReadOptions(action_key="x")).notes
    assert "--proprio-key state makes it proprioception" in note


@pytest.mark.parametrize(("start", "unit"), [(0.0, 1), (1.7e9, 1), (12.3, 1e9)])
def test_times_agree_with_the_rate(tmp_path: Path, start: float, unit: float):
    times = (start + np.arange(4) / 10) * unit
    np.savez(tmp_path / "a.npz", **GOOD, fps=np.array(10.0), timestamps=times)
    source = open_source(tmp_path, name=None, options=ReadOptions())
    assert source.episodes[0].read().fps == 10
    np.savez(tmp_path / "a.npz", **GOOD, fps=np.array(30.0), timestamps=times)
    with pytest.raises(UserError, match=r"says 30 frames per second, the timestamps"):
        open_source(tmp_path, name=None, options=ReadOptions()).episodes[0].read()
