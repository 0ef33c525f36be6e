"""Batches read ahead are those that a step would read itself; errors come as they are."""

import gc
import multiprocessing
import os
import signal
import threading
from dataclasses import replace

import pytest
import torch

from jepawm.data.augmentation import AugmentationConfig
from jepawm.errors import UserError
from jepawm.training.batches import MOST_WORKERS, THREAD, Batches, Part, worker_count
from jepawm.training.devices import ComputeConfig, Devices
from jepawm.training.train import LoopConfig, LoopHooks, train

CPU = torch.device("cpu")
CHANGES = AugmentationConfig(shift=2, color=0.2, action_noise=0.1)


def parts(count: int) -> list[Part]:
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randint(20, (3,), generator=generator) for _ in range(count)]
    return [Part(seed=number, indices=draw) for number, draw in enumerate(draws)]


def flat(batch) -> list[torch.Tensor]:
    return [batch.obs.pixels, batch.obs.proprio, batch.actions]


def test_workers_change_neither_numbers_nor_order(windows):
    found = {}
    for num_workers in (0, 2):
        with Batches(
            windows[0], parts(7), augmentation=CHANGES, device=CPU, num_workers=num_workers
        ) as batches:
            found[num_workers] = [flat(batch) for batch in batches]
    assert len(found[0]) == len(found[2]) == 7
    for own, ahead in zip(found[0], found[2], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(own, ahead, strict=True))


def test_the_first_batch_is_that_of_its_windows(windows):
    part = parts(1)[0]
    with Batches(windows[0], [part], augmentation=AugmentationConfig(), device=CPU) as batches:
        assert torch.equal(next(batches).actions, windows[0].batch(part.indices).actions)
        assert batches.take_seconds_waited() > 0
        assert batches.take_seconds_waited() == 0


@pytest.mark.parametrize("num_workers", [0, 1])
def test_what_cannot_be_read_is_told_as_it_is(windows, num_workers):
    spoiled = windows[0].with_tokens(Unreadable())
    with (
        Batches(
            spoiled, parts(2), augmentation=CHANGES, device=CPU, num_workers=num_workers
        ) as batches,
        pytest.raises(UserError, match=r"^frame 3 is damaged$"),
    ):
        next(batches)


def test_leaving_early_ends_what_reads_ahead(windows):
    def taking() -> list[str]:
        return [one.name for one in threading.enumerate() if one.name.startswith(THREAD)]

    before = set(multiprocessing.active_children())
    with Batches(windows[0], parts(50), augmentation=CHANGES, device=CPU, num_workers=2) as batches:
        next(batches)
        assert len(taking()) == 1
    gc.collect()
    assert not taking()
    assert set(multiprocessing.active_children()) <= before


def test_a_killed_worker_is_one_message(windows):
    with Batches(
        windows[0], parts(400), augmentation=CHANGES, device=CPU, num_workers=1
    ) as batches:
        next(batches)
        (worker,) = multiprocessing.active_children()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(UserError, match=r"was killed.*loop\.num_workers"):
            for _ in batches:
                pass


def test_a_run_that_reads_ahead_ends_with_the_same_weights(make_state, tiny_experiment, windows):
    found = []
    for num_workers in (0, 2):
        state = make_state(tiny_experiment)
        train(
            state,
            windows[0],
            val_windows=windows[1],
            optim=replace(tiny_experiment.optim, encoder_steps=7),
            loop=replace(tiny_experiment.loop, num_workers=num_workers),
            hooks=LoopHooks(
                log=lambda *_: None,
                save=lambda: None,
                save_best=lambda: None,
                stop=lambda: False,
            ),
            seed=0,
            devices=Devices(ComputeConfig(), device="cpu"),
            augmentation=AugmentationConfig(),
        )
        found.append(state.learner.state_dict())
        assert not multiprocessing.active_children()
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_cpus_read_in_the_step_and_gpus_ahead():
    assert worker_count(None, device=CPU, num_processes=1) == 0
    assert worker_count(None, device=torch.device("mps"), num_processes=1) == 0
    assert worker_count(3, device=CPU, num_processes=1) == 3
    assert 1 <= worker_count(None, device=torch.device("cuda"), num_processes=1) <= MOST_WORKERS
    assert worker_count(None, device=torch.device("cuda"), num_processes=1000) == 1


@pytest.mark.parametrize(("name", "value"), [("num_workers", -1), ("num_ahead", 0)])
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(UserError, match=f"loop.{name}"):
        LoopConfig(**{name: value})


class Unreadable:
    """Tokens that cannot be read."""

    def tokens(self, _rows):
        raise UserError("frame 3 is damaged")
