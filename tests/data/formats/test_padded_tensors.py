from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm.data.formats.padded_tensors import load_array, load_counts, rows_of_episode
from jepawm.errors import UserError


class Anything:
    pass


def test_tensors_and_lists(tmp_path: Path):
    torch.save(torch.arange(4), tmp_path / "a.pth")
    torch.save([3, 5], tmp_path / "b.pth")
    assert load_array(tmp_path / "a.pth").tolist() == [0, 1, 2, 3]
    assert load_array(tmp_path / "b.pth").tolist() == [3, 5]


def test_objects_are_not_loaded(tmp_path: Path):
    torch.save({"x": Anything()}, tmp_path / "a.pth")
    with pytest.raises(
        UserError, match=r"a\.pth is truncated, damaged, or holds more than tensors"
    ):
        load_array(tmp_path / "a.pth")
    torch.save({"x": 1}, tmp_path / "b.pth")
    with pytest.raises(UserError, match=r"b\.pth holds a dict, not a tensor"):
        load_array(tmp_path / "b.pth")


# What `pickle.dumps` gives for [5, 300, 70000], by protocol, and for other things.
LISTS = [
    b"(lp0\nI5\naI300\naI70000\na.",
    b"\x80\x02]q\x00(K\x05M,\x01Jp\x11\x01\x00e.",
    b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00]\x94(K\x05M,\x01Jp\x11\x01\x00e.",
]


@pytest.mark.parametrize("content", LISTS)
def test_pickled_counts_are_read_without_unpickling(tmp_path: Path, content: bytes):
    (tmp_path / "a.pkl").write_bytes(content)
    assert load_counts(tmp_path / "a.pkl").tolist() == [5, 300, 70000]


def test_other_pickles_are_refused(tmp_path: Path):
    (tmp_path / "a.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UserError, match=r"holds more than a list of whole numbers \(GLOBAL\)"):
        load_counts(tmp_path / "a.pkl")
    (tmp_path / "a.pkl").write_bytes(LISTS[1][:-4])
    with pytest.raises(UserError, match="truncated or damaged"):
        load_counts(tmp_path / "a.pkl")
    with pytest.raises(UserError, match="is missing"):
        load_counts(tmp_path / "b.pkl")


def test_rows_of_an_episode():
    rows = np.arange(24).reshape(2, 4, 3)
    assert rows_of_episode(rows, 1, length=2, file=Path("a")).tolist() == [
        [12, 13, 14],
        [15, 16, 17],
    ]
    with pytest.raises(UserError, match="has no 5 rows for episode 1"):
        rows_of_episode(rows, 1, length=5, file=Path("a"))
    with pytest.raises(UserError, match="has no 2 rows for episode 2"):
        rows_of_episode(rows, 2, length=2, file=Path("a"))
