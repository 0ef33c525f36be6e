from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm.data.checking import Requirements
from jepawm.data.formats import open_source
from jepawm.data.formats.padded_tensors import load_array, rows_of_episode
from jepawm.data.importing import check_source
from jepawm.data.recording import ReadOptions
from jepawm.errors import UserError


class Anything:
    pass


def test_tensors_and_lists(tmp_path: Path):
    torch.save(torch.arange(4), tmp_path / "a.pth")
    torch.save([3, 5], tmp_path / "b.pth")
    assert load_array(tmp_path, "a.pth").tolist() == [0, 1, 2, 3]
    assert load_array(tmp_path, "b.pth").tolist() == [3, 5]


def test_objects_are_not_loaded(tmp_path: Path):
    torch.save({"x": Anything()}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth is damaged or no file of tensors"):
        load_array(tmp_path, "a.pth")
    torch.save({"x": 1}, tmp_path / "b.pth")
    with pytest.raises(UserError, match=r"b\.pth holds a dict, not a tensor"):
        load_array(tmp_path, "b.pth")


# What `pickle.dumps` gives for [5, 300, 70000], by protocol, and for other things.
def test_rows_of_an_episode():
    rows = np.arange(24).reshape(2, 4, 3)
    assert rows_of_episode(rows, 1, length=2, file=Path("a")).tolist() == [
        [12, 13, 14],
        [15, 16, 17],
    ]
    for length in (0, -1):
        with pytest.raises(UserError, match=f"episode 1 has length {length}"):
            rows_of_episode(rows, 1, length=length, file=Path("a"))
    with pytest.raises(UserError, match="has no 5 rows for episode 1"):
        rows_of_episode(rows, 1, length=5, file=Path("a"))
    with pytest.raises(UserError, match="has no 2 rows for episode 2"):
        rows_of_episode(rows, 2, length=2, file=Path("a"))


@pytest.fixture
def wall(tmp_path: Path) -> Path:
    """Two episodes of four frames."""
    (tmp_path / "obses").mkdir()
    for name, width in (
        ("states", 2),
        ("actions", 2),
        ("door_locations", 1),
        ("wall_locations", 1),
    ):
        torch.save(torch.arange(8.0 * width).reshape(2, 4, width), tmp_path / f"{name}.pth")
    for episode in range(2):
        frames = torch.full((4, 3, 8, 8), 100.0)
        torch.save(frames, tmp_path / "obses" / f"episode_{episode:03d}.pth")
    return tmp_path


def problems(path: Path) -> list[str]:
    """List the problems of episodes, or what concerns all of them."""
    try:
        source = open_source(path, name="wall", options=ReadOptions())
        found = check_source(source, Requirements())
        return [f"{one.episode}: {one.to_text()}" for one in found if one.fatal]
    except UserError as error:
        return [f"all: {error}"]


FRAMES = torch.full((4, 3, 8, 8), 100.0)
BAD_FRAMES = {
    "nan": FRAMES * torch.nan,
    "one nan": torch.where(torch.arange(8) == 5, torch.nan, FRAMES),
    "-1 to 1": FRAMES / 100 * torch.tensor([-1.0, 1.0]).repeat(4),
    "fractions": FRAMES / 255,
    "too large": FRAMES * 3,
    "16 bit": FRAMES.int() * 256,
    "no rows": FRAMES[:, :, :0],
    "no frames": FRAMES[:0],
    "one colour": FRAMES[:, :1],
    "one frame": FRAMES[0],
    "a number": torch.tensor(3.0),
    "truth": FRAMES > 0,
    "none": None,
    "a text": "frames",
    "a list of lists": [[1, 2], [3]],
    "complex": FRAMES.to(torch.complex64),
    "sparse": FRAMES.to_sparse(),
    "huge": torch.zeros(1).expand(4, 3, 10**6, 10**6),
    "steps": FRAMES[:3],
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_frames_that_are_no_pictures_are_a_problem_of_their_episode(wall: Path, name: str):
    assert problems(wall) == []
    torch.save(BAD_FRAMES[name], wall / "obses" / "episode_001.pth")
    (found,) = problems(wall)
    assert found.startswith("episode 1: ")
    assert "episode_001.pth" in found


@pytest.mark.parametrize(
    "frames",
    [
        FRAMES.to(torch.uint8),
        FRAMES.to(torch.bfloat16),
        FRAMES.half(),
        FRAMES.long(),
        FRAMES.double().requires_grad_(),
        FRAMES[:1].expand(4, 3, 8, 8),
        FRAMES * 0,
        FRAMES * 2.55 + 0.3,
    ],
)
def test_frames_of_other_types_are_levels_too(wall: Path, frames: torch.Tensor):
    torch.save(frames, wall / "obses" / "episode_001.pth")
    assert problems(wall) == []
    source = open_source(wall, name="wall", options=ReadOptions())
    read = np.stack(list(source.episodes[1].read().frames()))
    assert read.dtype == np.uint8
    assert np.array_equal(read[0, 0, 0], frames[0, :, 0, 0].detach().float().round().numpy())


@pytest.mark.parametrize("name", ["states", "actions", "door_locations"])
@pytest.mark.parametrize(
    "content",
    [
        torch.zeros(2),
        torch.zeros(2, 3, 2),
        torch.zeros(3, 4, 1, 1)[:, :1],
        torch.zeros(2, 4, 2).bool(),
        torch.full((2, 4, 2), torch.inf, dtype=torch.float64),
        torch.full((2, 4, 2), torch.nan),
        [1.0, "x"],
        [[1.0], [2.0, 3.0]],
        (1.0, 2.0),
        None,
        3,
    ],
    ids=str,
)
def test_numbers_that_are_no_rows_of_steps(wall: Path, name: str, content: object):
    torch.save(content, wall / f"{name}.pth")
    assert problems(wall)


@pytest.mark.parametrize(
    ("lengths", "bad"),
    [
        (torch.tensor([4, 3]), ["episode 1"]),
        (torch.tensor([4, -3]), ["episode 1"]),
        (torch.tensor([0, 4]), ["episode 0"]),
        (torch.tensor([4, 10**15]), ["episode 1"]),
        (torch.tensor([4, 4, 4]), ["episode 2"]),
        (torch.tensor([4.0, 4.0]), []),
        (torch.tensor([4.0, torch.nan]), ["all"]),
        (torch.tensor([4.5, 4.0]), ["all"]),
        (torch.tensor(4), ["all"]),
        ([4, 4], []),
        ([4, None], ["all"]),
        ([4, 1e300], ["all"]),
        ({"a": 4}, ["all"]),
    ],
    ids=str,
)
def test_lengths_are_whole_numbers(wall: Path, lengths: object, bad: list[str]):
    torch.save(lengths, wall / "seq_lengths.pth")
    assert [text.split(":")[0] for text in problems(wall)] == bad, problems(wall)
