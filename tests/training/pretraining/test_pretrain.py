"""The loop: clips within episodes, resumption bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from jepawm.data.episodes import EpisodeStore
from jepawm.errors import UserError
from jepawm.training.optim import OptimConfig
from jepawm.training.pretraining.pretrain import (
    PretrainHooks,
    PretrainState,
    first_rows,
    new_pretraining,
    pretrain,
    pretraining_tensors,
    restore_pretraining,
)
from jepawm.training.pretraining.settings import ViTConfig, VJepaConfig

CONFIG = VJepaConfig(
    vit=ViTConfig(image_size=16, patch_size=8),
    num_frames=2,
    frameskip=3,
    depth=1,
    width=8,
    optim=OptimConfig(num_steps=6, batch_size=4, learning_rate=1e-3, warmup_steps=2),
)


def test_clips_stay_within_their_episode(windows):
    store = windows[0].store
    starts, length = store.starts[:2], int(store.lengths[0])
    rows = first_rows(store, num_frames=3, frameskip=4)
    assert len(rows) == len(store) * (length - 8)
    np.testing.assert_array_equal(rows[: length - 7], [*range(length - 8), starts[1]])
    with pytest.raises(UserError, match=r"has no episode of 97 frames.*lower --num-frames"):
        first_rows(store, num_frames=25, frameskip=4)


def run(store: EpisodeStore, state: PretrainState, *, until: int = 99) -> list[dict[str, float]]:
    logged: list[dict[str, float]] = []
    hooks = PretrainHooks(
        log=lambda step, metrics: logged.append({"step": step, **metrics}),
        save=lambda: None,
        stop=lambda: state.step >= until,
    )
    pretrain(state, store, config=CONFIG, hooks=hooks)
    return logged


@pytest.mark.usefixtures("one_thread")
def test_a_stopped_pretraining_goes_on_bit_for_bit(windows):
    store = windows[0].store
    whole = new_pretraining(CONFIG)
    before = whole.method.encoder.norm.bias.clone()
    (last,) = run(store, whole)
    assert last.keys() == {"step", "train/loss", "train/spread"}
    assert last["step"] == 6
    half = new_pretraining(CONFIG)
    run(store, half, until=3)
    assert half.step == 3
    tensors = {name: value.clone() for name, value in pretraining_tensors(half).items()}
    again = new_pretraining(replace(CONFIG, seed=5))
    restore_pretraining(again, tensors)
    run(store, again)
    ends = [one.method.state_dict() for one in (whole, again)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert not torch.equal(whole.method.encoder.norm.bias, before)


def test_the_state_of_another_method_is_refused():
    state = new_pretraining(CONFIG)
    with pytest.raises(UserError, match="the training state lacks student"):
        restore_pretraining(state, {"step": torch.tensor(0)})


def test_a_loss_that_is_no_number_stops_the_training(windows):
    state = new_pretraining(CONFIG)
    with torch.no_grad():
        state.method.encoder.norm.bias.fill_(float("nan"))
    with pytest.raises(UserError, match="the loss of the pretraining became nan at step 1"):
        run(windows[0].store, state)
