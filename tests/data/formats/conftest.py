"""Small real data sets of other projects' layouts, written by the libraries that they use."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

SIDE = 32


def moving_frames(episode: int, num_frames: int, *, side: int = SIDE) -> np.ndarray:
    """Frame t of episode e: grey, brighter with t, tinted by e; survives a lossy codec."""
    t = np.arange(num_frames)
    frames = np.zeros((num_frames, side, side, 3), np.uint8)
    frames[..., 0] = (20 + 8 * t)[:, None, None]
    frames[..., 1] = 40 * episode
    frames[:, : side // 2, :, 2] = 128
    return frames


def write_mp4(path: Path, frames: np.ndarray, *, fps: int = 10, gop: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        options = {"g": str(gop), "crf": "4"}
        stream = container.add_stream("libx264", rate=Fraction(fps), options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv444p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def numbers(episode: int, num_frames: int, width: int) -> np.ndarray:
    generator = np.random.default_rng(100 * episode + width)
    return generator.normal(size=(num_frames, width)).astype(np.float32)


@pytest.fixture
def make_frames():
    return moving_frames


@pytest.fixture
def make_numbers():
    return numbers


@pytest.fixture
def make_mp4():
    return write_mp4


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
    from jepawm.data.poses import pose_differences

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
    from jepawm.data.poses import pose_differences

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


def write_aloha(root: Path, frames: Make, numbers: Make, mp4: object) -> Written:
    for e, n in enumerate(LENGTHS):
        with h5py.File(root / f"episode_{9 + e}.hdf5", "w") as file:  # 10 comes after 9
            file["action"], file["observations/qpos"] = numbers(e, n, 14), numbers(e, n, 7)
            file["observations/qvel"] = numbers(e, n, 7)
            file["observations/images/cam_high"] = frames(e, n)
    return Written(
        path=root,
        actions=[numbers(e, n, 14) for e, n in enumerate(LENGTHS)],
        proprio=[numbers(e, n, 7) for e, n in enumerate(LENGTHS)],
    )


def write_maniskill(root: Path, frames: Make, numbers: Make, mp4: object) -> Written:
    (root / "trajectory.json").write_text('{"env_info": {"env_id": "PushCube-v1"}}')
    with h5py.File(root / "trajectory.h5", "w") as file:  # a name that DROID has too
        for e, n in enumerate(LENGTHS):
            file[f"traj_{9 + e}/actions"] = numbers(e, n - 1, 7)
            file[f"traj_{9 + e}/obs/agent/qpos"] = numbers(e, n, 9)
            file[f"traj_{9 + e}/obs/extra/tcp_pose"] = numbers(e, n, 7)
            file[f"traj_{9 + e}/obs/sensor_data/base_camera/rgb"] = frames(e, n)
    return Written(
        path=root,
        actions=[numbers(e, n - 1, 7) for e, n in enumerate(LENGTHS)],
        proprio=[numbers(e, n, 9) for e, n in enumerate(LENGTHS)],
    )


def flat(make: Make, *rest: int) -> np.ndarray:
    return np.concatenate([make(e, n, *rest) for e, n in enumerate(LENGTHS)])


def write_stable_worldmodel(root: Path, frames: Make, numbers: Make, mp4: object) -> Written:
    with h5py.File(root / "pusht.h5", "w") as file:
        file["pixels"], file["action"] = flat(frames), flat(numbers, 2)
        file["proprio"], file["reward"] = flat(numbers, 4), flat(numbers, 1)[:, 0]
        file["ep_len"], file["ep_offset"] = np.array(LENGTHS, np.int32), np.array([0, LENGTHS[0]])
    return Written(
        path=root,
        actions=[numbers(e, n, 2) for e, n in enumerate(LENGTHS)],
        proprio=[numbers(e, n, 4) for e, n in enumerate(LENGTHS)],
    )


def write_d4rl(root: Path, frames: Make, numbers: Make, mp4: object) -> Written:
    with h5py.File(root / "walker.hdf5", "w") as file:  # V-D4RL's layout
        kinds = [[0] + [1] * (n - 2) + [2] for n in LENGTHS]
        file["observation"] = flat(frames).transpose(0, 3, 1, 2)
        file["action"], file["step_type"] = flat(numbers, 6), np.concatenate(kinds)
    actions = [numbers(e, n, 6)[1:] for e, n in enumerate(LENGTHS)]  # row t led to frame t
    return Written(path=root, actions=actions, proprio=[None, None])


def write_deformable(root: Path, frames: Make, numbers: Make, mp4: object) -> Written:
    longest = max(LENGTHS)
    actions = [numbers(e, longest, 4) for e in range(2)]
    torch.save(torch.from_numpy(np.stack(actions)), root / "actions.pth")
    torch.save(torch.zeros(2, longest, 6, 4), root / "states.pth")
    for e in range(2):
        (root / f"{e:06d}").mkdir()
        torch.save(torch.from_numpy(frames(e, longest)), root / f"{e:06d}" / "obses.pth")
    return Written(path=root, actions=actions, proprio=[None, None])


def write_zarr(root: Path, frames: Make, numbers: Make, mp4: object) -> Written:
    import zarr

    place = root / "pusht_cchi_v7_replay.zarr"
    buffer = zarr.open_group(place, mode="w", zarr_format=2)
    columns = {"img": flat(frames).astype(np.float32), "action": flat(numbers, 2)}
    for name, rows in (columns | {"agent_pos": flat(numbers, 5)[:, :2]}).items():
        buffer.create_array(f"data/{name}", data=rows, chunks=(4, *rows.shape[1:]))
    buffer.create_array("meta/episode_ends", data=np.cumsum(LENGTHS))
    return Written(
        path=root,
        actions=[numbers(e, n, 2) for e, n in enumerate(LENGTHS)],
        proprio=[numbers(e, n, 5)[:, :2] for e, n in enumerate(LENGTHS)],
    )


WRITERS = {
    name.removeprefix("write_").replace("stable_", "stable-"): function
    for name, function in list(globals().items())
    if name.startswith("write_") and name not in ("write_tensors", "write_demos", "write_mp4")
}


@pytest.fixture(params=sorted(WRITERS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def written(name: str, tmp_path: Path, make_frames, make_numbers, make_mp4) -> Written:
    root = tmp_path / name
    root.mkdir()
    return WRITERS[name](root, make_frames, make_numbers, make_mp4)


@pytest.fixture(scope="session")
def format_names() -> list[str]:
    return sorted(WRITERS)
