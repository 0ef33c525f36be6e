"""ALOHA and ACT: one HDF5 file for each episode, `episode_0.hdf5`.

    action                          [T, a]
    observations/qpos, qvel, ...    [T, j]
    observations/images/<camera>    uint8 [T, height, width, 3], or a JPEG picture in each row

Proprioception is qpos. Pictures that were compressed have the colours that their file says. The
files say no rate; ALOHA's own is 50 frames per second.
"""

import re
from functools import partial
from operator import itemgetter
from pathlib import Path

from jepawm.data.formats.hdf5 import Group, folder_of, hdf5_files, joined, opened, read_frames
from jepawm.data.recording import (
    Episode,
    Format,
    ReadOptions,
    Recording,
    Source,
    choose_camera,
    own_files,
    read_any,
)
from jepawm.errors import UserError, plain_text

_ACTIONS = "action"
_OBS = "observations"
_IMAGES = f"{_OBS}/images"
_PROPRIO = "qpos"


def open_aloha(path: Path, options: ReadOptions) -> Source:
    """Open a folder of episodes, or one of them."""
    root, files = folder_of(path), sorted(hdf5_files(path), key=_order)
    if not files:
        raise UserError(f"{path} holds no HDF5 file; check the path")
    describe = partial(_describe, root=root)
    cameras, columns = read_any(files, describe, enough=itemgetter(0)) or describe(files[0])
    camera = choose_camera(options.camera, cameras, where=path)
    return Source(
        format="aloha",
        path=path,
        environment=path.resolve().stem,
        fps=None,
        cameras=cameras,
        camera=camera,
        episodes=[
            Episode(
                name=file.stem,
                file=file,
                read=partial(_read, file, camera, root=root, options=options),
            )
            for file in files
        ],
        files=own_files(root, sorted(files)),
        columns=columns,
    )


def _recognises(path: Path) -> bool:
    return bool(read_any(hdf5_files(path), partial(_is, root=folder_of(path))))


FORMAT = Format(
    summary="ALOHA or ACT HDF5, one file for each episode",
    recognises=_recognises,
    open=open_aloha,
)


def _is(file: Path, *, root: Path) -> bool:
    with opened(file, root=root) as content:
        if not content.has(_ACTIONS) or not content.has(_OBS):
            return False
        obs = content.datasets()
        return any(name in obs for name in (f"{_OBS}/{_PROPRIO}", f"{_OBS}/qvel")) or any(
            name.startswith(f"{_IMAGES}/") for name in obs
        )


def _read(file: Path, camera: str, *, root: Path, options: ReadOptions) -> Recording:
    with opened(file, root=root) as content:
        cameras = _cameras(content)
        if camera not in cameras:
            known = plain_text(", ".join(cameras))
            raise UserError(f"{file} has no camera {camera!r}; by --camera choose among: {known}")
        obs, num_frames = content.group(_OBS), len(content.dataset(f"{_IMAGES}/{camera}"))
        key = options.proprio_key or (_PROPRIO if obs.has(_PROPRIO) else "none")
        names = [name.removeprefix(f"{_OBS}/") for name in key.split(",")]
        return Recording(
            num_frames=num_frames,
            actions=joined(content, (options.action_key or _ACTIONS).split(",")),
            proprio=None if key == "none" else joined(obs, names),
            frames=partial(read_frames, file, f"{_IMAGES}/{camera}", root=root),
            count_frames=lambda: num_frames,
        )


def _describe(file: Path, *, root: Path) -> tuple[list[str], dict[str, str]]:
    """Return the cameras of an episode, and its columns in words."""
    with opened(file, root=root) as content:
        return _cameras(content), content.columns()


def _cameras(content: Group) -> list[str]:
    if not content.group(_OBS).has("images"):
        return []
    return content.group(_IMAGES).cameras(padded=True)


def _order(file: Path) -> tuple[list[int], str]:
    return [int(digits) for digits in re.findall(r"\d+", file.stem)], str(file)
