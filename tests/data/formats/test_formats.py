"""What holds for every format: read as written, nothing wrong with it, recognised alone."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jepawm.data.checking import Requirements
from jepawm.data.formats import FORMATS, get_format, open_source, recognise
from jepawm.data.importing import check_source
from jepawm.data.poses import pose_differences
from jepawm.data.recording import ReadOptions, Recording
from jepawm.errors import UserError

LENGTHS = (5, 7)


@dataclass(frozen=True, kw_only=True)
class Written:
    """A data set on the disk and what it must read as, for each episode."""

    path: Path
    actions: list[np.ndarray]
    proprio: list[np.ndarray | None]
    exact_frames: bool = True


Make = Callable[..., np.ndarray]


def pad(rows: list[np.ndarray]) -> torch.Tensor:
    width = max(LENGTHS) + 2
    return torch.from_numpy(
        np.stack([np.pad(one, [(0, width - len(one)), *[(0, 0)] * (one.ndim - 1)]) for one in rows])
    )


def write_pusht(root: Path, frames: Make, numbers: Make, mp4: Callable[..., Path]) -> Written:
    states = [numbers(e, n, 5) for e, n in enumerate(LENGTHS)]
    velocities = [numbers(e, n, 2) for e, n in enumerate(LENGTHS)]
    actions = [numbers(e, n, 3)[:, :2] for e, n in enumerate(LENGTHS)]
    for name, rows in (("states", states), ("velocities", velocities), ("rel_actions", actions)):
        torch.save(pad(rows), root / f"{name}.pth")
    # a pickled list of int, as `pickle.dump([5, 7], file)` writes it
    (root / "seq_lengths.pkl").write_bytes(b"\x80\x04]\x94(K\x05K\x07e.")
    for e, n in enumerate(LENGTHS):
        mp4(root / "obses" / f"episode_{e:03d}.mp4", frames(e, n))
    proprio = [np.concatenate([s[:, :2], v], 1) for s, v in zip(states, velocities, strict=True)]
    scaled = [rows / 100 for rows in actions]
    return Written(path=root, actions=scaled, proprio=[*proprio], exact_frames=False)


def write_tensors(root: Path, frames: Make, numbers: Make, *, wall: bool) -> Written:
    lengths = (max(LENGTHS),) * 2 if wall else LENGTHS
    states = [numbers(e, n, 2 if wall else 4) for e, n in enumerate(lengths)]
    actions = [numbers(e, n, 2) for e, n in enumerate(lengths)]
    (root / "obses").mkdir()
    if wall:
        torch.save(torch.from_numpy(np.stack(states)), root / "states.pth")
        torch.save(torch.from_numpy(np.stack(actions)), root / "actions.pth")
        for name in ("door_locations", "wall_locations"):
            torch.save(torch.zeros(2, lengths[0], 2), root / f"{name}.pth")
    else:
        torch.save(pad(states), root / "states.pth")
        torch.save(pad(actions), root / "actions.pth")
        torch.save(torch.tensor(lengths), root / "seq_lengths.pth")
    for e, n in enumerate(lengths):
        tensor = torch.from_numpy(frames(e, n))
        tensor = tensor.permute(0, 3, 1, 2).float() if wall else tensor
        torch.save(tensor.contiguous(), root / "obses" / f"episode_{e:03d}.pth")
    return Written(path=root, actions=actions, proprio=[*states])


def write_pointmaze(root: Path, frames: Make, numbers: Make, mp4: object) -> Written:
    return write_tensors(root, frames, numbers, wall=False)


def write_wall(root: Path, frames: Make, numbers: Make, mp4: object) -> Written:
    return write_tensors(root, frames, numbers, wall=True)


def write_metaworld(root: Path, frames: Make, numbers: Make, mp4: Callable[..., Path]) -> Written:
    states = [numbers(e, n, 39).astype(np.float64) for e, n in enumerate(LENGTHS)]
    actions = [numbers(e, n - 1, 4) for e, n in enumerate(LENGTHS)]
    videos = [
        mp4(root.parent / f"{e}.mp4", frames(e, n)).read_bytes() for e, n in enumerate(LENGTHS)
    ]
    table = pa.table(
        {
            "task": ["mw-reach"] * 2,
            "video": [{"bytes": video, "path": None} for video in videos],
            "states": [rows.tolist() for rows in states],
            "actions": [rows.tolist() for rows in actions],
            "rewards": [[0.0] * len(rows) for rows in actions],
        }
    )
    pq.write_table(table, root / "train-00000.parquet", row_group_size=1)
    proprio = [rows[:, :4] for rows in states]
    return Written(path=root, actions=actions, proprio=[*proprio], exact_frames=False)


def write_demos(root: Path, frames: Make, numbers: Make, *, robocasa: bool) -> Written:
    camera = "robot0_agentview_right_image" if robocasa else "agentview_image"
    environment = "robocasa/PnPCounterTop" if robocasa else "Lift"
    actions = [numbers(e, n, 12) for e, n in enumerate(LENGTHS)]
    proprio = []
    with h5py.File(root / ("demo_im256.hdf5" if robocasa else "image.hdf5"), "w") as file:
        data = file.create_group("data")
        arguments = {"env_name": environment, "env_kwargs": {"control_freq": 20}}
        data.attrs["env_args"] = json.dumps(arguments)
        for e, n in enumerate(LENGTHS):
            demo = data.create_group(f"demo_{e + 9}")  # demo_10 sorts after demo_9
            demo["actions"], demo["states"] = actions[e], numbers(e, n, 6)
            position, gripper = numbers(e, n, 3), numbers(e, n, 2)
            quaternion = np.tile([1.0, 0, 0, 0], (n, 1))
            pixels = frames(e, n)
            obs = demo.create_group("obs")
            obs["robot0_eef_pos"], obs["robot0_eef_quat"] = position, quaternion
            obs["robot0_gripper_qpos"] = gripper
            obs[camera] = pixels[:, ::-1, ::-1] if robocasa else pixels
            parts = [position, quaternion, gripper]
            if robocasa:
                parts = [position, np.zeros((n, 3)), gripper[:, :1] - gripper[:, 1:]]
            proprio.append(np.concatenate(parts, axis=1))
    kept = [rows[:, :7] for rows in actions] if robocasa else actions
    return Written(path=root, actions=kept, proprio=proprio)


def write_robomimic(root: Path, frames: Make, numbers: Make, mp4: object) -> Written:
    return write_demos(root, frames, numbers, robocasa=False)


def write_robocasa(root: Path, frames: Make, numbers: Make, mp4: object) -> Written:
    return write_demos(root, frames, numbers, robocasa=True)


def write_minari(root: Path, frames: Make, numbers: Make, mp4: object) -> Written:
    (root / "data").mkdir()
    metadata = {"dataset_id": "toy/push-v0", "total_episodes": 2, "data_format": "hdf5"}
    (root / "data" / "metadata.json").write_text(json.dumps(metadata))
    with h5py.File(root / "data" / "main_data.hdf5", "w") as file:
        for e, n in enumerate(LENGTHS):
            episode = file.create_group(f"episode_{e}")
            episode["actions"] = numbers(e, n - 1, 2)
            episode["observations/pixels"] = frames(e, n)
            episode["observations/joints"] = numbers(e, n, 3)
            episode["observations/desired_goal"] = numbers(e, n, 2)
    return Written(
        path=root,
        actions=[numbers(e, n - 1, 2) for e, n in enumerate(LENGTHS)],
        proprio=[numbers(e, n, 3) for e, n in enumerate(LENGTHS)],
    )


def write_droid(root: Path, frames: Make, numbers: Make, mp4: Callable[..., Path]) -> Written:
    poses = [numbers(e, n, 7).astype(np.float64) for e, n in enumerate(LENGTHS)]
    for e, n in enumerate(LENGTHS):
        folder = root / "success" / f"2023-07-0{e + 1}"
        mp4(folder / "recordings" / "MP4" / "24400334.mp4", frames(e, n))
        path = "success/old/place/recordings/MP4/24400334.mp4"
        metadata = {"left_mp4_path": path, "current_task": "close the drawer"}
        (folder / "metadata_1.json").write_text(json.dumps(metadata))
        with h5py.File(folder / "trajectory.h5", "w") as file:
            file["observation/robot_state/cartesian_position"] = poses[e][:, :6]
            file["observation/robot_state/gripper_position"] = poses[e][:, 6]
    actions = [pose_differences(rows) for rows in poses]
    return Written(path=root, actions=actions, proprio=[*poses], exact_frames=False)


def write_franka(root: Path, frames: Make, numbers: Make, mp4: object) -> Written:
    poses = [numbers(e, n, 7).astype(np.float64) for e, n in enumerate(LENGTHS)]
    for e, n in enumerate(LENGTHS):
        folder = root / "pick" / f"cup_v{e}"
        folder.mkdir(parents=True)
        with h5py.File(folder / "episode.h5", "w") as file:
            obs = file.create_group("episode_data/observation")
            obs["cartesian_position"], obs["gripper_position"] = poses[e][:, :6], poses[e][:, 6]
            obs["exterior_image_2_left"] = frames(e, n)
    actions = [pose_differences(rows) for rows in poses]
    return Written(path=root, actions=actions, proprio=[*poses])


def write_npz(root: Path, frames: Make, numbers: Make, mp4: object) -> Written:
    for e, n in enumerate(LENGTHS):
        np.savez(root / f"episode_{e}.npz", frames=frames(e, n), actions=numbers(e, n, 2))
    actions = [numbers(e, n, 2) for e, n in enumerate(LENGTHS)]
    return Written(path=root, actions=actions, proprio=[None, None])


def write_folder(root: Path, frames: Make, numbers: Make, mp4: Callable[..., Path]) -> Written:
    rows = []
    for e, n in enumerate(LENGTHS):
        mp4(root / f"{e}.mp4", frames(e, n))
        for action, joint in zip(numbers(e, n, 2), numbers(e, n, 3), strict=True):
            rows.append([str(e), *map(str, action), str(joint[0]), "lift"])
    header = "episode,action_x,action_y,proprio_joint,task\n"
    (root / "actions.csv").write_text(header + "".join(",".join(row) + "\n" for row in rows))
    return Written(
        path=root,
        actions=[numbers(e, n, 2) for e, n in enumerate(LENGTHS)],
        proprio=[numbers(e, n, 3)[:, :1] for e, n in enumerate(LENGTHS)],
        exact_frames=False,
    )


WRITERS = {
    name.removeprefix("write_"): function
    for name, function in list(globals().items())
    if name.startswith("write_") and name not in ("write_tensors", "write_demos")
}


@pytest.fixture(params=sorted(WRITERS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def written(name: str, tmp_path: Path, make_frames, make_numbers, make_mp4) -> Written:
    root = tmp_path / name
    root.mkdir()
    return WRITERS[name](root, make_frames, make_numbers, make_mp4)


def read(written: Written, episode: int) -> Recording:
    return open_source(written.path, name=None, options=ReadOptions()).episodes[episode].read()


def test_every_format_is_tested_here_or_beside(name: str):
    assert set(FORMATS.names()) == {*WRITERS, "lerobot"}
    assert get_format(name).summary


def test_recognised_as_itself_alone(written: Written, name: str):
    assert recognise(written.path) == name


def test_reads_as_written(written: Written, name: str, make_frames):
    for episode, actions in enumerate(written.actions):
        recording = read(written, episode)
        assert recording.actions == pytest.approx(actions)
        proprio = written.proprio[episode]
        assert (recording.proprio is None) == (proprio is None)
        if proprio is not None:
            assert recording.proprio == pytest.approx(proprio)
        frames = np.stack(list(recording.frames()))
        truth = make_frames(episode, recording.num_frames)
        assert len(frames) == recording.count_frames() == recording.num_frames
        assert recording.num_frames - len(recording.actions) in (0, 1)
        error = np.abs(frames.astype(int) - truth)
        assert error.max() == 0 if written.exact_frames else error.mean() < 2


def test_nothing_is_wrong(written: Written):
    source = open_source(written.path, name=None, options=ReadOptions())
    problems = check_source(source, Requirements())
    assert [problem.to_text() for problem in problems if problem.fatal] == []
    assert len(source.episodes) == len(LENGTHS)
    assert all(file.is_file() for file in source.files)


def test_wrong_camera_lists_those_there_are(written: Written, name: str):
    with pytest.raises(UserError, match="has no camera 'top'; by --camera choose among: "):
        open_source(written.path, name=name, options=ReadOptions(camera="top"))


def test_options_without_use_are_refused(written: Written, name: str):
    if name not in ("droid", "franka", "metaworld", "pointmaze", "pusht", "wall"):
        pytest.skip("this format has columns to choose from")
    with pytest.raises(UserError, match="--proprio-key has no use here"):
        open_source(written.path, name=name, options=ReadOptions(proprio_key="state"))


def test_damaged_files_are_named(written: Written):
    """Cut every file in half, one at a time: each time a message names it, or nothing is lost."""
    files = [path for path in sorted(written.path.rglob("*")) if path.is_file()]
    for file in files:
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        try:
            source = open_source(written.path, name=None, options=ReadOptions())
            texts = [problem.to_text() for problem in check_source(source, Requirements())]
        except UserError as error:
            texts = [str(error)]
        if file.suffix != ".csv":  # half of a text table is a shorter table
            assert any(file.name in text or str(written.path) in text for text in texts), file
        assert texts
        file.write_bytes(content)


def test_empty_folder_is_no_data_set(tmp_path: Path):
    with pytest.raises(UserError, match="is of no known format; name one by --format"):
        open_source(tmp_path, name=None, options=ReadOptions())
    with pytest.raises(UserError, match="there is nothing at"):
        open_source(tmp_path / "absent", name=None, options=ReadOptions())
    with pytest.raises(UserError, match=r"unknown data format 'lerobo'; did you mean 'lerobot'"):
        open_source(tmp_path, name="lerobo", options=ReadOptions())


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_named_formats_refuse_an_empty_folder(tmp_path: Path, name: str):
    with pytest.raises(UserError, match=str(tmp_path)):
        open_source(tmp_path, name=name, options=ReadOptions())
