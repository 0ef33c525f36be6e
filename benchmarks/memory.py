"""Growth of resident memory and open files of what runs for long.

    python benchmarks/memory.py agent        # an agent of `wall` acts 10,000 times
    python benchmarks/memory.py eval         # 1,000 tasks of protocol `paper`, in batches
    python benchmarks/memory.py serve        # `jepawm serve wall` is asked ten times a second for an hour

After a warm-up of a tenth, memory and open files are noted a hundred times; growth is the median of the
last ten against the median of the first ten. Rows go to results/memory.jsonl.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

import numpy as np
from tasks import command, find_tasks

from jepawm.engine.process import tune_process
from jepawm.evaluation.episodes import run_episodes
from jepawm.hub.load import load, preset_planner
from jepawm.runs.serve.client import RemotePlans

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "memory.jsonl"
NOTES, EDGE = 100, 10


def main() -> None:
    """Run one of them and append its row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=WORK)
    parser.add_argument("--source", default="wall")
    parser.add_argument("--preset", default="propose")
    parser.add_argument(
        "--count", type=int, help="steps, tasks or plans; 10,000, 1,000 or 36,000 if not given"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    tune_process()
    work, count = WORK[options.what]
    count = options.count or count
    megabytes, files = [], []
    warm_up, every = count // 10, max(1, (count - count // 10) // NOTES)
    for done, process in work(options.source, options.preset, count):
        if done >= warm_up and (done - warm_up) % every == 0:
            megabytes.append(resident(process))
            files.append(sum(1 for _ in Path(f"/proc/{process}/fd").iterdir()))
    first, last = median(megabytes[:EDGE]), median(megabytes[-EDGE:])
    row = {
        "what": options.what,
        "source": options.source,
        "preset": options.preset,
        "count": count,
        "megabytes_first": first,
        "megabytes_last": last,
        "growth": last / first - 1,
        "open_files": sorted(set(files)),
        "command": command(),
        "date": datetime.now(tz=UTC).date().isoformat(),
        "machine": platform.processor() or platform.machine(),
    }
    print(
        f"{options.what}: {first:.1f} -> {last:.1f} MB ({100 * row['growth']:+.2f} %), open files "
        f"{row['open_files']}"
    )
    with options.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def act(source: str, preset: str, count: int) -> Iterator[tuple[int, int]]:
    """Let an agent act in its environment, a new task whenever one is over."""
    loaded = load(source)
    protocol = loaded.experiment.protocol("mpc")
    agent = loaded.agent(protocol=protocol, planner=preset_planner(source, preset))
    env, tasks = find_tasks(
        loaded, protocol=protocol, num_tasks=16, seed=0, split="val", data_root=None
    )
    done = 0
    while done < count:
        obs = env.reset(tasks[done % 16 : done % 16 + 1])
        agent.reset(env.goal_observation(), protocol.num_steps)
        for _ in range(protocol.num_steps):
            for action in agent.act(obs).unflatten(1, (-1, env.action_dim)).unbind(1):
                obs = env.step(action)
            done += 1
            yield done, os.getpid()


def evaluate(source: str, preset: str, count: int) -> Iterator[tuple[int, int]]:
    """Solve tasks in batches of 10."""
    loaded = load(source)
    protocol = loaded.experiment.protocol("paper")
    agent = loaded.agent(protocol=protocol, planner=preset_planner(source, preset))
    env, tasks = find_tasks(
        loaded, protocol=protocol, num_tasks=count, seed=0, split="val", data_root=None
    )
    for start in range(0, count, 10):
        run_episodes(env, tasks[start : start + 10], agent=agent, protocol=protocol)
        yield start + 10, os.getpid()


def serve(source: str, preset: str, count: int) -> Iterator[tuple[int, int]]:
    """Ask a server for plans ten times a second; it is told a new goal every minute."""
    asked = [sys.executable, "-m", "jepawm", "serve", source, "--port", "0", "--fit", "stretch"]
    asked += ["--planner", "best_of", "--planner.num-proposals", "4"] * (preset == "propose")
    with subprocess.Popen(asked, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        while "ws://" not in (line := server.stderr.readline()):
            if server.poll() is not None:
                sys.exit(f"the server ended: {line}")
        pictures = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
        try:
            with RemotePlans(line.split()[0]) as plans:
                for done in range(count):
                    started = perf_counter()
                    if done % 600 == 0:
                        plans.reset(pictures[done // 600 % 16])
                    plans.plan(pictures[done % 16])
                    yield done + 1, server.pid
                    sleep(max(0.0, 0.1 - (perf_counter() - started)))
        finally:
            server.terminate()


def resident(process: int) -> float:
    """Return the resident memory of a process in MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


WORK = {"agent": (act, 10_000), "eval": (evaluate, 1_000), "serve": (serve, 36_000)}


if __name__ == "__main__":
    main()
