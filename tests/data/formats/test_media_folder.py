from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pytest

from jepawm.data.checking import Requirements
from jepawm.data.formats import open_source
from jepawm.data.importing import check_source
from jepawm.data.recording import ReadOptions
from jepawm.errors import UserError


@pytest.fixture
def folder(tmp_path: Path, make_frames, make_mp4) -> Path:
    """Two episodes of 6 and 9 frames at 10 frames per second."""
    names = ["a"] * 6 + ["b"] * 9
    table = {"episode": names, "action_x": [0.1 * row for row in range(15)]}
    pc.write_csv(pa.table(table), tmp_path / "actions.csv")
    make_mp4(tmp_path / "a.mp4", make_frames(0, 6))
    make_mp4(tmp_path / "b.mp4", make_frames(1, 9))
    return tmp_path


def _problems(path: Path) -> list[str]:
    source = open_source(path, name=None, options=ReadOptions())
    return [problem.to_text() for problem in check_source(source, Requirements())]


def test_good_folders_have_no_problems(folder: Path):
    assert _problems(folder) == []


def test_the_first_video_may_be_missing_or_damaged_as_any_other(folder: Path):
    content = (folder / "a.mp4").read_bytes()
    (folder / "a.mp4").write_bytes(content[:300])
    assert len(_problems(folder)) == 1
    assert "a.mp4 is truncated or damaged" in _problems(folder)[0]
    (folder / "a.mp4").unlink()
    assert len(_problems(folder)) == 1
    assert "episode a: " in _problems(folder)[0]
    assert "has no a.mp4 and no folder a/ of images; add it" in _problems(folder)[0]
    (folder / "b.mp4").unlink()
    with pytest.raises(UserError, match=r"holds no frames: there is no a\.mp4 and no folder a/"):
        open_source(folder, name=None, options=ReadOptions())


def test_another_frame_rate(folder: Path, make_frames, make_mp4):
    make_mp4(folder / "b.mp4", make_frames(1, 9), fps=15)
    problems = _problems(folder)
    assert len(problems) == 1
    assert "episode b: 15 frames per second, others have 10; " in problems[0]
