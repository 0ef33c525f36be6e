"""`jepawm data` from end to end, in the words of a user."""

import json
from pathlib import Path

import numpy as np
import pytest

from jepawm.cli import main


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    path = tmp_path / "clips"
    path.mkdir()
    generator = np.random.default_rng(0)
    for episode in range(3):
        frames = np.zeros((8, 16, 16, 3), np.uint8) + np.uint8(40 * episode)
        actions = generator.normal(size=(7, 2)).astype(np.float32)
        np.savez(path / f"{episode}.npz", frames=frames, actions=actions, fps=np.array(10.0))
    return path


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["data", *argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_inspect_check_import_export_and_back(clips: Path, tmp_path: Path, capsys):
    store, out = str(tmp_path / "store"), str(tmp_path / "out")
    code, text, _ = run(capsys, "inspect", str(clips), "--json")
    described = json.loads(text)
    assert (code, described["format"], described["episodes"]) == (0, "npz", 3)
    assert described["cameras"] == ["frames"]
    assert run(capsys, "check", str(clips))[0] == 0
    code, text, _ = run(
        capsys, "import", str(clips), "--out", store, "--image-size", "16", "--json"
    )
    assert code == 0
    assert json.loads(text)["episodes"] == 3
    for words in (("inspect", str(clips)), ("inspect", store), ("check", store)):
        keys = json.loads(run(capsys, *words, "--json")[1])
        assert all(key.isidentifier() for key in keys), keys
    assert json.loads(run(capsys, "inspect", store, "--json")[1])["proprio_width"] is None
    code, text, _ = run(capsys, "inspect", store)
    assert "imported from         clips (npz, camera frames)" in text
    assert run(capsys, "check", store)[0] == 0
    code, text, _ = run(capsys, "export", store, "--out", out, "--images", "png")
    assert code == 0
    assert "lerobot" in text
    code, text, _ = run(capsys, "check", out, "--json")
    assert (code, json.loads(text)["good"]) == (0, True)


def test_check_lists_every_problem_and_ends_with_2(clips: Path, capsys):
    content = (clips / "0.npz").read_bytes()
    (clips / "1.npz").write_bytes(content[:300])
    frames = np.zeros((5, 16, 16, 3), np.uint8)
    np.savez(clips / "2.npz", frames=frames, actions=np.full((5, 2), np.inf))
    code, text, _ = run(capsys, "check", str(clips), "--min-frames", "6")
    assert code == 2
    for part in ("1.npz is damaged", "actions is NaN or infinite at step 0", "fewer than the 6"):
        assert part in text
    assert "bad episodes  2" in text


def test_user_errors_end_with_2_and_one_message(clips: Path, tmp_path: Path, capsys):
    code, _, error = run(
        capsys, "import", str(clips), "--out", str(tmp_path / "s"), "--camera", "x"
    )
    assert code == 2
    assert "has no camera 'x'; by --camera choose among: frames" in error
    code, _, error = run(capsys, "inspect", str(tmp_path / "absent"))
    assert (code, "there is nothing at" in error) == (2, True)
    code, _, error = run(capsys, "look")
    assert (code, "import|inspect|check|export" in error) == (2, True)


def test_help_tells_the_options(capsys):
    assert "import|inspect|check|export" in run(capsys, "--help")[1]
    with pytest.raises(SystemExit) as ended:
        run(capsys, "import", "--help")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for option in (
        "--format",
        "--camera",
        "--fps",
        "--skip-bad-episodes",
        "--image-size",
        "lerobot",
    ):
        assert option in text


def test_altered_store_is_found(clips: Path, tmp_path: Path, capsys):
    store = tmp_path / "store"
    run(capsys, "import", str(clips), "--out", str(store), "--image-size", "16")
    data = bytearray((store / "actions.npy").read_bytes())
    data[-1] ^= 1
    (store / "actions.npy").write_bytes(data)
    code, _, error = run(capsys, "check", str(store))
    assert (code, "actions.npy was altered" in error) == (2, True)


def test_foreign_texts_move_no_cursor(clips: Path, tmp_path: Path, capsys):
    """The name of a folder stands for all texts of others: cameras, tasks, columns."""
    hostile = clips.rename(tmp_path / "a\x1b[2J\rb\u202e")
    np.savez(hostile / "9.npz", frames=np.zeros((3, 4, 4, 3), np.uint8), actions=np.zeros((9, 2)))
    for verb in ("inspect", "check"):
        _, text, _ = run(capsys, verb, str(hostile))
        assert r"a\x1b[2J\rb\u202e" in text
        assert text.replace("\n", "").isprintable()
