from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm.data.joining import join_stores
from jepawm.data.mixture import mixture_of
from jepawm.data.windows import Windows
from jepawm.data.writer import EpisodeWriter
from jepawm.errors import UserError
from jepawm.training.devices import ComputeConfig, Devices
from jepawm.training.optim import OptimConfig
from jepawm.training.train import _parts


def write(path: Path, make_episode, *, lengths: tuple[int, ...]) -> Path:
    with EpisodeWriter(path, environment="toy", image_size=4, settings={}) as writer:
        for seed, length in enumerate(lengths):
            arrays = make_episode(seed, length)
            writer.append(arrays["pixels"], arrays["actions"], proprio=arrays["proprio"])
    return path


def windows_of(store, *, episodes) -> Windows:
    normalizer = store.normalizer()
    return Windows(store, episodes=episodes, num_steps=1, frameskip=1, normalizer=normalizer)


@pytest.fixture
def parts(tmp_path: Path, make_episode) -> tuple[Path, Path]:
    """A store of 30 windows and one of 4."""
    large = write(tmp_path / "large", make_episode, lengths=(11, 11, 11))
    return large, write(tmp_path / "small", make_episode, lengths=(3, 3))


def test_windows_are_drawn_by_the_weight_of_their_data_set(parts, tmp_path: Path):
    store = join_stores(parts, tmp_path / "both", weights=(1.0, 3.0))
    windows = windows_of(store, episodes=range(5))
    mixture = mixture_of(windows)
    assert mixture is not None
    drawn = mixture.draw(4000, generator=torch.Generator().manual_seed(0))
    small = (windows.table[drawn.numpy(), 0] >= 3).mean()
    assert abs(small - 0.75) < 0.03
    assert set(drawn.tolist()) == set(range(34))


def test_training_draws_from_the_mixture_the_same_at_every_call(parts, tmp_path: Path):
    store = join_stores(parts, tmp_path / "both", weights=(1.0, 9.0))
    windows = windows_of(store, episodes=range(5))
    devices = Devices(ComputeConfig(), device="cpu")
    optim = OptimConfig(batch_size=64, num_steps=4)
    first, again = (
        [part.indices.tolist() for part in _parts(windows, steps, optim, devices, seed=0)]
        for steps in (range(4), range(2, 4))
    )
    assert first[2:] == again
    small = np.mean([windows.table[one, 0] >= 3 for one in first])
    assert small > 0.8


def test_a_data_set_without_windows_is_left_out(parts, tmp_path: Path):
    store = join_stores(parts, tmp_path / "both", weights=(1.0, 3.0))
    mixture = mixture_of(windows_of(store, episodes=[0, 1]))
    assert mixture is not None
    assert mixture.shares.tolist() == [1.0]


def test_without_weights_each_window_counts_once(parts, tmp_path: Path):
    store = join_stores(parts, tmp_path / "both")
    assert mixture_of(windows_of(store, episodes=range(5))) is None


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0), (1.0, float("nan")), (1.0, 2.0, 3.0)])
def test_other_weights_are_refused(parts, tmp_path: Path, weights: tuple[float, ...]):
    with pytest.raises(UserError, match="give one number above 0 for each of the 2 stores"):
        join_stores(parts, tmp_path / "both", weights=weights)
