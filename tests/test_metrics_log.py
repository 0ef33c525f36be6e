import errno
import io
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jepawm.errors import UserError
from jepawm.metrics_log import (
    METRICS,
    MetricsLog,
    find_gaps,
    find_metric,
    metrics_table,
    read_metrics,
)


def write_rows(path: Path, steps: range) -> None:
    with MetricsLog(path) as log:
        for step in steps:
            log.append(step, {"train/loss": 1 / step}, seconds=0.5 * step)


def test_rows_come_back_as_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_rows(path, range(1, 4))
    assert read_metrics(path) == [
        {"step": 1, "seconds": 0.5, "train/loss": 1.0},
        {"step": 2, "seconds": 1.0, "train/loss": 0.5},
        {"step": 3, "seconds": 1.5, "train/loss": 1 / 3},
    ]


def test_each_row_is_on_disk_before_the_next(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    log.append(1, {"train/loss": 2.0}, seconds=0.0)
    assert len(read_metrics(path)) == 1
    log.close()


def test_opening_again_appends(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_rows(path, range(1, 3))
    write_rows(path, range(3, 5))
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3, 4]


def test_truncate_after_drops_later_rows_and_appends_go_on(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_rows(path, range(1, 10))
    with MetricsLog(path) as log:
        log.truncate_after(4)
        log.append(5, {"train/loss": 7.0}, seconds=1.0)
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3, 4, 5]
    assert read_metrics(path)[-1]["train/loss"] == 7.0


@pytest.mark.parametrize("torn", ['{"st', '{"step": 3, "seconds": 1.0}', '{"step": 3, "s\xe9'])
def test_half_written_last_line_is_dropped(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    write_rows(path, range(1, 3))
    path.write_bytes(path.read_bytes() + torn.encode("latin-1"))
    assert [row["step"] for row in read_metrics(path)] == [1, 2]
    write_rows(path, range(3, 4))
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3]


def test_killed_writer_loses_no_whole_row(tmp_path):
    path = tmp_path / "metrics.jsonl"
    code = (
        "import json, os, sys\n"
        "path = sys.argv[1]\n"
        "out = open(path, 'a')\n"
        "for step in range(1, 50):\n"
        "    out.write(json.dumps({'step': step, 'seconds': 0.0}) + '\\n')\n"
        "    out.flush()\n"
        'out.write(\'{"step": 50, "sec\')\n'
        "out.flush()\n"
        f"os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode != 0
    write_rows(path, range(50, 51))
    assert [row["step"] for row in read_metrics(path)] == list(range(1, 51))


def test_nan_is_null_in_the_file_and_nan_again_when_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        log.append(1, {"train/loss": math.nan, "val/x": math.inf}, seconds=0.0)
    assert json.loads(path.read_text())["train/loss"] is None
    row = read_metrics(path)[0]
    assert math.isnan(row["train/loss"])
    assert math.isnan(row["val/x"])


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("nonsense", "truncated or altered"),
        ("[1, 2]", "step"),
        ('{"seconds": 1.0}', "step"),
        ('{"step": 1.5}', "step"),
        ('{"step": 1, "train/loss": "low"}', "train/loss"),
        ('{"step": 1, "train/loss": true}', "train/loss"),
    ],
)
def test_malformed_line_names_file_and_line(tmp_path, line, complaint):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0, "seconds": 0.0}\n' + line + "\n")
    with pytest.raises(UserError, match=complaint) as caught:
        read_metrics(path)
    assert "metrics.jsonl:2" in str(caught.value)


def test_missing_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="jepawm train"):
        read_metrics(tmp_path / "metrics.jsonl")


class FullDisk(io.StringIO):
    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_is_a_user_error(tmp_path, monkeypatch):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append(1, {"train/loss": 1.0}, seconds=0.0)
    monkeypatch.setattr(log, "_file", FullDisk())
    with pytest.raises(UserError, match=r"No space left.*--resume"):
        log.append(2, {"train/loss": 1.0}, seconds=0.0)
    assert [row["step"] for row in read_metrics(log.path)] == [1]


def test_a_logged_key_belongs_to_one_metric():
    found = find_metric("val/prediction_k12")
    assert found is not None
    assert found.key == "val/prediction_k{k}"
    assert find_metric("train/loss_kind") is None
    assert len({metric.key for metric in METRICS}) == len(METRICS)


def test_the_page_of_the_report_shows_the_table(project_root: Path):
    """The page holds what `metrics_table()` returns, word for word."""
    page = (project_root / "docs" / "report.md").read_text(encoding="utf-8")
    assert metrics_table() in page


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (0.1, 0.99, None),
        (0.1, 1.0, "val/prediction 1 and train/prediction 0.1 differ 10 times: learned by heart"),
        (2.0, 0.1, "val/prediction 0.1 and train/prediction 2 differ 20 times: batch norm lags"),
        (0.0, 1.0, None),  # collapse has a warning of its own
        (-0.9, -0.001, None),  # minus a cosine has no factor
        (math.nan, 1.0, None),
    ],
)
def test_losses_of_one_kind_that_differ_tenfold_are_named(ours, theirs, message):
    gaps = find_gaps({"train/prediction": ours, "val/prediction": theirs, "train/rollout": 1e-9})
    assert [gap[: len(message or "")] for gap in gaps] == ([] if message is None else [message])


def test_both_losses_may_differ():
    row = {"train/prediction": 1.0, "train/rollout": 2.0, "val/prediction": 30, "val/rollout": 60.0}
    assert [gap.split()[0] for gap in find_gaps(row)] == ["val/prediction", "val/rollout"]
