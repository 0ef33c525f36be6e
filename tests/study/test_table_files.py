"""Tables as CSV and LaTeX."""

import csv
import io
from pathlib import Path

from jepawm.study.claims import CLAIMS
from jepawm.study.claims_zh import SAYS_ZH, verdicts_markdown_zh
from jepawm.study.known_axes import AXES
from jepawm.study.rows import read_rows
from jepawm.study.table_files import (
    Grid,
    axes_markdown,
    axis_grid,
    to_csv,
    to_latex,
    verdict_grid,
    verdicts_markdown,
)
from jepawm.study.tables import axis_tables
from jepawm.study.verdicts import judge


def rows(make_row):
    found = [
        make_row("window", value, seed=seed, success=[task < count for task in range(96)])
        for value, count in (("1", 24), ("2", 72))
        for seed in range(3)
    ]
    return [*found, make_row("window", "oracle", row="oracle", success=[True] * 96)]


def test_csv_has_a_line_for_each_value_and_reference(make_row):
    text = to_csv(axis_grid(axis_tables(rows(make_row))))
    first, second, oracle = csv.DictReader(io.StringIO(text))
    assert (first["value"], first["success"], first["difference"]) == ("1", "25.0", "")
    assert (second["value"], second["success"], second["difference"]) == ("2", "75.0", "50.0")
    assert (second["minus"], second["seeds"], second["tasks"]) == ("1", "3", "96")
    assert (second["error over copying k1"], second["error over copying last"]) == ("0.25", "0.75")
    assert (oracle["value"], oracle["success"], oracle["final distance"]) == (
        "oracle",
        "100.0",
        "1",
    )


def test_verdicts_have_a_line_for_each_claim_and_recipe(make_row):
    verdicts = judge(axis_tables(rows(make_row)))
    lines = list(csv.DictReader(io.StringIO(to_csv(verdict_grid(verdicts)))))
    assert len(lines) == len(verdicts)
    known = next(line for line in lines if line["first"] == "2" and line["second"] == "1")
    assert (known["difference"], known["verdict"]) == ("50.0", "agrees")


def test_latex_escapes_what_latex_reads():
    grid = Grid(head=("a_b", "c"), lines=(("50 %", "x & {y}\\"), ("~", "^")))
    assert to_latex(grid, columns=("a_b",)).splitlines() == [
        r"\begin{tabular}{l}",
        r"\toprule",
        r"a\_b \\",
        r"\midrule",
        r"50 \% \\",
        r"\textasciitilde{} \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert r"x \& \{y\}\textbackslash{}" in to_latex(grid, columns=("c",))


def test_the_page_of_the_docs_says_what_the_rows_say(project_root: Path):
    """The tables of docs/study.md are those of the axes and of results/study."""
    page = (project_root / "docs" / "study.md").read_text(encoding="utf-8")
    files = sorted((project_root / "results" / "study").glob("*.jsonl"))
    verdicts = judge(axis_tables([row for file in files for row in read_rows(file)]))
    assert f"<!-- axes -->\n{axes_markdown(AXES)}<!-- end of axes -->" in page
    assert f"<!-- verdicts -->\n{verdicts_markdown(verdicts)}<!-- end of verdicts -->" in page
    chinese = (project_root / "docs" / "zh" / "study.md").read_text(encoding="utf-8")
    table = verdicts_markdown_zh(verdicts)
    assert f"<!-- verdicts -->\n{table}<!-- end of verdicts -->" in chinese


def test_every_claim_is_said_in_chinese():
    assert SAYS_ZH.keys() == {claim.id for claim in CLAIMS}
