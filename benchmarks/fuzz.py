"""Mutate every kind of file that the library reads, and sort what happens.

    python benchmarks/fuzz.py --seconds 600 --keep found

Every case copies a small valid input, changes one file of it at random, and runs the commands that
read it, in a process of its own with 4 GiB of memory above its start and 60 seconds. No exit code
1, no hang, no signal, no file outside of the input opened, no program started; with a hash, no other
content without a word. Offending inputs are kept in `--keep` with what happened in `case.json`. A
row with the counts goes to results/fuzz.jsonl. The exit code is 0 only if nothing is wrong.
"""

import argparse
import contextlib
import io
import json
import multiprocessing
import re
import shutil
import stat
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import Empty

from fuzz_case import FAULTS, Outcome, Places, import_everything, run_case, usual_content
from fuzz_containers import write_secrets
from fuzz_sources import ROOT, Target, write_targets

from recipes import machine

Usual = Mapping[str, Mapping[str, str]]
"""Digests of what comes out of the valid inputs, by kind."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run cases until time is over, and say what was found."""
    options = _parse(argv)
    spawn = multiprocessing.get_context("spawn")  # a process that has computed is no good to fork
    began = time.monotonic()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        base = Path(temporary) / "valid"
        with spawn.Pool(1, maxtasksperchild=1) as pool:
            targets = pool.apply(_write, (base, options.kinds))
            usual = pool.apply(_read_valid, (targets, base))
        queue = spawn.Queue()
        shares = [Share(number=i, of=options.processes) for i in range(options.processes)]
        workers = [
            spawn.Process(target=_work, args=(queue, targets, usual, base, one, options))
            for one in shares
        ]
        for worker in workers:
            worker.start()
        for outcome in _received(queue, workers):
            outcomes.append(outcome)
            if options.verbose or outcome.outcome in FAULTS:
                print(json.dumps(asdict(outcome)), flush=True)
    counts = Counter(outcome.outcome for outcome in outcomes)
    _summarize(outcomes, seconds=time.monotonic() - began)
    if options.row:
        _write_row(outcomes, seconds=time.monotonic() - began)
    return 1 if any(counts[name] for name in FAULTS) or not outcomes else 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Mutate files and sort what happens.")
    parser.add_argument("--seconds", type=float, default=600, help="time to begin cases in")
    parser.add_argument("--cases", type=int, default=10**9, help="cases at most")
    parser.add_argument("--kinds", nargs="*", help="kinds of input; all if not given")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first case")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for offending inputs")
    parser.add_argument("--row", action="store_true", help="append to results/fuzz.jsonl")
    parser.add_argument("--verbose", action="store_true", help="show every case")
    return parser.parse_args(argv)


@dataclass(frozen=True, kw_only=True)
class Share:
    """Which cases a process runs: every `of`-th, from `number` on."""

    number: int
    """Number of the process."""
    of: int
    """Processes."""


def _write(base: Path, kinds: Sequence[str] | None) -> list[Target]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        targets = write_targets(base)
    known = [target.kind for target in targets]
    if unknown := sorted(set(kinds or ()) - set(known)):
        raise ValueError(f"no such kinds: {unknown} (there are {known})")
    return [target for target in targets if not kinds or target.kind in kinds]


def _read_valid(targets: Sequence[Target], base: Path) -> dict[str, dict[str, str]]:
    import_everything()
    found: dict[str, dict[str, str]] = {}
    for target in targets:
        with tempfile.TemporaryDirectory(prefix="fuzz-valid-") as folder:
            found[target.kind] = usual_content(target, folder=Path(folder), base=base)
    return found


def _work(
    queue: "multiprocessing.Queue[Outcome | None]",
    targets: Sequence[Target],
    usual: Usual,
    base: Path,
    share: Share,
    options: argparse.Namespace,
) -> None:
    """Run the cases of one process until time is over."""
    import_everything()
    secret = base.parent / f"outside-{share.number}"
    kinds = {target.kind: target.folder for target in targets}
    write_secrets(
        secret,
        {
            path.suffix: path
            for folder in kinds.values()
            for path in folder.rglob("*.*")
            if path.is_file()
        },
    )
    places = Places(base=base, secret=secret)
    until = time.monotonic() + options.seconds
    for number in range(share.number, options.cases, share.of):
        if time.monotonic() >= until:
            break
        seed, place = divmod(number, len(targets))
        target = targets[place]
        if seed % target.rounds:
            continue
        folder = Path(tempfile.mkdtemp(prefix="case-", dir=base.parent))
        outcome = run_case(
            target, seed=options.seed + seed, folder=folder, places=places, usual=usual[target.kind]
        )
        if outcome is not None:
            queue.put(outcome)
            if options.keep is not None and outcome.outcome in FAULTS:
                _keep(outcome, folder, options.keep)
        shutil.rmtree(folder, ignore_errors=True)
    queue.put(None)


def _received(
    queue: "multiprocessing.Queue[Outcome | None]", workers: Sequence[BaseProcess]
) -> Iterator[Outcome]:
    """Give outcomes as they come, until every process has ended."""
    left = len(workers)
    while left:
        try:
            outcome = queue.get(timeout=1)
        except Empty:
            if not any(worker.is_alive() for worker in workers):
                raise SystemExit("a process of the search died") from None
            continue
        if outcome is None:
            left -= 1
        else:
            yield outcome


def _keep(outcome: Outcome, folder: Path, keep: Path) -> None:
    """Keep the input that did harm, once for each kind of harm."""
    name = f"{outcome.kind}-{outcome.outcome}-{outcome.place or outcome.mutation}"
    target = keep / re.sub(r"[^\w.-]+", "_", name)[:150]
    if target.exists():
        return
    target.mkdir(parents=True)
    shutil.copytree(folder / "src", target / "src", symlinks=True, ignore=_irregular)
    (target / "case.json").write_text(json.dumps(asdict(outcome), indent=1))


def _irregular(folder: str, names: list[str]) -> list[str]:
    """Name what cannot be copied: links are kept as links."""
    return [
        name
        for name in names
        if stat.S_IFMT((Path(folder) / name).lstat().st_mode)
        not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
    ]


def _summarize(outcomes: Sequence[Outcome], *, seconds: float) -> None:
    kinds = sorted({outcome.kind for outcome in outcomes})
    names = ["good", "refused", "different", *FAULTS]
    print(f"{'':<24}" + "".join(f"{name:>10}" for name in names))
    for kind in [*kinds, "all"]:
        chosen = [one.outcome for one in outcomes if kind in (one.kind, "all")]
        print(f"{kind:<24}" + "".join(f"{chosen.count(name):>10}" for name in names))
    slowest = max((outcome.seconds for outcome in outcomes), default=0.0)
    largest = max((outcome.megabytes for outcome in outcomes), default=0)
    print(
        f"{len(outcomes)} files in {seconds:.0f} s; slowest {slowest:.0f} s, largest {largest} MB"
    )
    places = Counter(
        f"{one.outcome:<8} {one.kind}: {one.place or one.mutation}"
        for one in outcomes
        if one.outcome in FAULTS
    )
    for place, count in places.most_common():
        print(f"{count:>5}  {place}")


def _write_row(outcomes: Sequence[Outcome], *, seconds: float) -> None:
    counts = Counter(outcome.outcome for outcome in outcomes)
    row = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"python benchmarks/fuzz.py {' '.join(sys.argv[1:])}",
        "machine": machine(),
        "files": len(outcomes),
        "kinds": len({outcome.kind for outcome in outcomes}),
        **{name: counts[name] for name in ("good", "refused", "different", *FAULTS)},
        "seconds": round(seconds),
        "slowest_seconds": max(outcome.seconds for outcome in outcomes),
        "largest_megabytes": max(outcome.megabytes for outcome in outcomes),
        "different_by_mutation": dict(_different(outcomes).most_common(40)),
    }
    with (ROOT / "results" / "fuzz.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _different(outcomes: Sequence[Outcome]) -> Counter[str]:
    """Count the legal changes of files without a hash, by file and mutation."""
    changed = [one for one in outcomes if one.outcome == "different"]
    return Counter(
        f"{Path(one.file).suffix} {' '.join(one.mutation.split()[:2])}" for one in changed
    )


if __name__ == "__main__":
    raise SystemExit(main())
