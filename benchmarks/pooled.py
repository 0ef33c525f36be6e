"""Pool the success rates of the bundled checkpoints over all test lists, and print README's table.

    python benchmarks/pooled.py

Which rows of `results/*.jsonl` count:

1. Model: the bundled checkpoint, by its name or by the training run that it was exported from.
2. Setting: protocol `paper`, split `test`, the planner that is stored in the checkpoint.
3. Every list of test tasks counts once. Where a list was measured more than once, the row with the
   most tasks counts, and among these the latest.

Intervals are Wilson's, over all tasks together. The oracle is pooled in the same way over all lists
for which it was measured. The median over training seeds is in docs/lab/wall.md.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jepawm.evaluation.metrics import wilson_interval
from jepawm.report.paper import PAPER

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINTS = ROOT / "src/jepawm/hub/checkpoints"

Row = Mapping[str, Any]  # one line of a file of results


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What the table says of one environment beside its figures."""

    title: str
    page: str
    paper_title: str
    """Name of the environment in the paper's table."""
    data_minutes: int
    """Minutes of one core that collecting the training data takes, rounded up."""
    cores: int = 1
    """Cores that the training had."""
    oracle_note: str = ""


ENVIRONMENTS = {
    "wall": Environment(
        title="Wall", page="wall", paper_title="Wall", data_minutes=1, cores=2
    ),
    "pointmaze": Environment(
        title="PointMaze", page="pointmaze", paper_title="Maze", data_minutes=4
    ),
    "pusht": Environment(
        title="Push-T", page="pusht", paper_title="Push-T", data_minutes=22, oracle_note="†"
    ),
    "metaworld_reach": Environment(
        title="Metaworld reach", page="metaworld", paper_title="MW-Reach", data_minutes=8, oracle_note="†"
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """Successes over several lists of tasks."""

    successes: int
    tasks: int
    lists: int

    @property
    def text(self) -> str:
        """Return the rate in per cent with its 95 % interval."""
        low, high = wilson_interval(self.successes, self.tasks)
        rate = self.successes / self.tasks
        return f"{100 * rate:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def main() -> None:
    """Print the table."""
    print(table())


def table() -> str:
    """Return README's table of results as Markdown."""
    lines = [
        "| environment | jepawm [95 % interval] | tasks (lists) | oracle | paper | training + data |",
        "|---|---|---|---|---|---|",
    ]
    for name, about in ENVIRONMENTS.items():
        model, oracle = pooled_model(name), pooled_oracle(name)
        paper = next(row for row in PAPER.values() if row.title == about.paper_title)
        cells = [
            f"[{about.title}](docs/environments/{about.page}.md)",
            model.text,
            f"{model.tasks} ({model.lists})",
            f"{100 * oracle.successes / oracle.tasks:.1f}{about.oracle_note}",
            f"{100 * paper.jepa_wm.success:.1f}",
            f"{_training_minutes(name)} + {about.data_minutes} min, {about.cores} core"
            + ("s" if about.cores > 1 else ""),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def pooled_model(name: str) -> Pooled:
    """Pool the bundled checkpoint `name` over its test lists."""
    bundle = _bundle(name)
    rows = [row for row in _rows(name) if _is_bundled(row, bundle)]
    rows += [row for row in _rows("planners") if row["source"] == name]
    counted = [
        (_list(row), _num_tasks(row), float(row["success"]))
        for row in rows
        if _is_paper_test(row) and _same_planner(row["planner"], bundle["planner"])
    ]
    return _pool(counted)


def pooled_oracle(name: str) -> Pooled:
    """Pool the paper's planner on the true dynamics over all lists for which it was measured."""
    counted = [
        (_list(row), _num_tasks(row), float(row["baselines"]["oracle"]))
        for row in _rows(name)
        if _is_paper_test(row)
    ]
    counted += [
        (_list(row), _num_tasks(row), float(row["success"]))
        for row in _rows("planners")
        if row["source"] == name and row["name"] == "oracle" and _is_paper_test(row)
    ]
    return _pool(counted)


def _pool(counted: Iterable[tuple[int, int, float]]) -> Pooled:
    best: dict[int, tuple[int, float]] = {}
    for number, tasks, success in counted:  # in the order of the file, so the latest comes last
        if number not in best or tasks >= best[number][0]:
            best[number] = (tasks, success)
    return Pooled(
        successes=sum(round(tasks * success) for tasks, success in best.values()),
        tasks=sum(tasks for tasks, _ in best.values()),
        lists=len(best),
    )


def _rows(name: str) -> list[Row]:
    lines = (ROOT / "results" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _bundle(name: str) -> dict[str, Any]:
    text = (CHECKPOINTS / name / "experiment.json").read_text(encoding="utf-8")
    return json.loads(text)["experiment"]


def _is_bundled(row: Row, bundle: Mapping[str, Any]) -> bool:
    if "training_seed" not in row:
        return True  # `jepawm eval NAME`: the bundled checkpoint itself
    steps = bundle["optim"]["num_steps"]
    return row["training_seed"] == bundle["seed"] and row["training"]["steps"] == steps


def _is_paper_test(row: Row) -> bool:
    split = row["split"] if "split" in row else row["tasks"]["split"]
    return row["protocol"] == "paper" and split == "test"


def _same_planner(of_row: Mapping[str, Any] | None, stored: Mapping[str, Any]) -> bool:
    """Whether a row was planned by the stored planner; fields of later versions may be missing."""
    if of_row is None:
        return False
    kinds = {"cem": "CEM", "gd": "GradientDescent"}
    same = of_row["type"] == kinds[stored["name"]]
    return same and all(of_row[key] == stored[key] for key in stored.keys() & of_row.keys())


def _list(row: Row) -> int:
    return row["seed"] if "seed" in row else row["tasks"]["seed"]


def _num_tasks(row: Row) -> int:
    return row["episodes"] if "episodes" in row else len(row["outcomes"])


def _training_minutes(name: str) -> int:
    bundle = _bundle(name)
    rows = [row for row in _rows(name) if "training_seed" in row and _is_bundled(row, bundle)]
    return round(rows[-1]["training"]["training_seconds"] / 60)


if __name__ == "__main__":
    main()
