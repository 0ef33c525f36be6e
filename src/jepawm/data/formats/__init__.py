"""Foreign formats: one module each, behind one registry."""

import math
from pathlib import Path
from typing import cast

from jepawm.border import foreign
from jepawm.data.recording import Format, ReadOptions, Source
from jepawm.errors import UserError
from jepawm.registry import Registry, value

FORMATS = Registry(
    "data_format",
    {
        "droid": "jepawm.data.formats.droid:FORMAT",
        "folder": "jepawm.data.formats.media_folder:FORMAT",
        "franka": "jepawm.data.formats.franka:FORMAT",
        "lerobot": "jepawm.data.formats.lerobot.read:FORMAT",
        "metaworld": "jepawm.data.formats.metaworld:FORMAT",
        "minari": "jepawm.data.formats.minari:FORMAT",
        "npz": "jepawm.data.formats.npz:FORMAT",
        "pointmaze": "jepawm.data.formats.padded_tensors:FORMAT",
        "pusht": "jepawm.data.formats.pusht:FORMAT",
        "robocasa": "jepawm.data.formats.robomimic:ROBOCASA",
        "robomimic": "jepawm.data.formats.robomimic:FORMAT",
        "wall": "jepawm.data.formats.padded_tensors:WALL",
    },
    rule=value("summary", "recognises", "open"),
)
"""Every format by name."""


def open_source(path: Path, *, name: str | None, options: ReadOptions) -> Source:
    """Open a foreign data set; without a `name` the format is recognised."""
    if not path.exists():
        raise UserError(f"there is nothing at {path}; check the path")
    name = name or recognise(path)
    with foreign(path, f"{name} data set"):
        source = get_format(name).open(path, options)
    if source.fps is not None and not 0 < source.fps < math.inf:
        raise UserError(f"{path}: {source.fps:g} frames per second is no rate; repair its metadata")
    return source


def get_format(name: str) -> Format:
    """Return a format by name."""
    return cast(Format, FORMATS.get(name))


def recognise(path: Path) -> str:
    """Return the name of the format that `path` has."""
    names = []
    for name in FORMATS.names():
        with foreign(path, f"{name} data set"):
            if get_format(name).recognises(path):
                names.append(name)
    if len(names) == 1:
        return names[0]
    known = ", ".join(f"{name} ({get_format(name).summary})" for name in names or FORMATS.names())
    what = "fits several formats" if names else "is of no known format"
    raise UserError(f"{path} {what}; name one by --format: {known}")
