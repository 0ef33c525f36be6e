"""Run LeRobot's own commands with both plugins; append a row to results/lerobot.jsonl.

    python benchmarks/lerobot_commands.py --venv .lerobot
    python benchmarks/lerobot_commands.py --venv .lerobot --parts arm

`--venv` is an environment with lerobot, jepawm and both packages; where there is none it is made, with the
newest lerobot that this Python installs. Part `eval`: the exported bundled `wall` under `lerobot-eval`, and
`jepawm eval` on the same tasks. Part `arm`: a simulated arm is recorded by `lerobot-record`, a policy is
trained by `lerobot-train`, reloaded, and acts in `lerobot-record` and by asynchronous inference.
"""

import argparse
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from jepawm.evaluation.metrics import wilson_interval
from recipes import ROOT, machine

ARM = "--robot.type=jepawm_arm --robot.id=simulated --play_sounds=false --dataset.push_to_hub=false"
POLICY = "--policy.device=cpu --policy.push_to_hub=false --wandb.enable=false --num_workers=0"


def main() -> None:
    """Run the chosen parts, one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--venv", type=Path, required=True, help="environment; made if absent")
    parser.add_argument("--parts", nargs="+", default=["eval", "arm"], choices=["eval", "arm"])
    parser.add_argument("--episodes", type=int, default=96, help="tasks of Wall")
    parser.add_argument("--batch", type=int, default=8, help="tasks of Wall at a time")
    parser.add_argument("--recorded", type=int, default=12, help="episodes of the arm to record")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each")
    parser.add_argument("--steps", type=int, default=50, help="steps of lerobot-train")
    parser.add_argument("--runs", type=Path, help="folder of what is written; a new one if absent")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "lerobot.jsonl")
    options = parser.parse_args()
    make(options.venv)
    work = Path(tempfile.mkdtemp(prefix="jepawm-lerobot-", dir=options.runs))
    run = Commands(options.venv / "bin", work=work)
    row: dict[str, object] = {
        "date": datetime.now(tz=UTC).date().isoformat(),
        "machine": machine(),
        "versions": run.versions(),
    }
    parts: dict[str, Callable[..., dict]] = {"eval": evaluate, "arm": move_arm}
    for part in options.parts:
        row[part] = parts[part](run, options)
        print(part, json.dumps(row[part], indent=1))
    row["commands"] = run.lines
    options.results.parent.mkdir(parents=True, exist_ok=True)
    with options.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def make(venv: Path) -> None:
    """Make the environment where there is none: LeRobot first, whose versions are the narrower ones."""
    if (venv / "bin" / "lerobot-eval").exists():
        return
    pip = [f"{venv}/bin/python", "-m", "pip", "install", "--quiet"]
    packages = sorted((ROOT / "packages").iterdir())
    subprocess.run([sys.executable, "-m", "venv", f"{venv}"], check=True)
    subprocess.run([*pip, "lerobot[async]"], check=True)
    editable = [part for path in (ROOT, *packages) for part in ("--editable", f"{path}")]
    subprocess.run([*pip, *editable], check=True)


class Commands:
    """Commands of one environment, in one folder, and what was run."""

    def __init__(self, binaries: Path, *, work: Path) -> None:
        """Take the folder of the commands and the one where they write."""
        self.binaries, self.work = binaries.absolute(), work.absolute()
        self.lines: list[str] = []
        home = {"HF_HUB_OFFLINE": "1", "HF_LEROBOT_HOME": f"{self.work}/home"}
        self.environment = {**os.environ, **home}

    def __call__(self, line: str, *, told: bool = True) -> str:
        """Run a command to its end; returns what it wrote."""
        self.lines += [public(line)] * told
        name, *arguments = shlex.split(line)
        done = subprocess.run(
            [f"{self.binaries}/{name}", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
            cwd=self.work,
            env=self.environment,
        )
        (self.work / f"{len(self.lines):02d}-{name}.log").write_text(done.stdout, encoding="utf-8")
        if done.returncode:
            raise SystemExit(f"{line}\nended with {done.returncode}:\n{done.stdout[-3000:]}")
        return done.stdout

    def start(self, line: str, log: Path) -> subprocess.Popen:
        """Start a command that runs until it is ended."""
        self.lines.append(public(line))
        name, *arguments = shlex.split(line)
        with log.open("w", encoding="utf-8") as file:
            return subprocess.Popen(
                [f"{self.binaries}/{name}", *arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.work,
                env=self.environment,
            )

    def versions(self) -> dict[str, str]:
        """Return the versions that decide."""
        names = ["lerobot", "torch", "numpy", "gymnasium", "jepawm"]
        code = f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {names}}}))"
        return json.loads(self(f"python -c {shlex.quote(code)}", told=False))


def evaluate(run: Commands, options: argparse.Namespace) -> dict:
    """Compare `lerobot-eval` of the exported `wall` with `jepawm eval` on the same tasks."""
    policy, out, count = run.work / "wall_policy", run.work / "lerobot-eval", options.episodes
    run(f"lerobot-export-jepawm wall --out {policy} --protocol paper")
    began = time.monotonic()
    run(
        f"lerobot-eval --policy.path={policy} --env.type=jepawm_wall --policy.device=cpu --seed=0 "
        f"--eval.n_episodes={count} --eval.batch_size={options.batch} --output_dir={out}"
    )
    seconds = time.monotonic() - began
    told = json.loads((out / "eval_info.json").read_text(encoding="utf-8"))
    reached = [bool(one) for one in told["per_task"][0]["metrics"]["successes"]]
    line = f"jepawm eval wall --protocol paper --episodes {count} --seed 0 --out {run.work}/own"
    run(line)
    own = json.loads((run.work / "own" / "results.json").read_text(encoding="utf-8"))
    low, high = wilson_interval(sum(reached), len(reached))
    return {
        "lerobot_success": float(np.mean(reached)),
        "lerobot_interval": [low, high],
        "jepawm_success": own["success"],
        "jepawm_interval": own.get("interval") or own.get("ci95"),
        "within": low <= own["success"] <= high,
        "tasks": len(reached),
        "seconds": seconds,
    }


def move_arm(run: Commands, options: argparse.Namespace) -> dict:
    """Record, train, reload, act: in the same process's place and from a server."""
    data, trained, acted = run.work / "recorded", run.work / "trained", run.work / "acted"
    task = f"--dataset.single_task=move --dataset.fps=30 --dataset.vcodec=h264 {ARM}"
    run(
        f"lerobot-record {task} --teleop.type=jepawm_mover --teleop.id=mover "
        f"--dataset.repo_id=jepawm/recorded --dataset.root={data} --dataset.reset_time_s=0 "
        f"--dataset.num_episodes={options.recorded} --dataset.episode_time_s={options.seconds}"
    )
    output = run(
        f"lerobot-train --policy.type=jepawm --dataset.repo_id=jepawm/recorded --dataset.root={data} "
        f"--steps={options.steps} --save_freq={options.steps} --log_freq=10 --batch_size=32 "
        f"--output_dir={trained} {POLICY}"
    )
    losses = [float(one) for one in re.findall(r"loss:([0-9.]+)", output)]
    policy = trained / "checkpoints" / "last" / "pretrained_model"
    goal = f"--policy.goal_dataset={data} --policy.goal_episode=0"
    run(
        f"lerobot-record {task} --policy.path={policy} {goal} --dataset.repo_id=jepawm/eval_acted "
        f"--dataset.root={acted} --dataset.num_episodes=1 --dataset.episode_time_s={options.seconds}"
    )
    moved = spread(run, acted)
    return {
        "losses": losses,
        "recorded_rows": spread(run, data)["rows"],
        "acted": moved,
        "asynchronous": asynchronous(run, policy, data=data, seconds=4 * options.seconds),
    }


def spread(run: Commands, data: Path) -> dict:
    """Return the rows of a recorded data set and the spread of its actions."""
    code = (
        "import glob, json, numpy as np, pyarrow.parquet as pq; "
        f"t = [pq.read_table(f) for f in sorted(glob.glob('{data}/data/**/*.parquet', recursive=True))]; "
        "a = np.concatenate([np.array(x['action'].to_pylist()) for x in t]); "
        "print(json.dumps({'rows': len(a), 'std': a.std(0).tolist(), 'finite': bool(np.isfinite(a).all())}))"
    )
    return json.loads(run(f"python -c {shlex.quote(code)}", told=False).splitlines()[-1])


def asynchronous(run: Commands, policy: Path, *, data: Path, seconds: float) -> dict:
    """Move the arm by a server's plans for some seconds; returns how many came."""
    with_goal(policy, data)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    logs = run.work / "server.log", run.work / "client.log"
    server = run.start(f"lerobot-jepawm-server --host=127.0.0.1 --port={port} --fps=30", logs[0])
    client = None
    try:
        wait_for(port, server)
        client = run.start(
            f"lerobot-jepawm-client --server_address=127.0.0.1:{port} --robot.type=jepawm_arm "
            f"--robot.id=simulated --policy_type=jepawm --pretrained_name_or_path={policy} "
            "--actions_per_chunk=18 --fps=30 --task=move",
            logs[1],
        )
        time.sleep(seconds)
    finally:
        for process in filter(None, (client, server)):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
    told = logs[0].read_text(encoding="utf-8")
    took = [float(one) for one in re.findall(r"inference took ([0-9.]+)s", told)]
    return {
        "chunks": told.count("generated"),
        "chunk_shapes": sorted(set(re.findall(r"action shape: torch.Size\((.*?)\)", told))),
        "inference_s_p95": float(np.quantile(took, 0.95)) if took else None,
        "errors": told.count("Error"),
    }


def with_goal(policy: Path, data: Path) -> None:
    """Write the goal into the policy's configuration: LeRobot's client passes no options on."""
    file = policy / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**config, "goal_dataset": f"{data}"}, indent=1), encoding="utf-8")


def public(line: str) -> str:
    """Return a command without the folders of this machine."""
    return re.sub(r"(?<==)/\S*/|(?<= )/\S*/", "", line)


def wait_for(port: int, server: subprocess.Popen) -> None:
    """Wait until a server listens."""
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None:
            raise SystemExit("the server ended before it listened; see server.log")
        time.sleep(0.1)
    raise SystemExit("the server does not listen after a minute; see server.log")


if __name__ == "__main__":
    main()
