"""Share of training that waits for data, where the step itself takes a fixed time.

    python benchmarks/input_pipeline.py                      # batches of 8 and 128 windows, 0 to 2 workers

Windows of `jepa_wm_wall` at paper size (224 pixels) from JPEG and from a feature cache (random weights
of the encoder: as many numbers), handed out by `training/batches.py`. The step is a pause of 50 ms in
place of an accelerator. A hash of the first batches says that workers change nothing. Rows go to
results/input_pipeline.jsonl.
"""

import argparse
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import sleep

import torch
from tasks import command
from torch import Tensor

from jepawm.build import build_windows, with_encoder_weights
from jepawm.data.augmentation import AugmentationConfig
from jepawm.data.windows import Windows
from jepawm.experiment import Experiment
from jepawm.recipes import RECIPES
from jepawm.runs.datasets import find_or_collect, make_features
from jepawm.training.batches import Batches, Part
from jepawm.training.optim import batch_indices

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "input_pipeline.jsonl"


def main() -> None:
    """Print and append the waiting share of each source, batch size and number of workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 128])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--step-ms", type=float, default=50.0)
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for source, windows in sources(Path(folder), num_episodes=options.episodes):
            for batch_size in options.batch_sizes:
                measure(source, windows, batch_size, options)


def sources(root: Path, *, num_episodes: int) -> Iterator[tuple[str, Windows]]:
    """Yield the same windows as they are stored and as tokens."""
    recipe = RECIPES.get("jepa_wm_wall")
    assert isinstance(recipe, Experiment)
    experiment = with_encoder_weights(recipe, "random")
    experiment = replace(experiment, data=replace(experiment.data, num_episodes=num_episodes))
    store = find_or_collect(experiment.env, experiment.data, data_root=root, processes=1)
    yield store.manifest.pixel_encoding, build_windows(experiment, store)[0]
    features = make_features(store, experiment.encoder, out=None, device=torch.device("cpu"))
    yield "feature cache", build_windows(experiment, store, features=features)[0]


def measure(source: str, windows: Windows, batch_size: int, options: argparse.Namespace) -> None:
    """Take the steps with each number of workers."""
    parts = [
        Part(
            seed=step,
            indices=batch_indices(
                num_windows=len(windows), batch_size=batch_size, seed=0, step=step
            ),
        )
        for step in range(options.steps)
    ]
    expected = None
    for num_workers in options.workers:
        share, read_ms, digest = take_steps(windows, parts, num_workers, options.step_ms / 1e3)
        expected = expected or digest
        row = {
            "source": source,
            "batch_size": len(parts[0].indices),
            "num_workers": num_workers,
            "step_ms": options.step_ms,
            "waiting_fraction": share,
            "waited_ms_per_step": read_ms,
            "same_as_without_workers": digest == expected,
            "cores": os.cpu_count(),
            "command": command(),
            "date": datetime.now(tz=UTC).date().isoformat(),
            "machine": platform.processor() or platform.machine(),
        }
        print(
            f"{source:14} batch {row['batch_size']:4} workers {num_workers}: {100 * share:5.1f} % of the "
            f"time waiting, {read_ms:7.1f} ms a step, same numbers: {row['same_as_without_workers']}",
            flush=True,
        )
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def take_steps(
    windows: Windows, parts: list[Part], num_workers: int, step_seconds: float
) -> tuple[float, float, str]:
    """Return the waiting share, the milliseconds waited a step, and a hash of the first batches.

    The first tenth of the steps, in which workers start, does not count.
    """
    digest, waited, counted = hashlib.sha256(), 0.0, 0
    skipped = len(parts) // 10
    with Batches(
        windows,
        parts,
        augmentation=AugmentationConfig(),
        device=torch.device("cpu"),
        num_workers=num_workers,
        num_ahead=4,
    ) as batches:
        for number, batch in enumerate(batches):
            waited_now = batches.take_seconds_waited()
            if number < skipped:
                batch.map(partial(_add_to, digest))
                continue
            waited, counted = waited + waited_now, counted + 1
            sleep(step_seconds)
    busy = counted * step_seconds
    return waited / (waited + busy), 1e3 * waited / counted, digest.hexdigest()


def _add_to(digest: "hashlib._Hash", tensor: Tensor) -> Tensor:
    digest.update(tensor.contiguous().numpy().tobytes())
    return tensor


if __name__ == "__main__":
    main()
