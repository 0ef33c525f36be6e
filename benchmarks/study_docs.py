"""Write the tables of docs/study.md and docs/zh/study.md from the axes and the rows of results/study.

    python benchmarks/study_docs.py

A test holds that the pages say what the rows say.
"""

import re
from pathlib import Path

from jepawm.study.claims_zh import verdicts_markdown_zh
from jepawm.study.known_axes import AXES
from jepawm.study.rows import read_rows
from jepawm.study.table_files import axes_markdown, verdicts_markdown
from jepawm.study.tables import axis_tables
from jepawm.study.verdicts import judge

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Replace what stands between the marks of the tables."""
    files = sorted((ROOT / "results" / "study").glob("*.jsonl"))
    verdicts = judge(axis_tables([row for file in files for row in read_rows(file)]))
    english, chinese = ROOT / "docs" / "study.md", ROOT / "docs" / "zh" / "study.md"
    fill(english, "axes", axes_markdown(AXES))
    fill(english, "verdicts", verdicts_markdown(verdicts))
    fill(chinese, "verdicts", verdicts_markdown_zh(verdicts))


def fill(page: Path, name: str, table: str) -> None:
    """Put a table between the marks of its name."""
    text = page.read_text(encoding="utf-8")
    marked = rf"<!-- {name} -->\n.*?<!-- end of {name} -->"
    new = f"<!-- {name} -->\n{table}<!-- end of {name} -->"
    page.write_text(re.sub(marked, lambda _: new, text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
