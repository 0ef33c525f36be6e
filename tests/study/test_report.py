"""The page of a study: what it says, and how a browser shows it."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from jepawm.errors import UserError
from jepawm.study.known_axes import AXES
from jepawm.study.report import write_study_report
from jepawm.study.rows import append_rows

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def whole_study(make_row, *, recipes=("study_grid", "study_token")):
    """Return rows of every axis: its own values, three seeds, two environments."""
    rows = []
    for axis in AXES:
        for recipe, env in zip(recipes, ("wall", "pointmaze"), strict=False):
            for place, value in enumerate(axis.chosen(())):
                rows += [
                    make_row(
                        axis.name,
                        value.name,
                        seed=seed,
                        recipe=recipe,
                        env=env,
                        success=0.3 + 0.05 * place,
                    )
                    for seed in range(3)
                ]
            rows.append(make_row(axis.name, "oracle", row="oracle", recipe=recipe, env=env))
    return rows


@pytest.fixture
def page(tmp_path: Path, make_row) -> Path:
    append_rows(tmp_path / "rows.jsonl", whole_study(make_row))
    return write_study_report([tmp_path / "rows.jsonl"], tmp_path / "report").page


def test_the_report_counts_what_it_found(tmp_path: Path, make_row):
    append_rows(tmp_path / "rows.jsonl", whole_study(make_row))
    written = write_study_report([tmp_path / "rows.jsonl"] * 2, tmp_path / "report")
    assert written.axes == len(AXES)
    assert written.rows == len(whole_study(make_row))
    assert all(path.is_file() for path in (written.page, *written.tables))
    assert {path.suffix for path in written.tables} == {".csv", ".tex"}


def test_the_page_is_light_whole_and_loads_nothing(page: Path):
    text = page.read_text(encoding="utf-8")
    assert len(text.encode()) < 5_000_000
    assert "http:" not in text
    assert "https:" not in text
    names = re.findall(r"\bid=['\"]([\w-]+)['\"]", text)
    assert len(names) == len(set(names))
    assert set(re.findall(r"href='#([\w-]+)'", text)) <= set(names)
    assert set(json.loads(html_data(text))["charts"]) <= set(names)


def html_data(text: str) -> str:
    return text.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]


def test_the_page_shows_the_papers_figure_beside_ours(page: Path):
    text = page.read_text(encoding="utf-8")
    assert "<title>paper: 78.8 %</title>" in text
    assert "paper +32.1" in text


def test_rows_of_other_versions_are_marked(tmp_path: Path, make_row, caplog):
    rows = [make_row("window", "1", seed=seed) for seed in range(3)]
    rows.append(make_row("window", "2", version="0.1.9"))
    append_rows(tmp_path / "rows.jsonl", rows)
    text = write_study_report([tmp_path / "rows.jsonl"], tmp_path / "out").page.read_text()
    assert ">2 *</th>" in text
    assert "*: jepawm 0.1.9" in text
    assert "2 different versions" in caplog.text


def test_what_stands_in_rows_cannot_break_the_page(tmp_path: Path, make_row):
    evil = "</script><b>\x1b[2J"
    rows = [make_row("window", "1", recipe=evil, env=evil, version=evil)]
    append_rows(tmp_path / "rows.jsonl", rows)
    text = write_study_report([tmp_path / "rows.jsonl"], tmp_path / "out").page.read_text()
    assert text.count("</script>") == 2
    assert "<b>" not in text
    assert "\x1b" not in text


def test_files_without_rows_are_refused(tmp_path: Path, make_row):
    path = tmp_path / "rows.jsonl"
    append_rows(path, [make_row("window", "oracle", row="oracle")])
    with pytest.raises(UserError, match=r"rows.jsonl: no row of a model; make some"):
        write_study_report([path], tmp_path / "out")
    with pytest.raises(UserError, match="is a folder; name files of rows"):
        write_study_report([tmp_path], tmp_path / "out")
    append_rows(path, [make_row("window", "1")])
    with pytest.raises(UserError, match="is not a folder; choose another --out"):
        write_study_report([path], path)


PROBE = """<!DOCTYPE html><title>probe</title><body><iframe id="page" width="390" height="800"
src="study.html" style="border:0"></iframe><pre id="out"></pre><script>
const began = performance.now();
document.getElementById("page").onload = () => {
  const root = document.getElementById("page").contentDocument.documentElement;
  const narrow = [...root.querySelectorAll("svg text")].map((one) => one.getBoundingClientRect());
  document.getElementById("out").textContent = JSON.stringify({
    milliseconds: performance.now() - began,
    width: root.scrollWidth,
    sections: root.querySelectorAll("section").length,
    smallest: Math.min(...narrow.map((box) => box.height)),
    rightmost: Math.max(...narrow.map((box) => box.right)),
  });
};
</script></body>"""


def test_a_browser_shows_the_page_on_a_narrow_screen_without_a_complaint(
    page: Path, tmp_path: Path
):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium on this machine")
    probe = page.with_name("probe.html")
    probe.write_text(PROBE)
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--allow-file-access-from-files", "--enable-logging=stderr", "--v=0"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=8000"]
    done = subprocess.run(
        [*command, probe.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = json.loads(html.unescape(re.findall(r'<pre id="out">(.*?)</pre>', done.stdout)[0]))
    assert "CONSOLE" not in done.stderr
    assert found["width"] <= 390
    assert found["sections"] == len(AXES) + 4
    assert found["smallest"] >= 9
    assert found["rightmost"] <= 390
    assert found["milliseconds"] < 2000
