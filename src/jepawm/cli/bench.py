"""`jepawm bench planning`: measure speed and memory of planning on this machine."""

import re
from dataclasses import dataclass, replace
from typing import Literal

import tyro

from jepawm.cli.choices import DeviceName, choose_device
from jepawm.cli.output import render_fields, to_json
from jepawm.cli.parsing import Command, Outcome, parse
from jepawm.engine.config import EngineConfig
from jepawm.errors import UserError


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Options of `bench`."""

    what: tyro.conf.Positional[Literal["planning"]]
    """What to measure."""
    size: Literal["lewm", "dino_wm", "jepa_wm", "droid"] = "lewm"
    """Model, with random weights and without its encoder: `lewm` one token of 192; `dino_wm` 256
    tokens of 404; `jepa_wm` 256 tokens of 400, AdaLN and RoPE; `droid` 256 tokens of 1024."""
    samples: int | None = None
    """Candidates of an iteration; the size's own number (lewm 300, droid 8, others 64) if not
    given. The paper has 300."""
    iterations: int | None = None
    """Iterations of a plan; lewm 30, others 1 if not given. The paper has 30."""
    horizon: int = 6
    """Steps of each candidate."""
    tasks: int = 1
    """Problems in one batch."""
    window: int | None = None
    """Latents that each prediction sees; 3, or 2 for jepa_wm and droid, if not given."""
    context: int | None = None
    """Observed latents that a plan starts from; a whole window if not given."""
    threads: int | None = None
    """Threads of a CPU, for plans and peak; what torch has if not given."""
    max_memory: str | None = None
    """Memory that the candidates of one chunk may take, as `2GiB` or `500MB`."""
    repeats: int = 5
    """Plans to measure at most; none begins after a minute."""
    growth: bool = False
    """Measure instead how the time of an iteration grows with samples, horizon, tokens, tasks."""
    device: DeviceName = "auto"
    """Device to compute on."""
    json: bool = False
    """Print the result as one JSON object."""


def prepare_bench(argv: list[str]) -> Command:
    """Parse `jepawm bench planning`."""
    options, parts = parse(
        BenchOptions,
        argv,
        verb="bench",
        description="Measure planning: seconds per plan, GFLOP executed (and of plain rollouts for "
        "the same), the floor that the machine's matmul peak allows, the fraction of it reached, "
        "peak memory.",
        parts={"engine": EngineConfig()},
    )

    def run() -> Outcome:
        import torch

        from jepawm.runs.bench import bench_growth, bench_planning, plan_job, render_growth, sizes

        engine = parts["engine"]
        assert isinstance(engine, EngineConfig)
        if options.max_memory is not None:
            engine = replace(engine, max_memory_bytes=parse_bytes(options.max_memory))
        if options.threads is not None:
            engine = replace(engine, num_threads=options.threads)
            torch.set_num_threads(max(1, options.threads))
        if options.repeats < 1:
            raise UserError(f"--repeats {options.repeats}; give at least 1")
        size = sizes()[options.size]
        job = plan_job(
            size,
            num_samples=options.samples,
            num_iterations=options.iterations,
            horizon=options.horizon,
            num_tasks=options.tasks,
            window=options.window,
            context=options.context,
        )
        device, repeats = choose_device(options.device), options.repeats
        if options.growth:
            growth = bench_growth(size, job, engine=engine, device=device, repeats=repeats)
            result = {name: to_json(axis) for name, axis in growth.items()}
            text = render_growth(growth)
        else:
            plans = bench_planning(size, job, engine=engine, device=device, repeats=repeats)
            result = to_json(plans)
            text = render_fields(result)
        return Outcome(result={"size": options.size, **result}, text=text)

    return Command(run=run, as_json=options.json)


def parse_bytes(text: str) -> int:
    """Return the bytes that a text like `2GiB`, `500 MB` or `1000000` means."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kKMGT]?)(i?)[bB])?", text.strip())
    if found is None:
        raise UserError(f"{text!r} is not an amount of memory; write for example 2GiB or 500MB")
    number, prefix, binary = found.groups()
    power = " KMGT".index((prefix or " ").upper())
    return int(float(number) * (1024 if binary else 1000) ** power)
