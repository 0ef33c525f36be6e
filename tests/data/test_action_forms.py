"""The form of a column is found: targets, motions, choices, what never changes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm.data.action_forms import with_forms
from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.windows import Windows
from jepawm.data.writer import EpisodeWriter
from jepawm.errors import UserError

LENGTH = 60


def write(path: Path, *, discrete: bool = False, proprio: bool = True) -> EpisodeStore:
    """Episodes of a smooth target with a lagging joint, its motion, noise about the joint, a constant."""
    settings = {"discrete_actions": 2} if discrete else {}
    with EpisodeWriter(path, environment="arm", image_size=4, settings=settings) as writer:
        for episode in range(4):
            generator = np.random.default_rng(episode)
            t = np.arange(LENGTH)
            target = 10 * np.sin(0.11 * t + episode)
            joint = 10 * np.sin(0.11 * (t - 1) + episode)
            motion = np.diff(joint, append=joint[-1])
            beside = joint + generator.choice([-2.0, 2.0], LENGTH)
            actions = np.stack([target, motion, beside, np.full(LENGTH, 3.0)], 1)
            writer.append(
                np.zeros((LENGTH, 3, 4, 4), np.uint8),
                actions.astype(np.float32),
                proprio=joint[:, None].astype(np.float32) if proprio else None,
            )
    return open_store(path)


def formed(store: EpisodeStore, asked=("auto",), *, frameskip: int = 1):
    plain = store.normalizer()
    return with_forms(plain, store, asked=asked, num_episodes=len(store), frameskip=frameskip)


def test_the_smallest_form_of_each_column_is_taken(tmp_path: Path):
    store = write(tmp_path / "s")
    found = formed(store)
    commands = found.commands
    assert commands is not None
    assert commands.forms == ("difference", "absolute", "relative", "difference")
    assert commands.follows == (0, -1, 0, -1)
    assert commands.rest == ("repeat", "zero", "repeat", "repeat")
    assert found.action_mean.tolist()[0] == 0.0
    steps = np.diff(store.actions[:, 0].reshape(4, LENGTH))
    assert found.action_std[0] == pytest.approx(np.sqrt(np.square(steps).mean()), rel=1e-5)
    assert found.action_std[2] == pytest.approx(2.0, rel=1e-3)
    plain = store.normalizer()
    assert torch.equal(found.action_mean[1], plain.action_mean[1])
    assert torch.equal(found.action_std[1], plain.action_std[1])
    assert commands.std[0] == pytest.approx(plain.action_std[0].item())
    assert commands.high[0] == pytest.approx(store.actions[:, 0].max())
    assert commands.step[0] == pytest.approx(np.abs(steps).max(), rel=1e-6)


def test_without_proprioception_there_is_nothing_to_be_relative_to(tmp_path: Path):
    store = write(tmp_path / "s", proprio=False)
    commands = formed(store).commands
    assert commands is not None
    assert "relative" not in commands.forms
    assert commands.follows == (-1, -1, -1, -1)
    with pytest.raises(UserError, match="has none; choose difference"):
        formed(store, ("relative",))


def test_choices_stay_as_they_are_and_a_form_can_be_asked_for(tmp_path: Path):
    store = write(tmp_path / "s", discrete=True)
    commands = formed(store).commands
    assert commands is not None
    assert commands.is_absolute
    asked = ("relative", "difference", "absolute", "absolute")
    told = formed(store, asked).commands
    assert told is not None
    assert told.forms == asked
    with pytest.raises(UserError, match=r"has 2 forms, and the actions of .* 4 columns"):
        formed(store, ("auto", "absolute"))


def test_windows_hold_the_forms(tmp_path: Path):
    store = write(tmp_path / "s")
    found = formed(store, frameskip=2)
    raw = found.identity()
    assert raw.commands == found.commands
    cut = {"episodes": [1], "num_steps": 2, "frameskip": 2}
    windows = Windows(store, normalizer=raw, **cut)
    batch = windows.batch(torch.tensor([0, 5]))
    moves = batch.actions.reshape(2, 4, 4)
    first = LENGTH + np.array([0, 5])
    target, joint = store.actions[:, 0], store.proprio[:, 0]
    for row, start in enumerate(first):
        before = joint[start] if start == LENGTH else target[start - 1]
        wanted = np.diff(target[start : start + 4], prepend=before)
        assert moves[row, :, 0].tolist() == pytest.approx(wanted.tolist(), abs=1e-6)
        begins = np.repeat(joint[[start, start + 2]], 2)
        beside = store.actions[start : start + 4, 2] - begins
        assert moves[row, :, 2].tolist() == pytest.approx(beside.tolist(), abs=1e-6)
    again = found.commands.to_commands(
        moves[1, :2, :][None].double(),
        before=torch.from_numpy(store.actions[first[1] - 1].copy())[None].double(),
        proprio=torch.from_numpy(store.proprio[first[1]].copy())[None].double(),
        frameskip=2,
    )
    assert again[0].numpy() == pytest.approx(store.actions[first[1] : first[1] + 2], abs=1e-5)


def test_recorded_forms_change_nothing(tmp_path: Path):
    store = write(tmp_path / "s")
    cut = {"episodes": [0, 1], "num_steps": 2, "frameskip": 2}
    plain = Windows(store, normalizer=store.normalizer(), **cut)
    told = Windows(store, normalizer=formed(store, ("absolute",)), **cut)
    index = torch.tensor([0, 7, 30])
    assert torch.equal(plain.batch(index).actions, told.batch(index).actions)
