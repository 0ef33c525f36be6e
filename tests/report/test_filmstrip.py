import importlib
import sys

import numpy as np
import pytest
from PIL import Image

from jepawm.errors import UserError


@pytest.fixture
def filmstrip(project_root, monkeypatch):
    """Return the script as a module."""
    monkeypatch.syspath_prepend(str(project_root / "benchmarks"))
    return importlib.import_module("filmstrip")


def test_picture_shows_paths_and_stays_small(filmstrip, run, tmp_path):
    out = filmstrip.render_picture(run, tmp_path / "wall.png")
    pixels = np.asarray(Image.open(out).convert("RGB")).astype(int)
    assert out.stat().st_size < 300_000
    assert pixels.shape[1] > 900
    for color in ((0x16, 0x68, 0xB8), (0xD9, 0x69, 0x0F), (0x10, 0x7A, 0x4D)):
        assert (np.abs(pixels - color).max(axis=-1) < 24).sum() > 100


def test_picture_without_rollouts_is_a_user_error(filmstrip, tmp_path):
    with pytest.raises(UserError, match="jepawm eval"):
        filmstrip.render_picture(tmp_path, tmp_path / "wall.png")


def test_command_writes_the_picture_and_reports_user_errors(
    filmstrip, run, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "wall.png"
    monkeypatch.setattr(sys, "argv", ["picture", str(run), str(out), "--num-tasks", "1"])
    assert filmstrip.main() == 0
    assert out.exists()
    monkeypatch.setattr(sys, "argv", ["picture", str(tmp_path), str(out)])
    assert filmstrip.main() == 2
    assert "results.json" in capsys.readouterr().err
