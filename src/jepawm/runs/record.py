"""Where a run came from: versions, commit, threads."""

import subprocess
from functools import cache
from pathlib import Path

import torch

from jepawm.checkpoint import Provenance
from jepawm.evaluation.results import versions


def provenance() -> Provenance:
    """Return what this process computes with."""
    return Provenance(
        versions={name: str(value) for name, value in versions().items()},
        commit=_commit(),
        num_threads=torch.get_num_threads(),
    )


@cache
def _commit() -> str | None:
    """Return the commit of this source; None if it is not what a repository tracks."""
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return _git("rev-parse", "HEAD")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:  # no git on this machine
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
