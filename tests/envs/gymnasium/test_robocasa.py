"""RoboCasa: what can be tested without it, reading demonstrations and messages."""

import json

import numpy as np
import pytest

from jepawm.envs import ENVIRONMENTS
from jepawm.envs.gymnasium.robocasa import read_demonstrations
from jepawm.errors import UserError

h5py = pytest.importorskip("h5py", reason="needs the extra 'data'")


@pytest.fixture
def demos(tmp_path):
    """Write two demonstrations, of which only the first reaches."""
    path = tmp_path / "demos.hdf5"
    with h5py.File(path, "w") as file:
        for number, segments in enumerate(([0, 0, 1], [1, 2, 2])):
            demo = file.create_group(f"data/demo_{number}")
            demo.attrs["model_file"] = "<mujoco/>"
            demo.attrs["ep_meta"] = json.dumps({"layout_id": number})
            demo["states"] = np.full((3, 5), number, dtype=float)
            demo["meta_data_info/current_task_segment"] = segments
            demo["meta_data_info/current_obj_pos"] = np.arange(9.0).reshape(3, 3)
    return path


def test_demonstrations_with_the_sub_task_are_read(demos):
    (only,) = read_demonstrations(demos, subtask="reach")
    assert only.meta == {"layout_id": 0}
    assert only.states.shape == (3, 5)
    assert only.object_end.tolist() == [6.0, 7.0, 8.0]
    assert len(read_demonstrations(demos, subtask="pick")) == 2


def test_wrong_files_and_names_are_told(demos, tmp_path):
    with pytest.raises(UserError, match="is missing; give the path"):
        read_demonstrations(tmp_path / "missing.hdf5", subtask="reach")
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["data/demo_0/actions"] = np.zeros(3)
    with pytest.raises(UserError, match="with data/\\*/states, meta_data_info"):
        read_demonstrations(tmp_path / "other.hdf5", subtask="reach")
    with pytest.raises(UserError, match=r"robocasa:reach names no file"):
        ENVIRONMENTS.get("robocasa:reach")
    with pytest.raises(UserError, match=r"unknown sub-task 'fly'"):
        ENVIRONMENTS.get(f"robocasa:fly@{demos}")(image_size=64)
