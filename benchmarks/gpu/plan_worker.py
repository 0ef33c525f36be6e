"""Plans of one size in some configurations of the engine: compile and warm up, then plan when asked.

Started by run.py with a specification; answers when it is ready, then once for each request.
"""

import traceback
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import torch
from child import read_spec, requests, say
from costs import random_costs
from device import forget_peak, free_cache, memory_mib, peak_gflop_per_second

from jepawm.engine.config import EngineConfig
from jepawm.engine.process import tune_process
from jepawm.runs.bench import PlanJob, PlanningBench, Size, plan_job, sizes


@dataclass(kw_only=True)
class Entry:
    """One configuration."""

    bench: PlanningBench
    """What plans."""
    rested: bool = True
    """Whether its memory was given back, so that the next plan is not typical."""


def main() -> None:
    """Get ready and answer."""
    spec: dict[str, Any] = read_spec()
    device = torch.device(spec["device"])
    entries: dict[str, Entry] = {}
    tune_process()
    size, job = size_and_job(spec)
    about = {}
    for precision, mode in spec["configs"]:
        name = f"{precision}/{mode}"
        try:
            engine = EngineConfig(
                precision=precision, compile=mode, max_memory_bytes=spec["max_memory_bytes"]
            )
            bench = PlanningBench(size, job, engine=engine, device=device)
            seconds = get_ready(bench)
            costs = random_costs(
                bench.model,
                size,
                job,
                num_candidates=spec["num_compared"],
                engine=engine,
                device=device,
            )
            about[name] = {"warm_seconds": seconds, "costs": costs.flatten().tolist()}
            entries[name] = Entry(bench=bench)
        except Exception:  # noqa: BLE001 - the other configurations are measured all the same
            about[name] = {"error": traceback.format_exc()[-3000:]}
        free_cache(device)
    say({"about": about, "compiler": compiler_counters()})
    for request in requests():
        try:
            say(answer(request, entries, job, device))
        except Exception:  # noqa: BLE001 - told in the row
            say({"error": traceback.format_exc()[-3000:]})


def size_and_job(spec: dict[str, Any]) -> tuple[Size, PlanJob]:
    """Return model and job of a specification; tiny ones have one layer and few tokens."""
    size = sizes()[spec["size"]]
    if spec["tiny"]:
        predictor = replace(size.predictor, depth=1)
        size = replace(size, predictor=predictor, side=min(size.side, 2))
    job = plan_job(
        size,
        num_samples=spec["num_samples"],
        num_iterations=spec["num_iterations"],
        horizon=spec["horizon"],
        num_tasks=1,
    )
    return size, job


def get_ready(bench: PlanningBench) -> float:
    """Plan until nothing is compiled or recorded any more; returns the seconds that it took."""
    start = perf_counter()
    for _ in range(3):  # compiles, records graphs, replays them
        bench.plan(num_iterations=1)
    return perf_counter() - start


def answer(
    request: dict[str, Any], entries: dict[str, Entry], job: PlanJob, device: torch.device
) -> dict[str, object]:
    """Do what is asked: `peak`, `rest`, `count` or `plan`."""
    if request["do"] == "peak":
        return {"gflop_per_second": peak_gflop_per_second(request["precision"], device)}
    if request["do"] == "rest":
        free_cache(device)
        for entry in entries.values():
            entry.rested = True
        return {}
    entry = entries[request["config"]]
    if request["do"] == "count":
        gflop, plain = entry.bench.count()
        return {"gflop": gflop, "gflop_plain": plain}
    if entry.rested:
        entry.bench.plan(num_iterations=1)
        entry.rested = False
    start = perf_counter()
    entry.bench.plan(num_iterations=1)
    possible = int(request["limit_s"] / (perf_counter() - start))
    num_iterations = max(1, min(job.num_iterations, possible))
    forget_peak(device)
    start = perf_counter()
    entry.bench.plan(num_iterations=num_iterations)
    seconds = perf_counter() - start
    return {"seconds": seconds, "num_iterations": num_iterations, **memory_mib(device)}


def compiler_counters() -> dict[str, object]:
    """Return what torch.compile says that it did in this process."""
    counters = torch._dynamo.utils.counters  # noqa: SLF001
    return {
        "graphs": counters["stats"]["unique_graphs"],
        "graph_breaks": sum(counters["graph_break"].values()),
        "cudagraph_skips": counters["inductor"]["cudagraph_skips"],
    }


if __name__ == "__main__":
    main()
