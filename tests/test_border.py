"""Foreign files at the border: kinds of files, places, claims, archives, tensors, texts."""

import errno
import io
import logging
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm.border import (
    foreign,
    inside,
    load_npz,
    plain_text,
    require_claim,
    require_inside,
    require_regular,
    show,
)
from jepawm.errors import UserError


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        require_regular(path)
    return str(error.value)


def test_only_regular_files_are_files(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "pipe")
    require_regular(tmp_path / "file")
    require_regular(tmp_path / "link")
    assert "is missing; copy it again" in refused(tmp_path / "absent")
    assert "is missing" in refused(tmp_path / "file" / "below")
    assert "is a folder, not a file" in refused(tmp_path / "folder")
    assert "is a link to nothing" in refused(tmp_path / "dangling")
    assert "is a pipe" in refused(tmp_path / "pipe")
    assert "is a device" in refused(Path(os.devnull))
    assert "cannot read" in refused(tmp_path / "circle")
    assert "cannot read" in refused(tmp_path / ("x" * 300))
    assert "is no path" in refused(tmp_path / "a\0b")


@pytest.mark.parametrize(
    "relative",
    [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "",
        None,
        7,
        ["a"],
        "a\0b",
        "\ud800",
        "x" * 300,
        "a/" * 2500,
    ],
)
def test_a_named_path_stays_inside(tmp_path: Path, relative: object):
    with pytest.raises(UserError, match=r"data_path of .*info\.json"):
        inside(tmp_path, relative, field="data_path", file=tmp_path / "info.json")


def test_a_named_path_may_be_missing_and_may_be_a_link_inside(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    file = tmp_path / "info.json"
    assert inside(tmp_path, "a/b.mp4", field="x", file=file) == tmp_path / "a" / "b.mp4"
    assert inside(tmp_path, "link/b.mp4", field="x", file=file) == tmp_path / "link" / "b.mp4"


def test_a_link_that_leads_out_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JEPAWM_DATA", str(tmp_path / "elsewhere"))
    data = tmp_path / "data"
    data.mkdir()
    (data / "out").symlink_to(tmp_path)
    (data / "circle").symlink_to("circle")
    with pytest.raises(UserError, match="lies outside of the data set"):
        inside(data, "out/secret", field="x", file=data / "info.json")
    with pytest.raises(UserError, match="lies outside of the data set"):
        require_inside(data, data / "out" / "secret")
    with pytest.raises(UserError, match="cannot follow"):
        require_inside(data, data / "circle" / "x")


def test_a_hugging_face_cache_leads_to_its_own_blobs_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("JEPAWM_DATA", str(tmp_path / "elsewhere"))
    repository = tmp_path / "hub" / "datasets--x"
    snapshot = repository / "snapshots" / "abc"
    (snapshot / "data").mkdir(parents=True)
    (snapshot / "data" / "a").symlink_to("../../../blobs/123")
    (snapshot / "data" / "b").symlink_to("../../../../../secret")
    require_inside(snapshot, snapshot / "data" / "a")
    with pytest.raises(UserError, match="lies outside"):
        require_inside(snapshot, snapshot / "data" / "b")


def test_links_within_the_data_root_of_the_user_are_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("JEPAWM_DATA", str(tmp_path))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").symlink_to("../big/a")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            require_inside(tmp_path / "data", tmp_path / "data" / "a")
    assert caplog.text.count("links lead out of the data set") == 1


def test_claims_are_compared_with_the_file(tmp_path: Path):
    file = tmp_path / "x"
    file.write_bytes(bytes(100))
    require_claim(100, file=file, what="rows")
    require_claim(10_000, file=file, what="rows", ratio=100.0)
    for claim in (101, -1, 10**15):
        with pytest.raises(UserError, match=r"x claims .* bytes for rows"):
            require_claim(claim, file=file, what="rows")
    require_claim(2**31, file="a stream", what="rows", ratio=1000.0, held=2**25)
    with pytest.raises(UserError, match="a stream claims"):
        require_claim(2**31, file="a stream", what="rows", ratio=1000.0, held=2**22)
    with pytest.raises(UserError, match="a stream claims"):
        require_claim(2**40, file="a stream", what="rows", held=2**41)


def test_what_a_library_raises_is_said_of_the_file():
    problems = (
        ValueError("bad\x1b[2J thing\nmore"),
        RecursionError(),
        MemoryError(),
        OverflowError("too large"),
        zipfile.BadZipFile("no zip"),
        OSError("no errno"),
        KeyError("x"),
        StopIteration(),
    )
    for problem in problems:
        with pytest.raises(UserError, match=r"a\.npz is damaged or no npz file") as error:
            with foreign(Path("a.npz"), "npz file"):
                raise problem
        assert "\x1b" not in str(error.value)
        assert "\n" not in str(error.value)
        assert error.value.__cause__ is problem


def test_errors_of_the_disk_and_own_errors_pass():
    for problem in (OSError(errno.ENOSPC, "full"), UserError("own"), KeyboardInterrupt()):
        with pytest.raises(type(problem)) as error:
            with foreign("x", "file"):
                raise problem
        assert error.value is problem


def test_foreign_texts_cannot_move_the_cursor():
    text = plain_text("a\x1b[2Jb\nc\u202ed\u2028e\x9bf \u00e4\u3000\U0001f600\ud800")
    assert text == "a\\x1b[2Jb\\nc\\u202ed\\u2028e\\x9bf \u00e4\u3000\U0001f600\\ud800"
    assert show("x" * 1000) != "x" * 1000
    assert show(None) == "None"
    assert show(torch.zeros(2)) == "of type Tensor"


def test_arrays_come_back_in_native_order(tmp_path: Path):
    arrays = {
        "a": np.arange(6, dtype=">f4").reshape(2, 3),
        "b": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "c": np.zeros((0, 3), np.uint8),
        "d": np.array("text"),
        "e": np.array(3.5),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", allow_pickle=False, **arrays)
        found = load_npz(tmp_path / "x.npz")
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype.isnative
    assert list(load_npz(tmp_path / "x.npz", ["e"])) == ["e"]
    with pytest.raises(UserError, match="lacks z; it has: a, b, c, d, e"):
        load_npz(tmp_path / "x.npz", ["e", "z"])


def npy(header: str, content: bytes = b"") -> bytes:
    body = header.ljust(118).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body + content


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


F4 = "{{'descr': '<f4', 'fortran_order': False, 'shape': {}, }}"


@pytest.mark.parametrize(
    "shape", ["(1000000000000,)", "(3,)", "(-1,)", "(2, -2)", "(1.5,)", "2", "None", "(10**4,)"]
)
def test_the_shape_of_an_array_is_compared_with_its_bytes(tmp_path: Path, shape: str):
    file = zipped(tmp_path / "x.npz", {"a.npy": npy(F4.format(shape), bytes(8))})
    with pytest.raises(UserError, match=r"x\.npz"):
        load_npz(file)


def test_archives_that_are_no_files_of_arrays(tmp_path: Path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "objects.npz", a=np.array([{}, None]))
    np.savez(tmp_path / "table.npz", a=np.zeros(2, dtype=[("x", "f4")]))
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    zipped(tmp_path / "deep.npz", {"a.npy": npy("(" * 4000)})
    bomb = zipped(tmp_path / "bomb.npz", {"a.npy": bytes(10**6)}, zipfile.ZIP_BZIP2)
    messages = {
        "one": "is one array",
        "empty": "damaged or no npz",
        "objects": "holds Python objects",
        "table": "holds values of type",
        "deep": r"deep\.npz",
    }
    for name, message in messages.items():
        with pytest.raises(UserError, match=message):
            load_npz(tmp_path / f"{name}.npz")
    assert load_npz(bomb) == {}


def patched(path: Path, offset: int, value: bytes) -> Path:
    """Change bytes of the first member in its own and in the archive's list of members."""
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    for start in (offset, entry + offset + 2):
        content[start : start + len(value)] = value
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (6, b"\x01\x00", "is encrypted"),
        (8, b"\x63\x00", "unknown method"),
        (14, b"\x00\x00\x00\x00", "CRC|damaged"),
        (22, b"\xff\xff\xff\x7f", "claims"),
    ],
)
def test_members_are_checked_before_they_are_read(
    tmp_path: Path, offset: int, value: bytes, message: str
):
    np.savez(tmp_path / "x.npz", a=np.arange(100))
    with pytest.raises(UserError, match=message):
        load_npz(patched(tmp_path / "x.npz", offset, value))


def test_a_name_is_in_an_archive_once(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for _ in range(2):
            with pytest.warns() if archive.namelist() else io.BytesIO():
                archive.writestr("a.npy", npy(F4.format("(2,)"), bytes(8)))
    with pytest.raises(UserError, match="twice"):
        load_npz(tmp_path / "x.npz")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs the files of Linux")
def test_a_link_to_what_is_on_no_disk_is_not_followed(tmp_path: Path):
    (tmp_path / "a").symlink_to("/proc/self/mem")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    for name in "ab":
        with pytest.raises(UserError, match="is no file of a disk, but /proc/"):
            require_regular(tmp_path / name)
    (tmp_path / "c").write_text("x")
    (tmp_path / "d").symlink_to(tmp_path / "c")
    require_regular(tmp_path / "d")
