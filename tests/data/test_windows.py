import logging

import numpy as np
import pytest
import torch

from jepawm.data.episodes import EpisodeStore
from jepawm.data.windows import (
    Windows,
    action_blocks,
    frame_indices,
    hold_out,
    permute,
    split_episodes,
    window_table,
)
from jepawm.errors import UserError
from jepawm.normalizer import Normalizer


def _windows(store: EpisodeStore, *, episodes=(0, 1, 2), num_steps=2, frameskip=2, normalizer=None):
    identity = Normalizer.from_statistics(action_mean=[0.0, 0.0], action_std=[1.0, 1.0])
    return Windows(
        store,
        episodes=list(episodes),
        num_steps=num_steps,
        frameskip=frameskip,
        normalizer=normalizer or identity,
    )


def test_window_table_lists_all_starts_in_order():
    table = window_table([4, 2, 3], span=3)
    assert table.tolist() == [[0, 0, 3], [0, 1, 4], [2, 0, 3]]
    assert window_table([2, 1], span=3).shape == (0, 3)
    assert window_table([], span=3).shape == (0, 3)


def test_permute_is_torch_randperm():
    table = window_table([12], span=3)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(5)).numpy()
    assert np.array_equal(permute(table, 5), table[order])


def test_frame_indices():
    frames = frame_indices(np.array([3, 10]), num_frames=3, frameskip=5)
    assert frames.tolist() == [[3, 8, 13], [10, 15, 20]]


def test_action_blocks_join_in_order_of_time():
    actions = torch.arange(8.0).reshape(4, 2)
    blocks = action_blocks(actions, num_blocks=2, frameskip=2)
    assert blocks.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    added = action_blocks(actions, num_blocks=2, frameskip=2, process_actions="sum")
    assert added.tolist() == [[2, 4], [10, 12]]


def test_action_blocks_skip_actions():
    actions = torch.arange(8.0).reshape(8, 1)
    kept = action_blocks(actions, num_blocks=2, frameskip=4, action_skip=2)
    assert kept.tolist() == [[0, 2], [4, 6]]
    fewer = action_blocks(actions, num_blocks=4, frameskip=2, action_skip=4)
    assert fewer.tolist() == [[0], [4]]
    with pytest.raises(UserError, match="do not divide into 4 blocks"):
        action_blocks(torch.zeros(20, 1), num_blocks=4, frameskip=5, action_skip=2)


def test_batch_holds_frames_and_the_actions_between_them(store: EpisodeStore):
    windows = _windows(store)  # 2 steps x frameskip 2: 5 frames
    assert windows.table.tolist() == [
        [0, 0, 5], [0, 1, 6], [1, 0, 5], [1, 1, 6], [1, 2, 7], [1, 3, 8], [1, 4, 9],
    ]  # fmt: skip
    batch = windows.batch(torch.tensor([1, 6]))
    assert batch.obs.pixels.shape == (2, 3, 3, 4, 4)
    assert batch.obs.pixels[:, :, 0, 0, 0].tolist() == [[1, 3, 5], [24, 26, 28]]
    assert batch.actions.tolist() == [
        [[1, 0, 2, 0], [3, 0, 4, 0]],
        [[4, -1, 5, -1], [6, -1, 7, -1]],
    ]
    assert windows.states(torch.tensor([6])).tolist() == [[[1, 4], [1, 6], [1, 8]]]


def test_batch_normalizes_actions_and_proprio(store: EpisodeStore):
    normalizer = Normalizer.from_statistics(
        action_mean=[1.0, 0.0],
        action_std=[2.0, 1.0],
        proprio_mean=[0.0, 0.0, 1.0],
        proprio_std=[1.0, 1.0, 4.0],
    )
    batch = _windows(store, normalizer=normalizer).batch(torch.tensor([6]))
    assert batch.actions.tolist() == [[[1.5, -1, 2, -1], [2.5, -1, 3, -1]]]
    assert batch.obs.proprio is not None
    assert batch.obs.proprio.tolist() == [[[4, 1, 0.75], [6, 1, 1.25], [8, 1, 1.75]]]


def test_windows_of_chosen_episodes_only(store: EpisodeStore):
    windows = _windows(store, episodes=(2, 1), num_steps=3, frameskip=1)
    assert windows.table[:, 0].tolist() == [2, 1, 1, 1, 1, 1, 1]
    batch = windows.batch(torch.arange(len(windows)))
    assert batch.obs.pixels[:, 0, 0, 0, 0].tolist() == [40, 20, 21, 22, 23, 24, 25]


def test_short_episodes_are_left_out_and_counted(
    store: EpisodeStore, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING):
        windows = _windows(store, num_steps=3, frameskip=2)
    assert set(windows.table[:, 0].tolist()) == {1}
    assert windows.num_short_episodes == 2
    assert "2 of 3 episodes are shorter than a window of 7 frames" in caplog.text


def test_window_longer_than_every_episode(store: EpisodeStore):
    with pytest.raises(
        UserError, match=r"needs 11 frames \(10 raw steps\), the longest of 3 episodes has 9"
    ):
        _windows(store, num_steps=5, frameskip=2)


def test_longest_possible_window(store: EpisodeStore):
    assert len(_windows(store, num_steps=4, frameskip=2)) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"episodes": ()}, "no episodes"),
        ({"episodes": (0, 3)}, "0 to 2"),
        ({"num_steps": 0}, "at least 1"),
        ({"frameskip": 0}, "at least 1"),
    ],
)
def test_bad_numbers(store: EpisodeStore, options, message: str):
    with pytest.raises(UserError, match=message):
        _windows(store, **options)


def test_random_batches_agree_with_slices(make_store):
    store = make_store((11, 3, 8, 20, 5))
    windows = _windows(store, episodes=range(5), num_steps=2, frameskip=3)
    batch = windows.batch(torch.randperm(len(windows)))
    order = torch.randperm(len(windows))
    batch = windows.batch(order)
    for row, index in enumerate(order.tolist()):
        episode, start, end = windows.table[index]
        first = store.starts[episode]
        assert np.array_equal(batch.obs.pixels[row], store.pixels[first + start : first + end : 3])
        raw = store.actions[first + start : first + end - 1]
        assert np.array_equal(batch.actions[row].numpy(), raw.reshape(2, 6))


def test_split_matches_the_reference_numbers():
    train, val = split_episodes(50, train_fraction=0.9, seed=234)  # golden/train_val_split
    assert train[:10].tolist() == [20, 33, 38, 35, 19, 0, 45, 23, 40, 43]
    assert val.tolist() == [27, 3, 13, 10, 32]
    train, val = split_episodes(7, train_fraction=0.5, seed=0)
    assert (len(train), len(val)) == (3, 4)
    assert sorted([*train, *val]) == list(range(7))
    with pytest.raises(UserError, match=r"1\.5 must be between 0 and 1"):
        split_episodes(7, train_fraction=1.5, seed=0)


def test_the_last_episodes_are_held_out():
    seen, held_out = hold_out(5, num_held_out=2)
    assert (seen.tolist(), held_out.tolist()) == ([0, 1, 2], [3, 4])
    assert len(hold_out(5, num_held_out=0)[1]) == 0


@pytest.mark.parametrize("count", [-1, 5])
def test_some_episodes_must_be_left(count: int):
    with pytest.raises(UserError, match=r"held_out = .* 0 to 4"):
        hold_out(5, num_held_out=count)
