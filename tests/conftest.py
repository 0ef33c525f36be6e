"""Fixtures and settings that all tests share."""

import os
from pathlib import Path

import pytest
import torch

PROJECT_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def deterministic_cpu() -> None:
    """Compute on one thread and flush subnormal numbers, which slow far-away Gaussians down."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """Return the root of the repository."""
    return PROJECT_ROOT


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Return the folder of the golden files; skip where this machine has none.

    The folder is `$JEPAWM_GOLDEN`, else `../shared/golden` beside the repository.
    """
    if "JEPAWM_GOLDEN" in os.environ:
        folder = Path(os.environ["JEPAWM_GOLDEN"])
        if not folder.is_dir():
            pytest.fail(f"JEPAWM_GOLDEN={folder} is no folder")
        return folder
    folder = PROJECT_ROOT.parent / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip("no golden files: set JEPAWM_GOLDEN to their folder")
    return folder
