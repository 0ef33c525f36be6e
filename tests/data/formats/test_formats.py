"""What holds for every format: read as written, nothing wrong with it, recognised alone."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from jepawm.data.checking import Requirements
from jepawm.data.formats import FORMATS, get_format, open_source, recognise
from jepawm.data.importing import check_source
from jepawm.data.recording import ReadOptions, Recording
from jepawm.errors import UserError
from jepawm.testing import check_data_format


def read(written, episode: int) -> Recording:
    return open_source(written.path, name=None, options=ReadOptions()).episodes[episode].read()


def test_every_format_is_tested_here_or_beside(name: str, format_names: list[str]):
    assert set(FORMATS.names()) == {*format_names, "lerobot"}
    assert get_format(name).summary


def test_recognised_as_itself_alone(written, name: str):
    assert recognise(written.path) == name


def test_reads_as_written(written, name: str, make_frames):
    for episode, actions in enumerate(written.actions):
        recording = read(written, episode)
        assert recording.actions == pytest.approx(actions)
        proprio = written.proprio[episode]
        assert (recording.proprio is None) == (proprio is None)
        if proprio is not None:
            assert recording.proprio == pytest.approx(proprio)
        frames = np.stack(list(recording.frames()))
        truth = make_frames(episode, recording.num_frames)
        assert len(frames) == recording.count_frames() == recording.num_frames
        assert recording.num_frames - len(recording.actions) in (0, 1)
        error = np.abs(frames.astype(int) - truth)
        assert error.max() == 0 if written.exact_frames else error.mean() < 2


def test_nothing_is_wrong(written):
    source = open_source(written.path, name=None, options=ReadOptions())
    problems = check_source(source, Requirements())
    assert [problem.to_text() for problem in problems if problem.fatal] == []
    assert len(source.episodes) == len(written.actions)
    assert all(file.is_file() for file in source.files)


def test_keeps_the_contract(written, name: str):
    check_data_format(get_format(name), written.path)


def test_wrong_camera_lists_those_there_are(written, name: str):
    with pytest.raises(UserError, match="has no camera 'top'; by --camera choose among: "):
        open_source(written.path, name=name, options=ReadOptions(camera="top"))


def test_options_without_use_are_refused(written, name: str):
    if name not in (
        "deformable",
        "droid",
        "franka",
        "metaworld",
        "pointmaze",
        "pusht",
        "wall",
    ):
        pytest.skip("this format has columns to choose from")
    with pytest.raises(UserError, match="--proprio-key has no use here"):
        open_source(written.path, name=name, options=ReadOptions(proprio_key="state"))


def test_damaged_files_are_named(written):
    """Cut every file in half, one at a time: each time a message names it, or nothing is lost."""
    files = [path for path in sorted(written.path.rglob("*")) if path.is_file()]
    for file in files:
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        try:
            source = open_source(written.path, name=None, options=ReadOptions())
            texts = [problem.to_text() for problem in check_source(source, Requirements())]
        except UserError as error:
            texts = [str(error)]
        if file.suffix != ".csv":  # half of a text table is a shorter table
            assert any(file.name in text or str(written.path) in text for text in texts), file
        assert texts
        file.write_bytes(content)


@pytest.mark.parametrize("name", ["droid", "franka"], indirect=True)
@pytest.mark.parametrize("as_link", [False, True])
def test_a_damaged_first_file_leaves_the_format(written, name: str, as_link: bool):
    first = sorted(written.path.rglob("*.h5"))[0]
    if as_link:
        first.unlink()
        first.symlink_to("absent")  # not left out without a word
    else:
        first.write_bytes(b"no such thing")
    source = open_source(written.path, name=None, options=ReadOptions())
    bad = [one.episode for one in check_source(source, Requirements()) if one.fatal]
    assert (source.format, bad) == (name, ["episode 0"])
    assert all(file.is_file() for file in source.files)


@pytest.mark.parametrize("name", ["franka"], indirect=True)
def test_a_first_episode_without_pictures_does_not_speak_for_the_others(written, name):
    with h5py.File(sorted(written.path.rglob("*.h5"))[0], "a") as file:
        frames = file["episode_data/observation/exterior_image_2_left"][:]
        del file["episode_data/observation/exterior_image_2_left"]
        file["episode_data/observation/exterior_image_2_left"] = frames.astype(np.float32) * np.nan
    source = open_source(written.path, name=None, options=ReadOptions())
    assert source.cameras == ["exterior_image_2_left"]
    bad = [one.episode for one in check_source(source, Requirements()) if one.fatal]
    assert bad == ["episode 0"]


def test_empty_folder_is_no_data_set(tmp_path: Path):
    with pytest.raises(UserError, match="is of no known format; name one by --format"):
        open_source(tmp_path, name=None, options=ReadOptions())
    with pytest.raises(UserError, match="there is nothing at"):
        open_source(tmp_path / "absent", name=None, options=ReadOptions())
    with pytest.raises(UserError, match=r"unknown data format 'lerobo'; did you mean 'lerobot'"):
        open_source(tmp_path, name="lerobo", options=ReadOptions())


def test_named_formats_refuse_an_empty_folder(tmp_path: Path, name: str):
    with pytest.raises(UserError, match=str(tmp_path)):
        open_source(tmp_path, name=name, options=ReadOptions())
