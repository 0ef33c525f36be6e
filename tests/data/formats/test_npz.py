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
    assert f"{bad} is truncated or damaged" in problems[0].to_text()
    assert f"episode {int(bad == 'b.npz')}" in problems[0].to_text()


def test_all_files_truncated(tmp_path: Path):
    for name in ("a.npz", "b.npz"):
        (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(UserError, match=r"a\.npz is truncated or damaged"):
        open_source(tmp_path, name=None, options=ReadOptions())


def test_another_frame_rate(tmp_path: Path, make_frames, make_numbers):
    arrays = {"frames": make_frames(0, 4), "actions": make_numbers(0, 3, 2)}
    for name, fps in (("a", 30.0), ("b", 15.0), ("c", 30.0)):
        np.savez(tmp_path / f"{name}.npz", **arrays, fps=np.array(fps))
    problems = check_source(open_source(tmp_path, name=None, options=ReadOptions()), Requirements())
    assert [problem.episode for problem in problems] == ["episode 1"]
    assert "15 frames per second, others have 30; import episodes" in problems[0].message


def test_franka_clip(shared_data: Path):
    file = shared_data / "franka_clip.npz"
    source = open_source(file, name=None, options=ReadOptions())
    recording = source.episodes[0].read()
    assert (recording.num_frames, recording.actions.shape) == (4, (3, 7))
    problems = check_source(source, Requirements())
    assert [problem.fatal for problem in problems] == [False]
    assert "1 of 7 columns are constant" in problems[0].message  # the gripper
