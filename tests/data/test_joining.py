"""Stores joined into one."""

from pathlib import Path

import numpy as np
import pytest

from jepawm.data.episodes import open_store
from jepawm.data.joining import join_stores
from jepawm.data.writer import EpisodeWriter
from jepawm.errors import UserError


def write(path: Path, *episodes: dict[str, np.ndarray], **options) -> Path:
    settings = {"environment": "toy", "image_size": 4, "settings": {}} | options
    with EpisodeWriter(path, **settings) as writer:
        for arrays in episodes:
            writer.append(
                arrays["pixels"],
                arrays["actions"],
                proprio=arrays["proprio"],
                state=arrays["state"],
                task=str(arrays.get("task", "")),
            )
    return path


def test_a_joined_store_is_one_written_at_once(tmp_path: Path, make_episode):
    first, second, third = make_episode(0, 5), make_episode(1, 3), make_episode(2, 4)
    third["task"] = "push it"
    padded = {**second, "actions": np.ones((3, 2), dtype=np.float32)}  # as many as frames
    parts = write(tmp_path / "a", first, padded), write(tmp_path / "b", third)
    joined = join_stores(parts, tmp_path / "all")
    whole = open_store(write(tmp_path / "whole", first, padded, third))
    assert joined.sha256 == whole.sha256
    assert joined.tasks == ("", "", "push it")
    assert joined.num_actions.tolist() == whole.num_actions.tolist()
    assert joined.manifest.statistics == whole.manifest.statistics
    assert joined.manifest.settings == {"joined": [open_store(part).sha256 for part in parts]}


def test_stores_that_differ_are_refused(tmp_path: Path, make_episode):
    one = write(tmp_path / "one", make_episode(0, 5))
    other = write(tmp_path / "other", make_episode(1, 3), environment="maze")
    with pytest.raises(UserError, match=r"environment = maze, and .*one has toy"):
        join_stores([one, other], tmp_path / "all")
    pictures = write(tmp_path / "pictures", make_episode(1, 3), pixels="jpeg")
    with pytest.raises(UserError, match="pictures holds JPEG pictures"):
        join_stores([one, pictures], tmp_path / "all")
    with pytest.raises(UserError, match="at least two"):
        join_stores([one], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_what_is_there_is_not_overwritten(tmp_path: Path, make_episode):
    one = write(tmp_path / "one", make_episode(0, 5))
    with pytest.raises(UserError, match="one"):
        join_stores([one, one], one)
