"""What a map to texts learns: the loss on hand-made vectors, which frames are which, retrieval."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import jepawm
from jepawm.collection import collect
from jepawm.data.episodes import open_store
from jepawm.data.windows import Windows
from jepawm.data.writer import EpisodeWriter
from jepawm.envs import RECORDINGS
from jepawm.errors import UserError
from jepawm.models.text import HashedWords
from jepawm.runs.caption_sources import find_captions
from jepawm.texts import TextConfig, TextHeadConfig
from jepawm.training.parts import PartHooks
from jepawm.training.texts import (
    _ranked,
    contrastive_loss,
    new_text_head,
    retrieve,
    train_text_head,
)

QUIET = PartHooks(log=lambda *_: None, save=lambda: None, stop=lambda: False)


def test_the_loss_is_that_of_a_coin_where_nothing_is_known():
    true = torch.eye(2, dtype=torch.bool)
    assert float(contrastive_loss(torch.zeros(2, 2), true)) == pytest.approx(math.log(2))


def test_true_pairs_do_not_push_each_other_away():
    """Frame 0 has two true sentences and a false one; the score of one leaves the other alone."""
    true = torch.tensor([[True, True, False], [False, False, True]])
    scores = torch.tensor([[5.0, -1.0, 0.0], [0.0, 0.0, 2.0]])

    def against(score: float, *false: float) -> float:
        return -score + math.log(math.exp(score) + sum(map(math.exp, false)))

    frames = ((against(5, 0) + against(-1, 0)) / 2 + against(2, 0, 0)) / 2
    sentences = (against(5, 0) + against(-1, 0) + against(2, 0)) / 3
    expected = 0.5 * (frames + sentences)
    assert float(contrastive_loss(scores, true)) == pytest.approx(expected, rel=1e-5)


def test_frames_and_sentences_without_a_partner_are_only_false():
    true = torch.tensor([[True, False], [False, False]])
    scores = torch.tensor([[1.0, 0.0], [3.0, 0.0]], requires_grad=True)
    loss = contrastive_loss(scores, true)
    expected = 0.5 * (math.log(1 + math.exp(-1.0)) + math.log(1 + math.exp(2.0)))
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert scores.grad is not None
    assert bool(scores.grad.isfinite().all())


def test_no_false_one_is_no_loss():
    scores = torch.zeros(2, 2, requires_grad=True)
    loss = contrastive_loss(scores, torch.ones(2, 2, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert scores.grad is not None
    assert bool(scores.grad.isfinite().all())


def test_ranks_are_the_chance_to_be_nearer():
    scores, true = torch.tensor([0.9, 0.1, 0.5, 0.2]), torch.tensor([True, False, False, True])
    assert _ranked(scores, true) == pytest.approx(3 / 4)
    assert _ranked(scores, torch.ones(4, dtype=torch.bool)) is None


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Windows:
    """Return pieces of two blocks of a few episodes, for the bundled model of Wall."""
    folder = tmp_path_factory.mktemp("texts") / "wall"
    store = collect("wall", path=folder, num_episodes=12, num_steps=20, image_size=64, seed=0)
    normalizer = jepawm.load("wall").normalizer
    episodes = range(1, len(store))
    return Windows(store, episodes=episodes, num_steps=2, frameskip=5, normalizer=normalizer)


def test_sentences_are_true_of_the_frames_after_blocks(windows: Windows):
    captions = find_captions(windows.store, "wall", image_size=64)
    data = captions.of(windows, "seen")
    assert data is not None
    index = torch.tensor([3, 7])
    states = windows.states(index)[:, 1:]
    for number in (0, 40, 100):
        place = captions.captions.sentences("seen")[number].place  # pyright: ignore[reportOptionalMemberAccess]
        np.testing.assert_array_equal(data.true(index)[..., number].numpy(), place.holds(states))


def test_it_learns_what_is_true(windows: Windows):
    model, encoder = jepawm.load("wall").model, HashedWords()
    captions = find_captions(windows.store, "wall", image_size=64)
    data = captions.of(windows, "seen")
    assert data is not None
    head = TextHeadConfig(width=32, depth=1)
    config = TextConfig(text="words", head=head, num_steps=40, batch_size=16, learning_rate=5e-3)
    state = new_text_head(model, data, encoder=encoder, config=config, seed=0)
    before = retrieve(state.head, model, data=data, encoder=encoder)
    train_text_head(state, model, data=data, config=config, seed=0, hooks=QUIET)
    after = retrieve(state.head, model, data=data, encoder=encoder)
    assert after.ranked > max(0.8, before.ranked)
    assert after.nearest_is_true > before.nearest_is_true
    assert state.step == 40


def test_tasks_of_recordings_are_said_of_their_end(tmp_path: Path):
    with EpisodeWriter(tmp_path / "store", environment="robot", image_size=16, settings={}) as out:
        for task in ("open", "", "close"):
            out.append(np.zeros((10, 3, 16, 16), np.uint8), np.ones((9, 2), np.float32), task=task)
    store = open_store(tmp_path / "store")
    normalizer = jepawm.Normalizer.from_statistics(action_mean=[0.0, 0.0], action_std=[1.0, 1.0])
    windows = Windows(store, episodes=range(3), num_steps=2, frameskip=2, normalizer=normalizer)
    source = find_captions(store, RECORDINGS, image_size=16)
    data = source.of(windows, "seen")
    assert data is not None
    assert data.sentences == ("close", "open")
    assert data.holds[:, 1].nonzero().flatten().tolist() == [8, 9]
    assert data.holds[:, 0].nonzero().flatten().tolist() == [28, 29]
    assert source.of(windows, "paraphrases") is None
    assert source.describe(data)["kind"] == "tasks"


def test_a_store_of_which_nothing_is_said_is_refused(windows: Windows):
    with pytest.raises(UserError, match=r"has no captions: the environment recordings .* no tasks"):
        find_captions(windows.store, RECORDINGS, image_size=64)
