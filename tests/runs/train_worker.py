"""One process of `test_many_devices.py`: train each run of a list, under torchrun."""

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import jepawm.runs.train
import jepawm.training.train
from jepawm.compute import matmul_peak
from jepawm.errors import UserError
from jepawm.experiment import experiment_from_json
from jepawm.launch import read_launch
from jepawm.training.losses import Learner
from jepawm.training.optim import step_generator


def stop_at(step: int) -> None:
    """Let the second process alone be asked to stop while it does a step."""
    original = jepawm.training.train.set_schedule

    def signalling(optimizer, config, *, step: int, last: int = step) -> None:
        if step == last and read_launch().rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        original(optimizer, config, step=step)

    jepawm.training.train.set_schedule = signalling


def spoil(step: int) -> None:
    """Make the loss of one step NaN in the last process alone."""
    forward = Learner.forward
    seed = step_generator(0, step - 1).initial_seed()

    def spoiled(self, batch, *, generator):
        terms = forward(self, batch, generator=generator)
        launch = read_launch()
        broken = generator.initial_seed() == seed and launch.rank == launch.count - 1
        return {**terms, "loss": terms["loss"] * (float("nan") if broken else 1)}

    Learner.forward = spoiled


def main() -> None:
    jepawm.runs.train.matmul_peak = partial(matmul_peak, size=64)
    forward = Learner.forward
    for run in json.loads(Path(sys.argv[1]).read_text()):
        if run["stop_at"] is not None:
            stop_at(run["stop_at"])
        Learner.forward = forward
        if run["spoiled"] is not None:
            spoil(run["spoiled"])
        try:
            jepawm.runs.train.train_run(
                experiment_from_json(run["experiment"], source="test"),
                out=Path(run["out"]),
                data_root=Path(run["data_root"]),
                device="cpu",
                resume=run["resume"],
            )
        except UserError as error:
            if read_launch().rank == 0:
                Path(run["out"], "error.txt").write_text(str(error))


if __name__ == "__main__":
    main()
