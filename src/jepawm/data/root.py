"""Where data sets and downloads live; the one place that reads `$JEPAWM_DATA`."""

import os
from pathlib import Path

from jepawm.folders import cache_folder

ENVIRONMENT_VARIABLE = "JEPAWM_DATA"


def data_root(path: Path | None) -> Path:
    """Return the folder for data: the argument, else `$JEPAWM_DATA`, else the user's cache folder."""
    if path is not None:
        return path.expanduser()
    configured = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if configured:
        return Path(configured).expanduser()
    return cache_folder() / "jepawm"
