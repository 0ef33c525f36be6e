"""What the pages say: links resolve, Python blocks run, the tables are those of the results."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
READMES = ["README.md", "README.zh-CN.md"]
PAGES = sorted(
    [ROOT / name for name in (*READMES, "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")]
    + [*(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.md")]
)
NEEDS = {
    "docs/environments/pointmaze.md": "mujoco",
    "docs/environments/metaworld.md": "metaworld",
    "docs/environments/pusht.md": "pymunk",
    "docs/models/frozen_encoders.md": "transformers",
}
"""Packages without which the blocks of a page cannot run."""
LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def python_blocks(page: Path) -> list[str]:
    """Return the blocks of a page that run; one that begins with `# Fragment` does not."""
    blocks = _blocks(page.read_text(encoding="utf-8"), "python")
    return [block for block in blocks if not block.startswith("# Fragment")]


def _blocks(text: str, *languages: str) -> list[str]:
    return [block for language, block in FENCE.findall(text) if language in languages]


def _without_blocks(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", _without_blocks(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page: Path):
    for target in LINK.findall(_without_blocks(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{name_of(page)} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{name_of(page)} links to {target}"


RUN = [page for page in PAGES if python_blocks(page) and page.name != READMES[1]]
"""Pages with blocks to run; those of the two READMEs are the same."""


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_python_blocks_run(page: Path, tmp_path: Path):
    if name_of(page) in NEEDS:
        pytest.importorskip(NEEDS[name_of(page)])
    script = tmp_path / "blocks.py"
    script.write_text("\n".join(python_blocks(page)), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"OMP_NUM_THREADS": "1"} | os.environ,
        check=False,
    )
    if "OpenGL" in done.stderr and "UserError" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_name_no_path_of_one_machine(page: Path):
    assert "shared/data" not in page.read_text(encoding="utf-8")


def test_readme_table_is_that_of_the_results():
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "pooled.py")],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = done.stdout.strip().splitlines()
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in READMES)
    assert "\n".join(rows) in english
    figures = [row.split("|")[2:6] for row in rows[2:]]
    assert [row.split("|")[2:6] for row in _table(chinese)] == figures


def _table(text: str) -> list[str]:
    """Return the rows of the table of environments."""
    return [line for line in text.splitlines() if line.startswith("| [")]


def test_the_readmes_give_the_same_commands():
    english, chinese = (_commands((ROOT / name).read_text(encoding="utf-8")) for name in READMES)
    assert english == chinese
    assert {"make demo", "make test"} <= set(english)


def _commands(text: str) -> list[str]:
    """Return the commands and the lines of Python of a page, without comments."""
    blocks = _blocks(text, "", "sh", "python")
    lines = [line.partition("#")[0].rstrip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_readme_stays_short():
    for name in READMES:
        assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= 150


def test_every_example_is_listed():
    page = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for example in sorted((ROOT / "examples").iterdir()):
        if example.suffix in (".py", ".slurm"):
            assert f"`examples/{example.name}`" in page
