import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from jepawm.data.checking import Requirements
from jepawm.data.formats import open_source
from jepawm.data.importing import check_source
from jepawm.data.recording import ReadOptions, Source
from jepawm.errors import UserError


def write(file: Path, *, demos: int = 2, env_args: object = None) -> Path:
    """Write demos of five frames as robomimic does."""
    with h5py.File(file, "w") as content:
        data = content.create_group("data")
        if env_args is not None:
            is_text = isinstance(env_args, str)
            data.attrs["env_args"] = env_args if is_text else json.dumps(env_args)
        for index in range(demos):
            demo = data.create_group(f"demo_{index}")
            demo["actions"] = np.arange(10.0).reshape(5, 2)
            demo["obs/front_image"] = np.zeros((5, 8, 8, 3), np.uint8)
            demo["obs/robot0_eef_pos"] = np.ones((5, 3))
    return file


def source(path: Path) -> Source:
    return open_source(path, name="robomimic", options=ReadOptions())


@pytest.mark.parametrize(
    ("env_args", "message"),
    [
        ("null", "env_args is None, not an object"),
        ("robot", "env_args is truncated or altered"),
        ("[" * 3000, "env_args is truncated or altered"),
        ({"env_kwargs": None}, "env_kwargs is None, not an object"),
        (
            {"env_kwargs": {"control_freq": "twenty"}},
            "control_freq is 'twenty', not a finite number",
        ),
        (
            {"env_kwargs": {"control_freq": -20}},
            "control_freq is -20.0; write the frames per second",
        ),
        ({"env_kwargs": {"control_freq": 0}}, "control_freq is 0.0; write the frames per second"),
        ({"env_kwargs": {"control_freq": 1e300}}, r"control_freq is 1e\+300; write the frames"),
        ({"env_kwargs": {"control_freq": True}}, "control_freq is True, not a finite number"),
        ({"env_name": ["Lift"]}, "env_name is \\['Lift'\\], not a text"),
    ],
)
def test_env_args_that_say_something_else(tmp_path: Path, env_args: object, message: str):
    file = write(tmp_path / "image.hdf5", env_args=env_args)
    with pytest.raises(UserError, match=rf"image\.hdf5: .*{message}"):
        source(file)


def test_env_args_may_be_absent_or_short(tmp_path: Path):
    assert source(write(tmp_path / "image.hdf5")).environment == "image"
    for given, fps in (({}, None), ({"env_kwargs": {"control_freq": 20}}, 20.0)):
        opened = source(write(tmp_path / "image.hdf5", env_args={"env_name": "Lift", **given}))
        assert (opened.environment, opened.fps) == ("Lift", fps)


def test_a_bad_first_demo_leaves_the_others(tmp_path: Path):
    file = write(tmp_path / "image.hdf5", demos=3)
    with h5py.File(file, "a") as content:
        del content["data/demo_0/obs"]
        content["data/demo_0/obs"] = h5py.SoftLink("/data/demo_0/obs")
        content["data/demo_2"].attrs["ep_meta"] = "[]"
    problems = check_source(source(file), Requirements())
    assert [problem.episode for problem in problems if problem.fatal] == ["demo_0", "demo_2"]
    assert "is a link to /data/demo_0/obs" in problems[0].message
    assert "ep_meta is [], not an object" in problems[1].message


def test_a_damaged_file_leaves_the_others(tmp_path: Path):
    for name in ("a", "b", "c"):
        write(tmp_path / f"{name}.hdf5", demos=1)
    (tmp_path / "a.hdf5").write_bytes(b"no such thing")
    opened = source(tmp_path)
    assert [episode.name for episode in opened.episodes] == [
        "all demos of a.hdf5",
        "demo_0 of b.hdf5",
        "demo_0 of c.hdf5",
    ]
    problems = [one for one in check_source(opened, Requirements()) if one.fatal]
    assert [problem.episode for problem in problems] == ["all demos of a.hdf5"]
    assert "a.hdf5 is damaged or no HDF5 file" in problems[0].message
    assert open_source(tmp_path, name=None, options=ReadOptions()).format == "robomimic"
    (tmp_path / "b.hdf5").unlink()
    (tmp_path / "c.hdf5").unlink()
    with pytest.raises(UserError, match=r"a\.hdf5 is damaged or no HDF5 file"):
        source(tmp_path)


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(lambda text: text.encode(), id="bytes"),
        pytest.param(np.bytes_, id="fixed bytes"),
        pytest.param(lambda text: np.void(text.encode()), id="opaque"),
        pytest.param(lambda text: np.array([text.encode()]), id="list of one"),
        pytest.param(
            lambda text: np.array([text], dtype=h5py.string_dtype()), id="list of one text"
        ),
    ],
)
def test_env_args_are_read_however_they_are_kept(tmp_path: Path, kept: Callable[[str], object]):
    file = write(tmp_path / "image.hdf5")
    with h5py.File(file, "a") as content:
        text = json.dumps({"env_name": "Lift", "env_kwargs": {"control_freq": 20}})
        content["data"].attrs["env_args"] = kept(text)
    opened = open_source(tmp_path, name=None, options=ReadOptions())
    assert (opened.format, opened.environment, opened.fps) == ("robomimic", "Lift", 20.0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"robot", "env_args is truncated or altered"),
        (b"\xff\xfe{}", "env_args of /data is no text"),
        (np.arange(3), "env_args of /data is no single text"),
        (3.5, "env_args of /data is float64, not a text"),
    ],
)
def test_env_args_that_are_no_json_are_one_message(tmp_path: Path, value: object, message: str):
    file = write(tmp_path / "image.hdf5")
    with h5py.File(file, "a") as content:
        content["data"].attrs["env_args"] = value
    with pytest.raises(UserError, match=message):
        source(file)


def write_libero(file: Path, words: object, **columns: np.ndarray) -> Path:
    """Write one demo of five frames as LIBERO does."""
    with h5py.File(file, "w") as content:
        data = content.create_group("data")
        data.attrs["problem_info"] = json.dumps({"language_instruction": words})
        demo = data.create_group("demo_0")
        demo["actions"] = np.arange(10.0).reshape(5, 2)
        demo["obs/agentview_rgb"] = np.zeros((5, 8, 8, 3), np.uint8)
        for name, rows in columns.items():
            demo[f"obs/{name}"] = rows
    return file


def test_libero_has_its_own_proprioception_and_an_instruction(tmp_path: Path):
    hand, gripper, joints = np.full((5, 6), 1.0), np.full((5, 2), 2.0), np.full((5, 7), 3.0)
    both = np.concatenate([hand, gripper], axis=1)
    pieces = {"ee_pos": hand[:, :3], "ee_ori": hand[:, 3:]}
    for columns, expected in (
        ({"ee_states": hand, "gripper_states": gripper, "joint_states": joints, **pieces}, both),
        ({"gripper_states": gripper, "joint_states": joints, **pieces}, both),
        ({"joint_states": joints, "gripper_states": gripper}, joints),
    ):
        file = write_libero(tmp_path / "open_drawer_demo.hdf5", "open the drawer", **columns)
        recording = source(file).episodes[0].read()
        assert recording.task == "open the drawer"
        np.testing.assert_array_equal(recording.proprio, expected)
    file = write_libero(tmp_path / "open_drawer_demo.hdf5", list('"lift"'), ee_pos=hand)
    assert source(file).episodes[0].read().task == "lift"


def test_the_poses_of_both_arms_are_taken(tmp_path: Path):
    with h5py.File(write(tmp_path / "image.hdf5", demos=1), "a") as content:
        obs = content["data/demo_0/obs"]
        for value, name in enumerate(("gripper_qpos", "eef_quat", "eef_pos")):
            obs[f"robot1_{name}"] = np.full((5, 1), 10.0 + value)
    recording = source(tmp_path / "image.hdf5").episodes[0].read()
    assert recording.proprio is not None
    assert recording.proprio[0].tolist() == [1, 1, 1, 12, 11, 10]


def test_columns_that_could_be_proprioception_are_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    columns = {"arm": np.zeros((5, 6)), "gripper": np.zeros(5), "features": np.zeros((5, 512))}
    file = write_libero(tmp_path / "own.hdf5", "lift", **columns)
    assert source(file).episodes[0].read().proprio is None
    assert "no proprioception; --proprio-key takes some of: arm,gripper" in caplog.text
    caplog.clear()
    open_source(file, name="robomimic", options=ReadOptions(proprio_key="arm"))
    open_source(file, name="robomimic", options=ReadOptions(proprio_key="none"))
    assert not caplog.text
