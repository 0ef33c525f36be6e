"""Where a run came from: versions, commit, threads."""

import subprocess
from pathlib import Path

import torch

from jepawm.evaluation.results import versions
from jepawm.training.checkpoint import JsonValue


def provenance() -> dict[str, JsonValue]:
    """Return versions, source commit (None outside a repository) and threads."""
    return {"versions": versions(), "commit": _commit(), "num_threads": torch.get_num_threads()}


def _commit() -> str | None:
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:  # no git on this machine
        return None
    return done.stdout.strip() or None
