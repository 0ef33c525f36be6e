"""Foreign formats: one module each, behind one registry."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import cast

from jepawm.border import foreign
from jepawm.data.cameras import ALL, join_cameras, named_cameras
from jepawm.data.recording import FIRST_CAMERA, Format, ReadOptions, Source
from jepawm.data.resample import is_rate
from jepawm.errors import UserError
from jepawm.registry import Registry, others_code, value

FORMATS = Registry(
    "data_format",
    {
        "aloha": "jepawm.data.formats.aloha:FORMAT",
        "d4rl": "jepawm.data.formats.d4rl:FORMAT",
        "deformable": "jepawm.data.formats.padded_tensors:DEFORMABLE",
        "droid": "jepawm.data.formats.droid:FORMAT",
        "folder": "jepawm.data.formats.media_folder:FORMAT",
        "franka": "jepawm.data.formats.franka:FORMAT",
        "lerobot": "jepawm.data.formats.lerobot.read:FORMAT",
        "maniskill": "jepawm.data.formats.maniskill:FORMAT",
        "metaworld": "jepawm.data.formats.metaworld:FORMAT",
        "minari": "jepawm.data.formats.minari:FORMAT",
        "npz": "jepawm.data.formats.npz:FORMAT",
        "pointmaze": "jepawm.data.formats.padded_tensors:FORMAT",
        "pusht": "jepawm.data.formats.pusht:FORMAT",
        "robocasa": "jepawm.data.formats.robomimic:ROBOCASA",
        "robomimic": "jepawm.data.formats.robomimic:FORMAT",
        "stable-worldmodel": "jepawm.data.formats.stable_worldmodel:FORMAT",
        "wall": "jepawm.data.formats.padded_tensors:WALL",
        "zarr": "jepawm.data.formats.replay_buffer:FORMAT",
    },
    rule=value("summary", "recognises", "open"),
)
"""Every format by name."""
_LOG = logging.getLogger(__name__)


def open_source(path: Path, *, name: str | None, options: ReadOptions) -> Source:
    """Open a foreign data set; without a `name` the format is recognised."""
    if not path.exists():
        raise UserError(f"there is nothing at {path}; check the path")
    name = name or recognise(path)
    if options.pair_frames != "times" and name != "lerobot":
        raise UserError(
            f"--pair-frames {options.pair_frames} is for videos of LeRobot; leave it out"
        )
    with foreign(path, f"{name} data set"):
        source = _open(get_format(name), path, options)
    if source.fps is not None and not is_rate(source.fps):
        raise UserError(f"{path}: {source.fps:g} frames per second is no rate; repair its metadata")
    return source


def _open(one: Format, path: Path, options: ReadOptions) -> Source:
    """Open a data set, with several cameras if several are named."""
    if options.camera == ALL:
        known = one.open(path, replace(options, camera=FIRST_CAMERA)).cameras
        options = replace(options, camera=",".join(known))
    if options.camera is None or "," not in options.camera:
        return one.open(path, options)
    names = named_cameras(options.camera)
    return join_cameras([one.open(path, replace(options, camera=name)) for name in names])


def get_format(name: str) -> Format:
    """Return a format by name."""
    return cast(Format, FORMATS.get(name))


def recognise(path: Path) -> str:
    """Return the name of the format that `path` has; formats of others that fail are left out."""
    found, known = [], {}
    for name in FORMATS.names():
        try:
            known[name] = get_format(name)
            if _recognises(known[name], name, path):
                found.append(name)
        except UserError as error:
            if FORMATS.is_built_in(name):
                raise
            known.pop(name, None)
            _LOG.warning("left out: %s", error)
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{name} ({known[name].summary})" for name in found or known)
    what = "fits several formats" if found else "is of no known format"
    raise UserError(f"{path} {what}; name one by --format: {listed}")


def _recognises(one: Format, name: str, path: Path) -> bool:
    built_in = FORMATS.is_built_in(name)
    with others_code(f"data format {name!r}", own=built_in):
        if not built_in:
            return one.recognises(path)
        with foreign(path, f"{name} data set"):
            return one.recognises(path)
