"""Every verb on inputs so small that it runs in seconds, for the benchmarks that disturb it.

A verb runs in a fork of a process that has imported everything: it can be killed, and it starts in
milliseconds.
"""

import contextlib
import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import jepawm
from jepawm.checkpoint import load_checkpoint
from jepawm.cli import main as run_command
from jepawm.data.writer import EpisodeWriter

SMALL = [
    *("--data.num-episodes", "24", "--data.image-size", "16", "--encoder.image-size", "16"),
    *("--predictor.depth", "1", "--predictor.visual-dim", "16", "--optim.batch-size", "8"),
    *("--loss.num-directions", "8", "--loop.log-every", "1", "--loop.validate-every", "1000"),
    *("--optim.num-steps", "40", "--device", "cpu", "--processes", "1"),
    *("--proposals.num-steps", "0"),
]
"""Options of a training that takes a second or two."""
QUICK = [
    *("--planner", "cem", "--planner.num-samples", "8", "--planner.num-elites", "2"),
    *("--planner.num-iterations", "1", "--device", "cpu"),
]
"""Options of a planner that takes no time."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the verbs start from."""

    recordings: Path
    """A folder of npz episodes."""
    store: Path
    """A store."""
    run: Path
    """A trained run."""
    data_root: Path
    """The data root of that run."""


def prepare_inputs(folder: Path) -> Inputs:
    """Write recordings and a store, and train a run, where they are missing."""
    inputs = Inputs(
        recordings=folder / "recordings",
        store=folder / "store",
        run=folder / "run",
        data_root=folder / "data",
    )
    generator = np.random.default_rng(0)
    if not inputs.recordings.exists():
        inputs.recordings.mkdir(parents=True)
        for episode in range(30):
            frames = generator.integers(0, 256, (60, 32, 32, 3), np.uint8)
            actions = generator.normal(size=(60, 2)).astype(np.float32)
            np.savez(inputs.recordings / f"{episode:03d}.npz", frames=frames, actions=actions)
    if not inputs.store.exists():
        with EpisodeWriter(
            inputs.store, environment="noise", image_size=16, settings={}, fps=10.0
        ) as writer:
            for _ in range(24):
                pixels = generator.integers(0, 256, (41, 3, 16, 16), np.uint8)
                writer.append(pixels, generator.normal(size=(40, 2)).astype(np.float32))
    if not (inputs.run / "checkpoint").exists():
        folders = ["--out", str(inputs.run), "--data-root", str(inputs.data_root)]
        require(
            wait_for(start(["train", "wall", *SMALL, *folders], folder / "log")), folder / "log"
        )
    return inputs


def start(argv: Sequence[str], log: Path) -> int:
    """Run `jepawm ARGV` in a fork that writes what it says to `log`; returns its process id."""
    child = os.fork()
    if child:
        return child
    try:
        torch.set_num_threads(1)
        with log.open("w", encoding="utf-8") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
            with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                code = run_command(list(argv))
                file.flush()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException as error:  # noqa: BLE001 (reported as the fault that it is)
        log.write_text(log.read_text() + f"\n{type(error).__name__}: {error}")
        code = 1
    finally:
        sys.stdout.flush()
    os._exit(code)


def wait_for(process_id: int) -> int:
    """Return the exit code of a fork, below 0 where a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])


def require(code: int, log: Path) -> None:
    """Stop the benchmark where a verb that nothing disturbs fails."""
    if code != 0:
        raise SystemExit(f"exit code {code}: {log.read_text()[-2000:]}")


def hashes(folder: Path) -> dict[str, str]:
    """Return the hash of every file below a folder, by its name."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def training_of(run: Path) -> dict[str, str]:
    """Return hashes of all weights and moments of a run, and its rows without the seconds."""
    checkpoint = load_checkpoint(run / "checkpoint", with_training=True)
    tensors = checkpoint.tensors | (checkpoint.training or {})
    found = {
        name: hashlib.sha256(value.numpy().tobytes()).hexdigest()
        for name, value in tensors.items()
        if name != "seconds"
    }
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    plain = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
    return found | {"rows": json.dumps(plain), "experiment": (run / "experiment.json").read_text()}


def answer_of(folder: Path) -> dict[str, str]:
    """Return what an evaluation found, without what it took."""
    results = json.loads((folder / "results.json").read_text())
    timed = ("seconds_per_plan", "oracle_seconds_per_plan", "gflop_per_plan", "fraction_of_peak")
    kept = {key: value for key, value in results.items() if key not in timed}
    files = hashes(folder)
    return {"results": json.dumps(kept), "rollouts": files["rollouts.npz"]}


def machine() -> dict[str, str]:
    """Return what a row of results says of the machine."""
    return {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "jepawm": jepawm.__version__,
    }


Look = Callable[[Path], dict[str, str]]
"""What must be the same after a disturbance, read from a folder."""
