"""Weight files of others: what is read, and what is refused and why."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jepawm.errors import UserError
from jepawm.models.weight_files import read_weight_file, require_numbers, strip_prefixes

WEIGHTS = {"a": torch.arange(4.0), "b": torch.ones(2, 2)}


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_both_kinds_of_files_are_read(tmp_path: Path):
    save_file(WEIGHTS, tmp_path / "w.safetensors")
    torch.save(WEIGHTS, tmp_path / "w.pth")
    torch.save(WEIGHTS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("w.safetensors", "w.pth", "old.pth"):
        assert equal(read_weight_file(tmp_path / name), WEIGHTS)


def test_one_entry_of_a_training_is_taken(tmp_path: Path):
    path = tmp_path / "training.pt"
    torch.save({"encoder": WEIGHTS, "opt": {"lr": 0.1}, "epoch": 3}, path)
    assert equal(read_weight_file(path, "encoder"), WEIGHTS)
    with pytest.raises(UserError, match=r"no tensors at its top \(it has: encoder, opt, epoch\)"):
        read_weight_file(path)


def test_prefixes_come_off_in_order():
    names = {"module.backbone.a": WEIGHTS["a"], "backbone.b": WEIGHTS["b"]}
    assert equal(strip_prefixes(names, "module.", "backbone."), WEIGHTS)


class Payload:
    """Something that only unpickling could bring back."""


def test_what_is_no_weight_file_is_refused(tmp_path: Path):
    whole, cut, page = (tmp_path / name for name in ("whole.pth", "cut.pth", "page.pth"))
    torch.save(WEIGHTS, whole)
    cut.write_bytes(whole.read_bytes()[:-100])
    page.write_text("<!DOCTYPE html><html>not found</html>")
    with pytest.raises(UserError, match=r"cut\.pth: it is .*truncated"):
        read_weight_file(cut)
    with pytest.raises(UserError, match=r"page\.pth: it is a web page"):
        read_weight_file(page)
    (tmp_path / "page.safetensors").write_text("<html>")
    with pytest.raises(UserError, match=r"page\.safetensors: it is a web page"):
        read_weight_file(tmp_path / "page.safetensors")
    torch.save({"model": Payload()}, whole)
    with pytest.raises(
        UserError, match=r"more than tensors: Python objects \(\S*test_weight_files"
    ):
        read_weight_file(whole)
    torch.save({"model": Payload()}, whole, _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match="pickles are never run"):
        read_weight_file(whole)
    torch.save([1, 2], whole)
    with pytest.raises(UserError, match="holds a list"):
        read_weight_file(whole)
    (tmp_path / "empty.pth").touch()
    with pytest.raises(UserError, match=r"empty\.pth"):
        read_weight_file(tmp_path / "empty.pth")
    with pytest.raises(UserError, match=r"none\.pth is missing"):
        read_weight_file(tmp_path / "none.pth")


def test_a_damaged_archive_is_noticed(tmp_path: Path):
    """One flipped bit of a weight is a legal number; the archive has a checksum."""
    path = tmp_path / "w.pth"
    torch.save({"a": torch.full((1000,), 1.5)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.full((4,), 1.5).numpy().tobytes()) + 402] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"w\.pth .*(checksum|CRC)"):
        read_weight_file(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.to_sparse(),
        lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
        lambda x: x.to("meta"),
        lambda x: x[:1].expand(10**12),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_no_weights_are_refused(tmp_path: Path, change):
    torch.save({"a": change(WEIGHTS["a"])}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"w\.pth|^a is a sparse"):
        read_weight_file(tmp_path / "w.pth")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_file_is_refused(tmp_path: Path, make):
    make(tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"w\.pth is a .*; give the path of a weight file"):
        read_weight_file(tmp_path / "w.pth")


def test_weights_are_finite_floating_point_numbers(tmp_path: Path):
    require_numbers(WEIGHTS, path=tmp_path)
    with pytest.raises(UserError, match=r"a is torch\.int64, not floating point"):
        require_numbers({"a": torch.arange(3)}, path=tmp_path)
    with pytest.raises(UserError, match="NaN or infinite weights in a"):
        require_numbers({"a": torch.tensor([torch.nan])}, path=tmp_path)


def test_an_archive_without_checksums_is_read(tmp_path: Path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(WEIGHTS, tmp_path / "w.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert equal(read_weight_file(tmp_path / "w.pth"), WEIGHTS)
