import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from jepawm.data.formats import open_source, recognise
from jepawm.data.recording import ReadOptions
from jepawm.errors import UserError


def write(file: Path, *, pictures: bool = True) -> Path:
    with h5py.File(file, "w") as content:
        for index in (0, 2, 10):
            episode = content.create_group(f"traj_{index}")
            episode["actions"] = np.full((3, 2), float(index))
            episode["obs/agent/qpos"] = np.ones((4, 3))
            episode["obs/extra/tcp_pose"] = np.full((4, 1), 2.0)
            if pictures:
                for camera in ("base_camera", "hand_camera"):
                    episode[f"obs/sensor_data/{camera}/rgb"] = np.zeros((4, 8, 8, 3), np.uint8)
                    episode[f"obs/sensor_data/{camera}/depth"] = np.zeros((4, 8, 8, 1), np.int16)
    return file


def test_names_of_files_as_they_are_downloaded(tmp_path: Path):
    file = write(tmp_path / "trajectory.rgb.pd_ee_delta_pose.physx_cpu.h5")
    content = {"env_info": {"env_id": "PickCube-v1"}}
    file.with_suffix(".json").write_text(json.dumps(content))
    for path in (tmp_path, file):
        options = ReadOptions(camera="hand_camera", proprio_key="agent/qpos,extra/tcp_pose")
        opened = open_source(path, name=None, options=options)
        assert (opened.format, opened.environment) == ("maniskill", "PickCube-v1")
        assert opened.cameras == ["base_camera", "hand_camera"]
        recordings = [episode.read() for episode in opened.episodes]
        assert [one.actions[0, 0] for one in recordings] == [0, 2, 10]
        assert recordings[0].proprio is not None
        assert recordings[0].proprio[0].tolist() == [1, 1, 1, 2]


def test_trajectories_without_pictures_say_how_to_add_them(tmp_path: Path):
    write(tmp_path / "trajectory.h5", pictures=False)
    assert recognise(tmp_path) == "maniskill"
    with pytest.raises(UserError, match=r"replay_trajectory --traj-path trajectory\.h5 -o rgb"):
        open_source(tmp_path, name=None, options=ReadOptions())


def test_droid_does_not_take_tables_of_others(tmp_path: Path):
    with h5py.File(tmp_path / "trajectory.h5", "w") as content:
        content["positions"] = np.zeros((4, 2))
    with pytest.raises(UserError, match="is of no known format"):
        recognise(tmp_path)
    with h5py.File(tmp_path / "trajectory.h5", "a") as content:
        content["observation/robot_state/gripper_position"] = np.zeros(4)
    assert recognise(tmp_path) == "droid"
