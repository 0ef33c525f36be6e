"""Run verbs on a disk that fills at 20 levels, make space, run them again; as root, on Linux.

    sudo python benchmarks/full_disk.py --folder runs/bench/full_disk --levels 20

The disk is a tmpfs that a file fills up to what the verb needs, times 0 to 1. A verb that finds no
room must end with exit code 2 and one message, leave what was there before as it was, and, once
there is room, give the same as on an empty disk. A summary goes to results/full_disk.jsonl.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from kill import Work, placed, works
from tiny_verbs import Inputs, hashes, machine, prepare_inputs, require, start, wait_for

ROOT = Path(__file__).parents[1]
DISK_BYTES = 2**26
PAGE = 4096


@dataclass(frozen=True, kw_only=True)
class Try:
    """A verb on a disk of some level."""

    name: str
    """Name of the verb."""
    work: Work
    """The verb."""
    free: int
    """Bytes that are free when it starts."""


def main() -> None:
    """Try every verb at every level; append the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder to work in")
    parser.add_argument("--levels", type=int, default=20)
    parser.add_argument("--verbs", nargs="*", help="only these")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "full_disk.jsonl")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    inputs = prepare_inputs(folder)
    found: dict[str, Counter[str]] = {}
    with small_disk(folder / "disk") as disk:
        for name, work in (works(inputs, folder) | more_works(inputs)).items():
            if options.verbs and name not in options.verbs:
                continue
            found[name] = fill(name, work, folder, disk, levels=options.levels)
            print(name, dict(found[name]), flush=True)
    total = sum(found.values(), Counter())
    row = {
        "command": shlex.join(["python", "benchmarks/full_disk.py", *sys.argv[1:]]),
        "date": datetime.now(tz=UTC).date().isoformat(),
        **machine(),
        "tries": total["tries"],
        "full": total["full"],
        "not_exit_code_2": total["fault"],
        "not_as_before": total["lost"],
        "not_the_same_with_room": total["different"],
        "verbs": {name: dict(outcome) for name, outcome in found.items()},
    }
    with options.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def more_works(inputs: Inputs) -> dict[str, Work]:
    """Return the verbs that are not worth killing."""
    export = ["data", "export", str(inputs.store), "--fps", "10", "--out", "OUT"]
    plan = ["plan", str(inputs.run), "--device", "cpu", "--out", "OUT"]

    def work(command: list[str], look: Callable[[Path], dict[str, str]]) -> Work:
        return Work(command=command, again=command, look=look, share=0, whole=lambda _: True)

    report = work(["report", "OUT"], hashes)
    return {
        "export npz": work([*export, "--format", "npz"], hashes),
        "export lerobot": work([*export, "--images", "png"], names),
        "plan": work(plan, names),
        "report": Work(
            **{**vars(report), "before": lambda out: shutil.copytree(inputs.run, out) and None}
        ),
    }


def names(folder: Path) -> dict[str, str]:
    """Return the names of all files: what is in them depends on the time."""
    return dict.fromkeys(hashes(folder), "")


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """Mount an empty tmpfs."""
    place.mkdir(exist_ok=True)
    size = f"size={DISK_BYTES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(name: str, work: Work, folder: Path, disk: Path, *, levels: int) -> Counter[str]:
    """Run a verb on an empty disk, then on ever less full ones."""
    clear(disk)
    log, out = folder / "log", disk / "out"
    work.before(out)
    base = used(disk)
    require(wait_for(start(placed(work.command, out), log)), log)
    wanted, need = work.look(out), used(disk) - base
    outcome: Counter[str] = Counter()
    for level in range(levels):
        one = Try(name=name, work=work, free=need * level // levels)
        outcome.update(attempt(one, disk, log, wanted=wanted))
    return outcome


def attempt(one: Try, disk: Path, log: Path, *, wanted: dict[str, str]) -> Counter[str]:
    """Run a verb on a nearly full disk, make room, run it again."""
    clear(disk)
    work, out, outcome = one.work, disk / "out", Counter(tries=1)
    work.before(out)
    before = hashes(disk)
    (disk / "filler").write_bytes(bytes(max(0, DISK_BYTES - used(disk) - one.free - PAGE)))
    code = wait_for(start(placed(work.command, out), log))
    said = log.read_text()
    outcome["full"] += code != 0
    if code not in (0, 2) or "fault of the program" in said or "Traceback" in said:
        outcome["fault"] += 1
        print(f"{one.name}, {one.free} bytes free: exit code {code}: {said[-500:]}", flush=True)
    (disk / "filler").unlink()
    after = hashes(disk)
    kept = all(after.get(file) == digest for file, digest in before.items())
    if code != 0 and not (kept and work.whole(out)):
        outcome["lost"] += 1
        print(f"{one.name}, {one.free} bytes free: not as before", flush=True)
    if code == 0:
        return outcome
    code = wait_for(start(placed(work.again, out), log))
    if code != 0 or work.look(out) != wanted:
        outcome["different"] += 1
        print(f"{one.name}, {one.free} bytes free, again: {code}: {log.read_text()[-500:]}")
    return outcome


def used(disk: Path) -> int:
    """Return the bytes that are taken."""
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def clear(disk: Path) -> None:
    """Delete all."""
    for path in disk.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    main()
