import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm.data.formats.counts import load_counts
from jepawm.errors import UserError

LENGTHS = [5, 300, 70000]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(LENGTHS, id="list"),
        pytest.param(tuple(LENGTHS), id="tuple"),
        pytest.param([np.int64(one) for one in LENGTHS], id="numpy numbers"),
        pytest.param([np.int32(5), 300, np.uint32(70000)], id="numbers of several kinds"),
        pytest.param(np.array(LENGTHS), id="array"),
        pytest.param(np.array(LENGTHS, dtype=">i4"), id="array of another byte order"),
        pytest.param([np.array(one) for one in LENGTHS], id="arrays of one number"),
        pytest.param(torch.tensor(LENGTHS), id="tensor"),
        pytest.param(torch.tensor([0, 0, *LENGTHS])[2:], id="part of a tensor"),
        pytest.param([torch.tensor(one) for one in LENGTHS], id="tensors of one number"),
    ],
)
def test_lengths_are_read_however_they_were_pickled(tmp_path: Path, kept: object, protocol: int):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(kept, protocol=protocol))
    assert load_counts(tmp_path, "a.pkl").tolist() == LENGTHS


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("run",))


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ([Harmful()], "more than a list of whole numbers"),
        (np.array([Harmful()], dtype=object), "type 'O8' are no lengths|more than a list"),
        (np.array([1.5]), "type 'f8' are no lengths"),
        (torch.tensor([1.5]), "a tensor of other than whole numbers"),
        (np.ones((2, 2), np.int64), "holds no list"),
        ([[1], [2]], "several lists"),
        ([1, "2"], r"more than a list of whole numbers \(str\)"),
        ({"a": 1}, "more than a list of whole numbers"),
        ([2**62], "numbers that are no lengths"),
    ],
)
def test_other_things_are_refused_and_nothing_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: object, message: str
):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(kept))
    with pytest.raises(UserError, match=message):
        load_counts(tmp_path, "a.pkl")
    assert not capsys.readouterr().out


def test_claims_beyond_the_file_are_refused(tmp_path: Path):
    (tmp_path / "a.pkl").write_bytes(b"\x80\x05\x96" + b"\xff" * 7 + b"\x00.")
    with pytest.raises(UserError, match=r"a\.pkl is damaged or no list of whole numbers"):
        load_counts(tmp_path, "a.pkl")


LISTS = [
    b"(lp0\nI5\naI300\naI70000\na.",
    b"\x80\x02]q\x00(K\x05M,\x01Jp\x11\x01\x00e.",
    b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00]\x94(K\x05M,\x01Jp\x11\x01\x00e.",
]


@pytest.mark.parametrize("content", LISTS)
def test_pickled_counts_are_read_without_unpickling(tmp_path: Path, content: bytes):
    (tmp_path / "a.pkl").write_bytes(content)
    assert load_counts(tmp_path, "a.pkl").tolist() == [5, 300, 70000]


def test_other_pickles_are_refused(tmp_path: Path):
    (tmp_path / "a.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UserError, match=r"holds more than a list of whole numbers \(os.system\)"):
        load_counts(tmp_path, "a.pkl")
    (tmp_path / "a.pkl").write_bytes(LISTS[1][:-4])
    with pytest.raises(UserError, match="damaged or no list"):
        load_counts(tmp_path, "a.pkl")
    with pytest.raises(UserError, match="is missing"):
        load_counts(tmp_path, "b.pkl")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x04]\x94(K\x05]\x94(K\x07ee.", "several lists"),
        (b"\x80\x04]\x94(K\x05\x88e.", "bool"),
        (b"(lp0\nI01\na.", "bool"),
        (b"\x80\x04]\x94(G?\xf0\x00\x00\x00\x00\x00\x00e.", "float"),
        (b"\x80\x04]\x94(\x8a\x0d" + b"\x7f" * 13 + b"e.", "numbers that are no lengths"),
        (b"\x80\x04K\x05.", "holds no list"),
        (b"\x80\x04.", "damaged or no list"),
        (b"", "damaged or no list"),
    ],
)
def test_counts_are_one_list_of_whole_numbers(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_counts(tmp_path, "a.pkl")
