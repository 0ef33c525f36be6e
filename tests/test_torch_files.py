"""Files of torch: what comes back, and what is refused."""

import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm.errors import UserError
from jepawm.torch_files import load_tensors


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_tensors_come_back(tmp_path: Path):
    content = {"a": torch.arange(6).reshape(2, 3), "b": [1, "x", torch.zeros(0, 3)]}
    for new in (True, False):
        torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=new)
        for mapped in (False, True):
            found = load_tensors(tmp_path / "x.pth", mapped=mapped)
            assert isinstance(found, dict)
            assert torch.equal(found["a"], content["a"])
            assert found["b"][:2] == [1, "x"]
    torch.save(torch.zeros(1).expand(500), tmp_path / "x.pth")
    assert load_tensors(tmp_path / "x.pth").shape == (500,)  # pyright: ignore[reportAttributeAccessIssue] (a tensor)


def itself() -> list[object]:
    content: list[object] = [torch.zeros(2)]
    content.append(content)
    return content


def test_containers_of_any_depth_end(tmp_path: Path):
    torch.save(itself(), tmp_path / "x.pth")
    load_tensors(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.eye(3).to_sparse(), "sparse"),
        (torch.eye(3).to_sparse_csr(), "sparse"),
        (torch.zeros(3, dtype=torch.complex64), "complex"),
        (torch.zeros(1).expand(10**12), "claims"),
        (torch.zeros(3, device="meta"), "meta"),
    ],
)
def test_only_dense_real_tensors(tmp_path: Path, tensor: torch.Tensor, message: str):
    torch.save({"a": [tensor]}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=message):
        load_tensors(tmp_path / "x.pth")


@pytest.mark.filterwarnings("ignore")
def test_quantised_tensors_are_refused(tmp_path: Path):
    tensor = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8)
    torch.save(tensor, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x\.pth"):
        load_tensors(tmp_path / "x.pth")


def test_nothing_is_unpacked_into_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Torch takes zeros for an empty tar archive, and unpacks such files."""
    monkeypatch.setattr(tarfile, "open", None)
    with tarfile.TarFile(tmp_path / "a.pth", "w") as archive:
        archive.add(tmp_path / "a.pth", "storages")
    (tmp_path / "b.pth").write_bytes(bytes(5000))
    (tmp_path / "c.pth").write_bytes(b"")
    for name in ("a", "b", "c"):
        with pytest.raises(UserError, match=rf"{name}\.pth is damaged or no file of tensors"):
            load_tensors(tmp_path / f"{name}.pth")


def test_a_flipped_bit_in_a_tensor_is_noticed(tmp_path: Path):
    file = tmp_path / "x.pth"
    torch.save(torch.ones(1000), file)
    content = bytearray(file.read_bytes())
    content[content.index(np.ones(10, np.float32).tobytes()) + 5] ^= 4
    file.write_bytes(bytes(content))
    with pytest.raises(UserError, match="checksum"):
        load_tensors(file)


def test_a_tensor_is_no_larger_than_its_record(tmp_path: Path):
    """The size in the pickle is believed by torch, which then reads what lies behind in memory."""
    torch.save(torch.ones(1000), tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    pickled = next(name for name in members if name.endswith("data.pkl"))
    assert members[pickled].count(struct.pack("<H", 1000)) == 2
    members[pickled] = members[pickled].replace(struct.pack("<H", 1000), struct.pack("<H", 9000))
    with pytest.raises(UserError, match=r"y\.pth"):
        load_tensors(zipped(tmp_path / "y.pth", members))


def test_what_is_no_file_of_tensors(tmp_path: Path):
    (tmp_path / "a.pth").write_bytes(b"")
    (tmp_path / "b.pth").write_bytes(b"hello")
    zipped(tmp_path / "c.pth", {"x": b"y"})
    torch.save(np.random.default_rng(0), tmp_path / "d.pth")
    for name in "abcd":
        with pytest.raises(UserError, match=f"{name}.pth is damaged or no file of tensors"):
            load_tensors(tmp_path / f"{name}.pth")
