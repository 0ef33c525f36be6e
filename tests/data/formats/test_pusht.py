from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm.data.checking import Requirements
from jepawm.data.formats import open_source, recognise
from jepawm.data.importing import ImportOptions, import_source
from jepawm.data.recording import ReadOptions, Source
from jepawm.errors import UserError


@pytest.fixture
def part(tmp_path: Path, make_mp4: Callable[..., Path], make_frames) -> Path:
    """A folder `train` as DINO-WM keeps it: two episodes of three and five frames."""
    path = tmp_path / "pusht_noise" / "train"
    path.mkdir(parents=True)
    rows = torch.arange(2 * 5 * 5, dtype=torch.float64).reshape(2, 5, 5)
    torch.save(rows, path / "states.pth")
    torch.save(rows[..., :2].float() + 100, path / "velocities.pth")
    torch.save(rows[..., :2].float(), path / "rel_actions.pth")
    torch.save(-rows[..., :2].float(), path / "abs_actions.pth")
    (path / "seq_lengths.pkl").write_bytes(b"\x80\x04]\x94(K\x03K\x05e.")
    for episode, length in enumerate((3, 5)):
        make_mp4(path / "obses" / f"episode_{episode:03d}.mp4", make_frames(episode, length))
    return path


def source(path: Path, **options: str) -> Source:
    return open_source(path, name=None, options=ReadOptions(**options))


def test_numbers_are_imported_bit_for_bit(part: Path, tmp_path: Path):
    imported = import_source(
        source(part),
        tmp_path / "store",
        options=ImportOptions(image_size=32),
        requirements=Requirements(),
        read_options=ReadOptions(),
    )
    store = imported.store
    rows = np.arange(50.0).reshape(2, 5, 5)
    states = np.concatenate([rows[0, :3], rows[1]])
    assert store.state is not None
    assert store.proprio is not None
    np.testing.assert_array_equal(store.state[:, :5], states)
    np.testing.assert_array_equal(store.state[:, 5:], states[:, :2] + 100)
    np.testing.assert_array_equal(store.proprio, store.state[:, [0, 1, 5, 6]].astype(np.float32))
    scaled = states[:, :2].astype(np.float32) / np.float32(100)
    np.testing.assert_array_equal(store.actions, scaled)
    assert store.lengths.tolist() == [3, 5]


def test_the_only_part_is_entered(part: Path):
    opened = source(part.parent)
    assert (opened.path, len(opened.episodes)) == (part, 2)
    part.rename(part.with_name("val"))
    assert source(part.parent).path == part.with_name("val")
    (part.parent / "train").mkdir()
    torch.save(torch.zeros(1, 2, 5), part.parent / "train" / "states.pth")
    with pytest.raises(UserError, match=r"holds several data sets; give .*train or .*val"):
        source(part.parent)


def test_velocities_may_be_left_out(part: Path):
    (part / "velocities.pth").unlink()
    assert recognise(part) == recognise(part.parent) == "pusht"
    recording = source(part).episodes[0].read()
    assert recording.state is not None
    assert recording.proprio is not None
    assert recording.state[1].tolist() == [5, 6, 7, 8, 9]
    assert recording.proprio[1].tolist() == [5, 6]
    (part / "velocities.pth").symlink_to("absent")  # not left out without a word
    with pytest.raises(UserError, match=r"velocities\.pth is a link to nothing"):
        source(part)


def test_positions_are_taken_where_they_are_named(part: Path):
    (part / "rel_actions.pth").unlink()
    with pytest.raises(UserError, match=r"lacks rel_actions\.pth; .*--action-key abs_actions"):
        source(part)
    recording = source(part, action_key="abs_actions").episodes[0].read()
    assert recording.actions[1].tolist() == pytest.approx([-0.05, -0.06])
