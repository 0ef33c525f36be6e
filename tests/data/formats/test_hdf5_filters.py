import importlib.util
from pathlib import Path

import h5py
import numpy as np
import pytest

from jepawm.data.formats.hdf5 import opened
from jepawm.errors import UserError

PRESENT = importlib.util.find_spec("hdf5plugin") is not None
FILTERS = {32001: "Blosc", 32015: "Zstandard", 32004: "LZ4", 32008: "Bitshuffle", 307: "bzip2"}


def compressed(file: Path, number: int) -> None:
    """Write a data set that says it is compressed by a filter; where that is not here, no content."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((4, 8, 8, 3))
    plist.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (0, 0, 0, 0, 5, 1, 1))
    with h5py.File(file, "w") as content:
        space = h5py.h5s.create_simple((4, 8, 8, 3))
        h5py.h5d.create(content.id, b"frames", h5py.h5t.STD_U8LE, space, plist)


@pytest.mark.skipif(PRESENT, reason="hdf5plugin is installed")
@pytest.mark.parametrize("number", FILTERS)
def test_filters_of_hdf5plugin_are_named(tmp_path: Path, number: int):
    compressed(tmp_path / "a.h5", number)
    with opened(tmp_path / "a.h5", root=tmp_path) as content:
        assert content.cameras() == ["frames"]
        message = rf"/frames is compressed by {FILTERS[number]} \(filter {number}\).*pip install"
        with pytest.raises(UserError, match=message):
            content.dataset("frames")


def test_an_unknown_filter_is_named_too(tmp_path: Path):
    compressed(tmp_path / "a.h5", 40123)
    with opened(tmp_path / "a.h5", root=tmp_path) as content:
        with pytest.raises(UserError, match=r"filter 40123\).*h5repack -f NONE removes it"):
            content.dataset("frames")


@pytest.mark.parametrize("name", ["Blosc", "Zstd", "LZ4", "Bitshuffle", "BZip2"])
def test_with_hdf5plugin_the_frames_are_read(tmp_path: Path, make_frames, name: str):
    plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "a.h5", "w") as content:
        content.create_dataset("frames", data=make_frames(0, 4), **getattr(plugin, name)())
    with opened(tmp_path / "a.h5", root=tmp_path) as content:
        assert np.array_equal(content.dataset("frames")[()], make_frames(0, 4))


@pytest.mark.parametrize("name", ["gzip", "lzf"])
def test_what_hdf5_brings_along_needs_nothing(tmp_path: Path, make_frames, name: str):
    with h5py.File(tmp_path / "a.h5", "w") as content:
        content.create_dataset("frames", data=make_frames(0, 4), compression=name)
    with opened(tmp_path / "a.h5", root=tmp_path) as content:
        assert np.array_equal(content.dataset("frames")[()], make_frames(0, 4))
