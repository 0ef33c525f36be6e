from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest

from jepawm.data.formats.hdf5 import columns_of, joined, opened, read_frames
from jepawm.data.jpeg_frames import encode_png
from jepawm.errors import UserError

SECRET = np.full((4, 3), 9.0, np.float32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the folder of a data set, with a secret beside it."""
    (tmp_path / "set").mkdir()
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["rows"] = SECRET
    (tmp_path / "secret.bin").write_bytes(SECRET.tobytes())
    return tmp_path / "set"


@pytest.fixture
def file(root: Path) -> Path:
    with h5py.File(root / "a.h5", "w") as content:
        content["demo/rows"] = np.ones((4, 3), np.float32)
        content["demo/pixels"] = np.zeros((4, 8, 8, 3), np.uint8)
    return root / "a.h5"


def rows(file: Path, root: Path, name: str = "x") -> np.ndarray:
    with opened(file, root=root) as content:
        return content.group("demo").rows(name)


def external(file: Path, name: str, *, size: int = h5py.h5f.UNLIMITED) -> None:
    with h5py.File(file, "a") as content:
        content.create_dataset(
            "demo/x", shape=(4, 3), dtype="f4", external=[(name, 0, size)], data=None
        )


def virtual(file: Path, *names: str, path: str = "rows") -> None:
    layout = h5py.VirtualLayout(shape=(4 * len(names), 3), dtype="f4")
    for index, name in enumerate(names):
        source = h5py.VirtualSource(name, path, shape=(4, 3))
        layout[4 * index : 4 * index + 4] = source
    with h5py.File(file, "a") as content:
        content.create_virtual_dataset("demo/x", layout)


@pytest.mark.parametrize("is_whole", [True, False])
def test_external_storage_stays_in_the_data_set(
    file: Path, root: Path, is_whole: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(root)  # where HDF5 looks for what is not whole
    external(file, str(root.parent / "secret.bin") if is_whole else "../secret.bin")
    with pytest.raises(
        UserError,
        match=r"secret\.bin lies outside of the data set \(the external storage of /demo/x",
    ):
        rows(file, root)
    with pytest.raises(UserError, match="lies outside"), opened(file, root=root) as content:
        content.cameras()  # nor is it asked for its shape


def test_external_storage_beside_the_file_is_read(
    file: Path, root: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(root)
    (root / "own.bin").write_bytes(SECRET.tobytes())
    external(file, "own.bin")
    assert np.array_equal(rows(file, root), SECRET)
    (root / "own.bin").write_bytes(SECRET.tobytes()[:-1])
    with pytest.raises(UserError, match=r"own\.bin is shorter than the 48 bytes"):
        rows(file, root)
    (root / "own.bin").unlink()
    with pytest.raises(UserError, match=r"own\.bin is missing"):
        rows(file, root)


def test_virtual_data_sets_stay_in_the_data_set(file: Path, root: Path):
    virtual(file, str(root / "b.h5"), str(root.parent / "secret.h5"))
    with h5py.File(root / "b.h5", "w") as content:
        content["rows"] = SECRET
    with pytest.raises(UserError, match=r"secret\.h5 lies outside of the data set \(the virtual"):
        rows(file, root)


def test_virtual_data_sets_of_files_beside_are_read(file: Path, root: Path):
    (root / "more").mkdir()
    virtual(file, "more/b.h5", str(root / "more" / "b.h5"), ".", path="demo/rows")
    with pytest.raises(UserError, match=r"b\.h5 is missing"):  # HDF5 itself gives zeros
        rows(file, root)
    with h5py.File(root / "more" / "b.h5", "w") as content:
        content["demo/rows"] = SECRET
    expected = np.concatenate([SECRET, SECRET, np.ones((4, 3))])
    assert np.array_equal(rows(file, root), expected)


def test_a_virtual_data_set_of_a_virtual_one_that_leads_out(file: Path, root: Path):
    virtual(file, "b.h5", path="demo/x")
    virtual(root / "b.h5", str(root.parent / "secret.h5"))
    with pytest.raises(UserError, match=r"secret\.h5 lies outside"):
        rows(file, root)


def test_a_virtual_data_set_of_itself(file: Path, root: Path):
    virtual(file, ".", path="demo/x")
    with pytest.raises(UserError, match="leads through too many others"):
        rows(file, root)


def test_links_are_not_followed(file: Path, root: Path):
    with h5py.File(file, "a") as content:
        content["demo/x"] = h5py.SoftLink("/demo/x")
        content["demo/y"] = h5py.SoftLink("/demo/rows")
        content["demo/z"] = h5py.ExternalLink(str(root.parent / "secret.h5"), "rows")
        content["demo/w"] = h5py.ExternalLink("b.h5", "rows")
        content["demo/round"] = content["/"]
    for name in "xy":
        with pytest.raises(UserError, match=rf"/demo/{name} is a link to /demo/.*; put what"):
            rows(file, root, name)
    with pytest.raises(UserError, match=r"secret\.h5 lies outside .*\(the link /demo/z of"):
        rows(file, root, "z")
    with pytest.raises(UserError, match=r"/demo/w is a link to b\.h5:rows"):
        rows(file, root, "w")
    with opened(file, root=root) as content:
        assert sorted(content.datasets()) == ["demo/pixels", "demo/rows"]
        assert content.names() == ["demo"]


def test_sizes_are_compared_with_the_file(file: Path, root: Path):
    with h5py.File(file, "a") as content:
        content.create_dataset("demo/x", shape=(10**9, 2), dtype="f4", chunks=(1024, 2))
        content.create_dataset(
            "demo/y", shape=(2 * 10**7, 2), dtype="f4", chunks=(10**7, 2), compression="gzip"
        )
        big = {"chunks": (1, 3000, 3000, 3), "compression": "gzip"}
        content.create_dataset("demo/z", shape=(4, 30_000, 30_000, 3), dtype="u1", **big)
        content.create_dataset("demo/w", data=np.zeros((100_000, 3)), compression="gzip")
    for name, what in (("x", "8,000,000,000"), ("y", "160,000,000")):
        with pytest.raises(UserError, match=rf"a\.h5 claims {what} bytes for /demo/{name}"):
            rows(file, root, name)
    with pytest.raises(UserError, match="claims 10,800,000,000 bytes"):
        next(read_frames(file, "demo/z", root=root))
    assert rows(file, root, "w").shape == (100_000, 3)  # zeros are small


@pytest.mark.parametrize("chunks", [None, (3,)])
def test_sizes_of_pictures_are_compared_with_the_file(
    file: Path, root: Path, chunks: tuple[int] | None
):
    picture = np.frombuffer(encode_png(np.full((16, 16, 3), 7, np.uint8)), np.uint8)
    with h5py.File(file, "a") as content:
        data = content.create_dataset("x", 5, dtype=h5py.vlen_dtype(np.uint8), chunks=chunks)
        for index in range(5):
            data[index] = picture
    assert [int(frame.mean()) for frame in read_frames(file, "x", root=root)] == [7] * 5
    size = len(picture).to_bytes(4, "little")
    whole = bytearray(file.read_bytes())
    places = [at for at in range(len(whole)) if whole[at : at + 4] == size]
    entries = [
        at
        for at in places
        if whole[int.from_bytes(whole[at + 4 : at + 12], "little") :][:4] == b"GCOL"
    ]
    assert len(entries) == 5
    whole[entries[4] : entries[4] + 4] = b"\xff\xff\xff\xff"
    file.write_bytes(whole)
    with pytest.raises(UserError, match=r"a\.h5 claims 4,294,967,295 bytes for a picture of /x"):
        next(read_frames(file, "x", root=root))


def test_what_is_no_row_of_numbers(file: Path, root: Path):
    wrong = {
        "complex": np.ones((4, 2), np.complex64),
        "texts": ["a", "b"],
        "solid": np.zeros((4, 2, 2)),
        "single": 3.0,
        "none": h5py.Empty("f4"),
        "empty": np.zeros((0, 2)),
        "thin": np.zeros((4, 0)),
        "mixed": np.zeros(4, [("a", "f4")]),
    }
    with h5py.File(file, "a") as content:
        for name, value in wrong.items():
            content[f"demo/{name}"] = value
    for name in wrong:
        with pytest.raises(UserError, match=rf"a\.h5: /demo/{name} (is|holds)"):
            rows(file, root, name)
    with opened(file, root=root) as content, pytest.raises(UserError, match="lacks the group rows"):
        content.group("demo").group("rows")


def test_columns_of_several_lengths(file: Path, root: Path):
    with h5py.File(file, "a") as content:
        content["demo/x"] = np.ones((5, 2))
    with opened(file, root=root) as content:
        demo = content.group("demo")
        assert joined(demo, ["rows", "rows"]).shape == (4, 6)
        with pytest.raises(UserError, match=r"several lengths: rows \(4, 3\), x \(5, 2\)"):
            columns_of(demo, ["rows", "x"])


def test_texts(file: Path, root: Path):
    attributes = {"text": "\u00e9", "bytes": b"abc", "list": ["a", "b"], "one": ["a"], "number": 3}
    with h5py.File(file, "a") as content:
        content.attrs.update(attributes)
        content[b"n\xffme"] = 3.0
    with opened(file, root=root) as content:
        assert content.text("text") == "\u00e9"
        assert content.text("bytes") == "abc"
        assert content.text("one") == "a"
        assert content.text("absent") is None
        assert "n\\xffme" in content.names()
        for name in ("list", "number"):
            with pytest.raises(UserError, match=rf"attribute {name} of / is"):
                content.text(name)


def test_damage_is_one_message(file: Path, root: Path):
    """Flip bits anywhere: what h5py raises, of whatever kind, becomes a `UserError`."""
    whole = file.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), size=8):
            damaged[place] ^= 1 << int(random.integers(8))
        file.write_bytes(damaged)
        with suppress(UserError):  # anything else is not
            rows(file, root, "rows")
            list(read_frames(file, "demo/pixels", root=root))
            with opened(file, root=root) as content:
                content.cameras()
                content.columns()


def test_only_regular_files(root: Path):
    (root / "folder.h5").mkdir()
    (root / "nothing.h5").symlink_to("absent")
    for name, word in (("folder", "a folder"), ("nothing", "a link to nothing")):
        with pytest.raises(UserError, match=rf"{name}\.h5 is {word}"):
            rows(root / f"{name}.h5", root)
