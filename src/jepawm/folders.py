"""Folders of the user."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of this user for what can be made or fetched again."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    configured = os.environ.get(variable, "")
    return Path(configured) if configured else Path.home() / ".cache"
