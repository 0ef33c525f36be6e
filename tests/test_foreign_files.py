from pathlib import Path

import pytest

from jepawm.border import require_regular
from jepawm.errors import UserError
from jepawm.foreign_files import is_sidecar, listed, natural_order, picture_order, refuse_pointer

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 82515\n"


@pytest.mark.parametrize(
    "name", ["a.parquet", "a.mp4", "model.safetensors", "info.json", "a.pth", "x"]
)
def test_a_pointer_is_told_whatever_its_suffix(tmp_path: Path, name: str):
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(UserError, match=rf"{name} is a Git LFS pointer.*run `git lfs pull`"):
        require_regular(tmp_path / name)


def test_other_small_and_large_files_are_no_pointers(tmp_path: Path):
    for name, content in (("a", ""), ("b", POINTER[1:]), ("c", POINTER + "\n" * 2000)):
        (tmp_path / name).write_text(content)
        require_regular(tmp_path / name)
    refuse_pointer(tmp_path / "absent", len(POINTER))  # who reads it says that it is not there


def test_what_desktops_leave_is_no_data(tmp_path: Path):
    root = tmp_path / ".cache"  # hidden above the data set counts for nothing
    kept = ["a.png", "b/a.png", "Thumbs.png"]
    left = ["._a.png", ".DS_Store", "Thumbs.db", "b/Desktop.ini", "__MACOSX/a.png", ".git/a.png"]
    for name in (*kept, *left):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    assert {str(path.relative_to(root)) for path in listed(root, "**/*.png")} == set(kept)
    assert [is_sidecar(root, root / name) for name in (*kept, *left)] == [False] * 3 + [True] * 6


def test_names_are_ordered_by_their_numbers():
    names = ["a_10", "a_2", "a_1", "b_1", "a_02", "a"]
    assert sorted(names, key=natural_order) == ["a", "a_1", "a_02", "a_2", "a_10", "b_1"]
    frames = [Path(name) for name in ("1.5.png", "1.12.png", "10.1.png", "9.1.png")]
    assert [path.name for path in picture_order(frames)] == [
        "1.12.png",
        "1.5.png",
        "9.1.png",
        "10.1.png",
    ]
    frames = [Path(name) for name in ("frame_10.png", "frame_9.png")]
    assert [path.name for path in picture_order(frames)] == ["frame_9.png", "frame_10.png"]
