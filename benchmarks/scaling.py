"""What a training step needs on 1 to 256 GPUs, and how well that is known.

    python benchmarks/scaling.py table                       # docs/scale.md, results/scaling.jsonl
    python benchmarks/scaling.py check                       # 1, 2 and 4 processes of this machine

`table` takes seconds, operations and memory of a step on one GPU from results/gpu.jsonl, and the rest from the
model below. `check` trains a small model in 1, 2 and 4 processes, counts the bytes that they exchange and hold,
which must be those of the model, and prints measured beside computed seconds.

The model, for `n` GPUs, `B` windows in a batch, `P` parameters that learn:

    compute     seconds of a step on one GPU x (B / n) / (windows of the measured step)
    network     gradients are summed in float32, 4 P bytes, in a ring: 2 (g - 1) / g x 4 P at the rate between
                GPUs of a node (g of them), and 2 (m - 1) / m x 4 P / g at the rate of each GPU's part of the
                network between m nodes
    step        compute + what of the network half of the compute (the backward pass) does not hide
    validation  every process measures all windows alike: a third of a step's seconds for each window
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from tasks import command
from torch import nn

from jepawm.build import build_model, with_encoder_weights
from jepawm.data.windows import Windows
from jepawm.experiment import Experiment
from jepawm.recipes import RECIPES
from jepawm.runs.cost import known_dims
from jepawm.training.devices import Devices
from jepawm.training.losses import Learner

ROOT = Path(__file__).parents[1]
MEASURED, RESULTS = ROOT / "results" / "gpu.jsonl", ROOT / "results" / "scaling.jsonl"
GPUS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
GIB, MIB = 2**30, 2**20


@dataclass(frozen=True, kw_only=True)
class Network:
    """What connects the GPUs, in what a sum over all of them reaches."""

    name: str
    """In words."""
    gpus_per_node: int = 8
    """GPUs of a machine."""
    inside: float = 300e9
    """Bytes a second between GPUs of a machine, each."""
    between: float = 40e9
    """Bytes a second that each GPU has to other machines."""

    def seconds(self, num_bytes: int, num_gpus: int) -> float:
        """Return the seconds of a sum of so many bytes over all GPUs."""
        near = min(num_gpus, self.gpus_per_node)
        nodes = max(1, num_gpus // self.gpus_per_node)
        inside = 2 * (near - 1) / near * num_bytes / self.inside
        return inside + 2 * (nodes - 1) / nodes * num_bytes / near / self.between


FAST = Network(name="a 400 Gb/s card for each GPU")
SLOW = Network(name="one 100 Gb/s card for each machine", between=10e9 / 8)


@dataclass(frozen=True, kw_only=True)
class Single:
    """What is known of one device."""

    recipe: str
    """Name of the recipe."""
    precision: str
    """Of matrix products."""
    seconds_per_window: float
    """Of a step."""
    batch_size: int
    """Windows in a batch."""
    gflop: float
    """Of a step on the whole batch."""
    fixed: int
    """Bytes that do not depend on the batch: weights, gradients, moments."""
    sharded: int
    """Those of them that fsdp2 shares."""
    per_window: float
    """Bytes of activations and of the batch, for a window."""
    parameters: int
    """Parameters that learn."""
    frames: int
    """Frames of a window."""
    frame_bytes: dict[str, int]
    """Bytes of a frame as it is read: pixels, or tokens of a cache."""
    validation_windows: int
    """Windows of a validation."""
    validate_every: int
    """Steps between two."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step on some GPUs; every figure is of one of them."""

    gpus: int
    """How many share the batch."""
    windows: float
    """Windows."""
    gflop: float
    """Operations."""
    memory_ddp: float
    """Bytes with all weights."""
    memory_fsdp2: float
    """Bytes with a part of the weights."""
    network_bytes: float
    """Bytes sent."""
    network_seconds: float
    """Seconds of the sum of gradients by itself."""
    compute_seconds: float
    """Seconds of computing."""
    seconds: float
    """Seconds of the step."""
    validation_seconds: float
    """Seconds of validation, spread over the steps between."""
    read_per_second: dict[str, float]
    """Bytes a second that are read."""

    @property
    def efficiency(self) -> float:
        """Return the part of the time in which the GPU learns."""
        return self.compute_seconds / (self.seconds + self.validation_seconds)


def step_on(single: Single, num_gpus: int, *, network: Network) -> Step:
    """Compute a step on some GPUs."""
    windows = single.batch_size / num_gpus
    gradients = 4 * single.parameters
    compute = single.seconds_per_window * windows
    exchange = network.seconds(gradients, num_gpus) if num_gpus > 1 else 0.0
    seconds = compute + max(0.0, exchange - compute / 2)
    validation = single.validation_windows * single.seconds_per_window / 3
    held = single.fixed - single.sharded * (1 - 1 / num_gpus)
    return Step(
        gpus=num_gpus,
        windows=windows,
        gflop=single.gflop / num_gpus,
        memory_ddp=single.fixed + single.per_window * windows,
        memory_fsdp2=held + single.per_window * windows,
        network_bytes=2 * (num_gpus - 1) / num_gpus * gradients,
        network_seconds=exchange,
        compute_seconds=compute,
        seconds=seconds,
        validation_seconds=validation / single.validate_every,
        read_per_second={
            name: size * single.frames * windows / seconds
            for name, size in single.frame_bytes.items()
        },
    )


def single_devices(recipes: list[str]) -> Iterator[Single]:
    """Yield what was measured on one GPU, with the parameters of its recipe."""
    rows = [json.loads(line) for line in MEASURED.read_text(encoding="utf-8").splitlines()]
    for name in recipes:
        found = [row for row in rows if row.get("recipe") == name and "ms_per_step" in row]
        if not found:
            raise SystemExit(f"{MEASURED} has no measured step of {name}; run benchmarks/gpu.sh")
        recipe = RECIPES.get(name)
        assert isinstance(recipe, Experiment)
        yield from (_single(recipe, row) for row in found)


def _single(recipe: Experiment, row: dict[str, float | str]) -> Single:
    size, batch = recipe.optim.batch_size, float(row["batch"])
    action_dim, proprio_dim = known_dims(recipe)
    with torch.device("meta"):
        experiment = with_encoder_weights(recipe, "random")
        model = build_model(experiment, action_dim=action_dim, proprio_dim=proprio_dim)
        learner = Learner(model, recipe.loss)
    learned = sum(p.numel() for p in learner.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in learner.parameters() if not p.requires_grad)
    fixed = 4 * (frozen + 4 * learned)  # weights, gradients and two moments
    side, encoder = recipe.data.image_size, learner.model.encoder
    return Single(
        recipe=recipe.name,
        precision=str(row["precision"]),
        seconds_per_window=float(row["ms_per_step"]) / 1e3 / batch,
        batch_size=size,
        gflop=float(row["gflop"]) * size / batch,
        fixed=fixed,
        sharded=16 * learned,
        per_window=(float(row["peak_memory_mib"]) * MIB - fixed) / batch,
        parameters=learned,
        frames=recipe.data.num_steps + 1,
        frame_bytes={"pixels": 3 * side**2, "cache": 2 * encoder.num_tokens * encoder.dim},
        validation_windows=recipe.loop.num_validation_windows,
        validate_every=recipe.loop.validate_every,
    )


def table(options: argparse.Namespace) -> None:
    """Print the tables of docs/scale.md and write their rows."""
    lines: list[str] = []
    for single in single_devices(options.recipes):
        print(
            f"\n**`{single.recipe}`, {single.precision}**, batch of {single.batch_size} windows, ",
            end="",
        )
        print(f"{single.parameters / 1e6:.1f} million parameters that learn\n")
        print(
            "| GPUs | windows | GFLOP | memory ddp, fsdp2 (GiB) | network (MB) | compute (ms) |",
            end="",
        )
        print(
            " fast network: ms, learning | slow network: ms, learning | read: pixels, cache (MB/s) |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        for gpus in GPUS:
            if single.batch_size % gpus:
                continue
            fast, slow = (step_on(single, gpus, network=one) for one in (FAST, SLOW))
            print(_row(fast, slow))
            both = {"fast": asdict(fast), "slow": asdict(slow)}
            about = {"recipe": single.recipe, "precision": single.precision, "command": command()}
            about["date"] = datetime.now(tz=UTC).date().isoformat()
            lines.append(json.dumps({**about, **both}) + "\n")
    options.results.write_text("".join(lines), encoding="utf-8")


def _row(fast: Step, slow: Step) -> str:
    cells = [
        f"{fast.gpus}",
        f"{fast.windows:g}",
        f"{fast.gflop:,.0f}",
        f"{fast.memory_ddp / GIB:.1f}, {fast.memory_fsdp2 / GIB:.1f}",
        f"{fast.network_bytes / 1e6:.0f}",
        f"{1e3 * fast.compute_seconds:.1f}",
        *(f"{1e3 * one.seconds:.1f}, {one.efficiency:.0%}" for one in (fast, slow)),
        ", ".join(f"{size / 1e6:.0f}" for size in fast.read_per_second.values()),
    ]
    return f"| {' | '.join(cells)} |"


def check(options: argparse.Namespace) -> None:
    """Print what 1, 2 and 4 processes exchange, hold and take, beside what the model says."""
    found = [_run_processes(count, options) for count in (1, 2, 4)]
    first, cores = found[0], os.cpu_count() or 1
    print("| processes | MB exchanged, model | MB held, model | ms a step | ms, model |")
    print(f"|{5 * '---|'}")
    for row in found:
        count = row["processes"]
        shared = first["seconds"] / count * max(1.0, count / cores)  # processes that share a core
        model = shared + max(0.0, row["exchange_seconds"] - shared / 2)
        print(
            f"| {count} | {row['exchanged'] / 1e6:.3f}, {row['gradient_bytes'] / 1e6:.3f} | "
            f"{row['held'] / 1e6:.3f}, {4 * row['gradient_bytes'] / 1e6:.3f} | "
            f"{1e3 * row['seconds']:.1f} | {1e3 * model:.1f} |"
        )
        wanted = row["gradient_bytes"] if count > 1 else 0
        if row["exchanged"] != wanted or row["held"] != 4 * row["gradient_bytes"]:
            raise SystemExit("what is exchanged or held is not what the model says")


def _run_processes(count: int, options: argparse.Namespace) -> dict[str, float]:
    """Run this file as so many workers; returns what the first one found."""
    with tempfile.TemporaryDirectory() as folder:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        arguments = ["worker", "--out", folder, "--steps", str(options.steps)]
        subprocess.run(
            [sys.executable, *launcher, __file__, *arguments],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            check=True,
        )
        return json.loads((Path(folder) / "found.json").read_text(encoding="utf-8"))


def worker(options: argparse.Namespace) -> None:
    """Train a small model as one of several processes; the first one writes what it found."""
    from jepawm.build import build_windows
    from jepawm.processes import count_processes, is_first
    from jepawm.recipes.wall import WALL
    from jepawm.runs.datasets import find_or_collect

    data = replace(WALL.data, num_episodes=24)
    optim = replace(WALL.optim, batch_size=64, encoder_steps=None)
    experiment = replace(WALL, data=data, optim=optim)
    devices = Devices(experiment.compute, device="cpu", every_weight_used=experiment.loss.proprio)
    root = Path(options.out) / str(torch.distributed.get_rank() if count_processes() > 1 else 0)
    store = find_or_collect(experiment.env, experiment.data, data_root=root, processes=1)
    windows, _ = build_windows(experiment, store)
    found = _measure(experiment, windows, devices, num_steps=options.steps)
    if is_first():
        Path(options.out, "found.json").write_text(json.dumps(found), encoding="utf-8")


def _measure(
    experiment: Experiment, windows: Windows, devices: Devices, *, num_steps: int
) -> dict[str, float]:
    """Take steps; returns processes, bytes and seconds of this one."""
    from jepawm.processes import count_processes
    from jepawm.training.batches import Batches, Part
    from jepawm.training.finite import FiniteCheck
    from jepawm.training.optim import batch_indices, build_optimizer
    from jepawm.training.state import TrainState
    from jepawm.training.train import take_step

    model = build_model(experiment, action_dim=2, proprio_dim=2)
    learner = Learner(model, experiment.loss).train()
    module, count = devices.wrap(learner), count_processes()
    counted = _count_gradients(module) if count > 1 else [0]
    state = TrainState(
        learner=learner, module=module, optimizer=build_optimizer(learner, experiment.optim)
    )
    indices = [
        batch_indices(
            num_windows=len(windows), batch_size=experiment.optim.batch_size, seed=0, step=k
        )
        for k in range(num_steps)
    ]
    parts = [Part(seed=k, indices=devices.parts(one)[0]) for k, one in enumerate(indices)]
    seconds, exchanged = [], []
    with Batches(
        windows, parts, augmentation=experiment.data.augmentation, device=devices.device
    ) as batches:
        for _ in parts:
            began, before = perf_counter(), counted[0]
            take_step(
                state,
                batches,
                optim=experiment.optim,
                devices=devices,
                check=FiniteCheck(late=False),
                seed=0,
            )
            state.step += 1
            seconds.append(perf_counter() - began)
            exchanged.append(counted[0] - before)
    learned = [p for p in learner.parameters() if p.requires_grad]
    moments = [v for p in learned for v in state.optimizer.state[p].values() if v.numel() > 1]
    held = [*learned, *(p.grad for p in learned if p.grad is not None), *moments]
    size = sum(p.numel() * 4 for p in learned)
    return {
        "processes": count,
        "gradient_bytes": size,
        "exchanged": exchanged[-1],
        "held": sum(one.numel() * one.element_size() for one in held),
        "seconds": median(seconds[1:]),
        "exchange_seconds": _time_sum(size) if count > 1 else 0.0,
    }


def _count_gradients(module: nn.Module) -> list[int]:
    """Return a list whose number grows by the bytes of gradients that the processes sum."""
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
    from torch.nn.parallel import DistributedDataParallel

    assert isinstance(module, DistributedDataParallel)
    counted = [0]

    def counting(group: object, bucket: torch.distributed.GradBucket) -> torch.futures.Future:
        counted[0] += bucket.buffer().numel() * bucket.buffer().element_size()
        return allreduce_hook(group, bucket)  # pyright: ignore[reportArgumentType]

    module.register_comm_hook(None, counting)
    return counted


def _time_sum(num_bytes: int) -> float:
    """Return the seconds of a sum of so many bytes over all processes."""
    numbers, seconds = torch.zeros(num_bytes // 4), []
    for _ in range(10):
        began = perf_counter()
        torch.distributed.all_reduce(numbers)
        seconds.append(perf_counter() - began)
    return median(seconds)


def main() -> None:
    """Run what the first word says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["table", "check", "worker"])
    parser.add_argument("--recipes", nargs="+", default=["jepa_wm_wall", "jepa_wm_droid"])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    {"table": table, "check": check, "worker": worker}[options.what](options)


if __name__ == "__main__":
    main()
