import json
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
