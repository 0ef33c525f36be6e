"""Where data sets and downloads live; the one place that reads `$JEPAWM_DATA`."""

import os
import sys
from pathlib import Path

ENVIRONMENT_VARIABLE = "JEPAWM_DATA"


def data_root(path: Path | None) -> Path:
    """Return the folder for data: the argument, else `$JEPAWM_DATA`, else the user's cache folder."""
    if path is not None:
        return path.expanduser()
    configured = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if configured:
        return Path(configured).expanduser()
    return cache_folder() / "jepawm"


def cache_folder() -> Path:
    """Return the folder of this user for what can be made or fetched again."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    configured = os.environ.get(variable, "")
    return Path(configured) if configured else Path.home() / ".cache"
