import json
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr

from jepawm.data.checking import Requirements
from jepawm.data.formats import open_source, recognise
from jepawm.data.importing import ImportOptions, check_source, import_source
from jepawm.data.recording import ReadOptions, Source
from jepawm.errors import UserError

ENDS = (3, 7)


def columns() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "img": generator.integers(0, 256, (7, 8, 8, 3), dtype=np.uint8),
        "action": generator.normal(size=(7, 2)).astype(np.float32),
        "agent_pos": generator.normal(size=(7, 2)).astype(np.float32),
        "state": generator.normal(size=(7, 5)),
    }


def write(
    place: Path, rows: dict[str, np.ndarray], *, version: int = 2, ends: tuple[int, ...] = ENDS
) -> Path:
    packed = place.name.endswith(".zip")
    store = zarr.storage.ZipStore(place, mode="w") if packed else zarr.storage.LocalStore(place)
    buffer = zarr.open_group(store, mode="w", zarr_format=version)
    for name, one in rows.items():
        chunks = tuple(min(size, 5) for size in one.shape)  # cuts pictures and episodes
        buffer.create_array(f"data/{name}", data=one, chunks=chunks)
    buffer.create_array("meta/episode_ends", data=np.array(ends))
    store.close()
    return place


def source(path: Path, **options: str) -> Source:
    return open_source(path, name=None, options=ReadOptions(**options))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", ["pusht.zarr", "dataset.zarr.zip"])
@pytest.mark.parametrize("floats", [False, True])
def test_read_back_bit_for_bit(tmp_path: Path, name: str, version: int, floats: bool):
    rows = columns()
    kept = rows | {"img": rows["img"].astype(np.float32)} if floats else rows
    write(tmp_path / name, kept, version=version)
    imported = import_source(
        source(tmp_path),
        tmp_path / "store",
        options=ImportOptions(image_size=8),
        requirements=Requirements(),
        read_options=ReadOptions(),
    )
    store = imported.store
    np.testing.assert_array_equal(store.frames(np.arange(7)).transpose(0, 2, 3, 1), rows["img"])
    np.testing.assert_array_equal(store.actions, rows["action"])
    np.testing.assert_array_equal(store.proprio, rows["agent_pos"])
    np.testing.assert_array_equal(store.state, rows["state"])
    assert store.lengths.tolist() == [3, 4]


def test_colours_may_come_first(tmp_path: Path):
    rows = columns()
    place = write(tmp_path / "a.zarr", rows | {"img": rows["img"].transpose(0, 3, 1, 2)})
    frames = list(source(place).episodes[1].read().frames())
    np.testing.assert_array_equal(np.stack(frames), rows["img"][3:])


def test_what_umi_records_is_joined(tmp_path: Path):
    rows = {name: one for name, one in columns().items() if name in ("img", "action")}
    widths = {"robot0_gripper_width": 1, "robot0_eef_pos": 3, "robot0_eef_rot_axis_angle": 3}
    rows |= {name: np.full((7, width), width, np.float32) for name, width in widths.items()}
    place = write(tmp_path / "dataset.zarr.zip", rows)
    proprio = source(place).episodes[0].read().proprio
    assert proprio is not None
    assert proprio[0].tolist() == [3, 3, 3, 3, 3, 3, 1]


def test_proprioception_is_named_or_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    rows = columns()
    del rows["agent_pos"]
    place = write(tmp_path / "a.zarr", rows)
    assert source(place).episodes[0].read().proprio is None
    assert "--proprio-key takes some of: state" in caplog.text
    proprio = source(place, proprio_key="state").episodes[1].read().proprio
    np.testing.assert_array_equal(proprio, rows["state"][3:])


@pytest.mark.parametrize("ends", [(3, 8), (0, 7), (5, 3)])
def test_ends_that_do_not_fit_are_refused(tmp_path: Path, ends: tuple[int, ...]):
    place = write(tmp_path / "a.zarr", columns(), ends=ends)
    with pytest.raises(UserError, match="episode_ends are no rising ends of up to 7 rows"):
        source(place)


def test_other_buffers_are_refused_with_what_they_lack(tmp_path: Path):
    rows = columns()
    del rows["action"]
    place = write(tmp_path / "a.zarr", rows)
    problems = check_source(source(place), Requirements())
    assert "no column 'action'; choose among: agent_pos, img, state" in problems[0].message
    zarr.open_group(tmp_path / "b" / "a.zarr", mode="w").create_array("x", data=np.zeros(3))
    with pytest.raises(UserError, match="lacks meta/episode_ends"):
        source(tmp_path / "b")
    write(tmp_path / "b" / "c.zarr", columns())
    with pytest.raises(UserError, match="is of no known format"):
        recognise(tmp_path / "b")  # several


def test_chunks_that_are_not_there_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    place = write(tmp_path / "a.zarr", columns())
    (place / "data" / "action" / "1.0").unlink()
    source(place)
    assert "1 of 2 chunks of action are not there and read as zeros" in caplog.text


@pytest.mark.parametrize("version", [2, 3])
def test_a_chunk_cut_short_is_said_and_not_read_beyond_its_end(tmp_path: Path, version: int):
    place = tmp_path / "a.zarr"
    buffer = zarr.open_group(place, mode="w", zarr_format=version)
    blosc = numcodecs.Blosc() if version == 2 else zarr.codecs.BloscCodec()
    for name, rows in columns().items():
        buffer.create_array(f"data/{name}", data=rows, chunks=rows.shape, compressors=blosc)
    buffer.create_array("meta/episode_ends", data=np.array(ENDS))
    source(place)
    chunk = place / "data" / "action" / ("0.0" if version == 2 else "c/0/0")
    chunk.write_bytes(chunk.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"chunk data/action/.* is damaged \(.* copy it again"):
        source(place)


def test_a_size_that_the_files_cannot_hold_is_refused(tmp_path: Path):
    place = write(tmp_path / "a.zarr", columns())
    shape = json.loads((place / "data" / "img" / ".zarray").read_text())
    shape["shape"][0] = 10**9
    (place / "data" / "img" / ".zarray").write_text(json.dumps(shape))
    with pytest.raises(UserError, match=r"a\.zarr claims 192,000,000,000 bytes for img"):
        source(place)


def test_fractions_and_links_out_are_refused(tmp_path: Path):
    rows = columns()
    place = write(tmp_path / "a.zarr", rows | {"img": rows["img"].astype(np.float32) / 255})
    problems = check_source(source(place), Requirements())
    assert "fractions it seems; multiply by 255" in problems[0].message
    (tmp_path / "outside").write_bytes(b"secret")
    (place / "data" / "action" / "0.0").unlink()
    (place / "data" / "action" / "0.0").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="lies outside of the data set"):
        source(place)
