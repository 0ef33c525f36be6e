"""Kill verbs at random moments (SIGKILL), run them again, and compare with what nobody disturbed.

    python benchmarks/kill.py --folder runs/bench/kill --kills 100

Right after each kill what is there must be whole or absent; after the second command it must be the
same, bit for bit, as without the kill: no episode, row or step lost or doubled. A summary goes to
results/kill.jsonl, and what was lost (nothing) to standard output.
"""

import argparse
import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from tiny_verbs import (
    QUICK,
    SMALL,
    Inputs,
    Look,
    answer_of,
    hashes,
    machine,
    prepare_inputs,
    require,
    start,
    training_of,
    wait_for,
)

ROOT = Path(__file__).parents[1]
Outcome = Counter[str]


@dataclass(frozen=True, kw_only=True)
class Work:
    """A verb that is killed."""

    command: list[str]
    """Its command line; OUT stands for the folder that it writes."""
    again: list[str]
    """The command line that goes on with it."""
    look: Look
    """What must be as without the kill."""
    share: int
    """How many of a hundred kills it gets."""
    whole: Callable[[Path], bool]
    """Whether what a kill leaves in the folder is whole, or nothing."""
    before: Callable[[Path], None] = lambda _: None
    """Put something into the folder first."""


def works(inputs: Inputs, folder: Path) -> dict[str, Work]:
    """Return all verbs by name."""
    collect = ["collect", "wall", "--num-episodes", "300", "--num-steps", "30", "--out", "OUT"]
    collect += ["--image-size", "16", "--processes", "1"]
    imported = ["data", "import", str(inputs.recordings), "--image-size", "16", "--out", "OUT"]
    encoder = ["--encoder", "dinov2", "--encoder.weights", "random:3", "--encoder.image-size", "28"]
    features = ["data", "features", str(inputs.store), *encoder, "--device", "cpu", "--out", "OUT"]
    train = ["train", "wall", *SMALL, "--out", "OUT"]
    fresh = [*train, "--data-root", "OUT.data", "--loop.save-every", "5"]
    saves = [*train, "--data-root", str(inputs.data_root), "--loop.save-every", "1"]
    evaluate = ["eval", str(inputs.run), *QUICK, "--episodes", "4", "--seed", "1002", "--overwrite"]
    evaluate += ["--out", "OUT"]
    old = folder / "old"
    if not old.exists():
        log = folder / "old.log"
        argv = [{"OUT": str(old), "1002": "1001"}.get(word, word) for word in evaluate]
        require(wait_for(start(argv, log)), log)

    def store(argv: list[str], share: int) -> Work:
        return Work(command=argv, again=argv, look=hashes, share=share, whole=is_store)

    def training(argv: list[str], share: int) -> Work:
        again = [*argv, "--resume"]
        return Work(command=argv, again=again, look=training_of, share=share, whole=loads)

    return {
        "collect": store(collect, 15),
        "import": store(imported, 10),
        "features": store(features, 15),
        "train": training(fresh, 25),
        "checkpoint": training(saves, 20),
        "eval": Work(
            command=evaluate,
            again=evaluate,
            look=answer_of,
            share=15,
            whole=lambda out: is_one_answer(out, old),
            before=lambda out: shutil.copytree(old, out) and None,
        ),
    }


def is_store(out: Path) -> bool:
    """Return whether a folder is absent or as a finished verb leaves it; compared in full later."""
    return not out.exists() or any(out.glob("*.json"))


def loads(out: Path) -> bool:
    """Return whether the checkpoint of a run is absent or loads with its training state."""
    if not any(out.glob("checkpoint/config.json")) and not any(out.glob("checkpoint.old/*.json")):
        return True
    return bool(training_of(out)) if (out / "metrics.jsonl").exists() else True


def is_one_answer(out: Path, old: Path) -> bool:
    """Return whether results, where there are some, stand beside their own rollouts."""
    if not (out / "results.json").exists():
        return True
    seed = json.loads((out / "results.json").read_text())["seed"]
    same = (out / "rollouts.npz").read_bytes() == (old / "rollouts.npz").read_bytes()
    return same == (seed == 1001)


def main() -> None:
    """Run every verb undisturbed, then kill it again and again; append the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder to work in")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "kill.jsonl")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    inputs = prepare_inputs(options.folder)
    generator = random.Random(options.seed)
    found: dict[str, Outcome] = {}
    for name, work in works(inputs, options.folder).items():
        kills = round(options.kills * work.share / 100)
        found[name] = disturb(name, work, options.folder, kills=kills, generator=generator)
        print(name, dict(found[name]), flush=True)
    total = sum(found.values(), Counter())
    row = {
        "command": f"python benchmarks/kill.py --kills {options.kills} --seed {options.seed}",
        "date": datetime.now(tz=UTC).date().isoformat(),
        **machine(),
        "kills": total["kills"],
        "lost_or_doubled": total["lost"],
        "not_whole_after_the_kill": total["torn"],
        "verbs": {name: dict(outcome) for name, outcome in found.items()},
    }
    with options.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def disturb(
    name: str, work: Work, folder: Path, *, kills: int, generator: random.Random
) -> Outcome:
    """Kill a verb at random moments of its life, from its first to its last."""
    log, wanted = folder / "log", folder / f"{name}-undisturbed"
    began = time.perf_counter()
    seconds = 0.0
    if not wanted.exists():
        work.before(wanted)
        require(wait_for(start(placed(work.command, wanted), log)), log)
    shutil.rmtree(folder / "timed", ignore_errors=True)
    shutil.rmtree(folder / "timed.data", ignore_errors=True)
    work.before(folder / "timed")
    began = time.perf_counter()
    require(wait_for(start(placed(work.command, folder / "timed"), log)), log)
    seconds = time.perf_counter() - began
    same = work.look(folder / "timed") == work.look(wanted)
    if not same:
        raise SystemExit(f"{name}: two undisturbed runs differ")
    outcome: Outcome = Counter()
    for number in range(kills):
        out = folder / "disturbed"
        for place in folder.glob("*disturbed*"):
            if not place.name.endswith("-undisturbed") and place.is_dir():
                shutil.rmtree(place)
        work.before(out)
        process = start(placed(work.command, out), log)
        delay = generator.uniform(0, seconds)
        time.sleep(delay)
        os.kill(process, signal.SIGKILL)
        outcome["kills"] += 1
        outcome["too late"] += wait_for(process) != -signal.SIGKILL
        problem = ""
        if not work.whole(out):
            outcome["torn"] += 1
            problem = "not whole after the kill"
        code = 0
        if not (work.look is hashes and out.exists()):  # done before the kill
            code = wait_for(start(placed(work.again, out), log))
        if code != 0 or work.look(out) != work.look(wanted):
            outcome["lost"] += 1
            problem = f"exit code {code}, then not as undisturbed: {log.read_text()[-500:]}"
        if problem:
            shutil.copytree(out, folder / f"lost-{name}-{number}", dirs_exist_ok=True)
            print(f"{name}, killed after {delay:.3f} s: {problem}", flush=True)
    return outcome


def placed(argv: list[str], out: Path) -> list[str]:
    """Put the folder in the place of OUT."""
    return [str(out) + word[3:] if word[:3] == "OUT" else word for word in argv]


if __name__ == "__main__":
    main()
