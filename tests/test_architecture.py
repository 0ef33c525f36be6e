"""What a script can see of the style guide, beyond ruff, pyright and the floors."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PYTHON_FILES = SOURCES + [
    path
    for folder in ("tests", "examples", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_EXAMPLE_LINES = 60
# Functions of three things that everyone writes without names: (q, k, v), (name, got, expected), (content, name, kind).
POSITIONAL = {
    "attend",
    "attend_frames",
    "attend_many_split",
    "attend_parts",
    "attend_split",
    "attend_to_few",
    "compare",
    "entry",
    "exact",
    "optional_entry",
    "prediction_loss",
    "register",
}
BANNED = (
    r"weights_only\s*=\s*False",
    r"allow_pickle\s*=\s*True",
    r"^\s*(import|from) (pickle|dill|joblib)\b",
    r"from __future__ import annotations",
    r"\b(cfg|config)\.get\([^)]*,",
    r"\b(TODO|FIXME|XXX)\b",
)

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


sources = pytest.mark.parametrize("path", SOURCES, ids=relative)
python_files = pytest.mark.parametrize("path", PYTHON_FILES, ids=relative)


def functions(path: Path) -> Iterator[FunctionNode]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, FunctionNode):
            yield node


def lines_without_docstring(node: FunctionNode) -> int:
    body = node.body
    if ast.get_docstring(node) is not None:
        body = body[1:]
    if not body:
        return 0
    assert node.end_lineno is not None
    signature = node.body[0].lineno - node.lineno
    return signature + node.end_lineno - body[0].lineno + 1


@python_files
def test_files_stay_short(path: Path):
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES


def test_examples_stay_shorter():
    for path in (ROOT / "examples").glob("*.py"):
        assert len(path.read_text().splitlines()) <= MAX_EXAMPLE_LINES, path.name


@sources
def test_functions_stay_short(path: Path):
    long = {node.name: lines_without_docstring(node) for node in functions(path)}
    assert {name: count for name, count in long.items() if count > MAX_FUNCTION_LINES} == {}


@sources
def test_arguments_after_the_first_two_are_keyword_only(path: Path):
    offenders = []
    for node in functions(path):
        names = [argument.arg for argument in node.args.posonlyargs + node.args.args]
        count = len([name for name in names if name not in ("self", "cls")])
        if count > 2 and not node.name.startswith("_") and node.name not in POSITIONAL:
            offenders.append(node.name)
    assert offenders == []


@sources
def test_fields_of_dataclasses_are_documented(path: Path):
    missing = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ClassDef) or node.name[0] == "_" or not is_dataclass(node):
            continue
        for index, statement in enumerate(node.body):
            if isinstance(statement, ast.AnnAssign) and not is_docstring(node.body, index + 1):
                missing.append(f"{node.name}.{ast.unparse(statement.target)}")
    assert [name for name in missing if not name.split(".")[-1].startswith("_")] == []


def is_dataclass(node: ast.ClassDef) -> bool:
    return any(
        "dataclass" in ast.unparse(decorator).split("(")[0] for decorator in node.decorator_list
    )


def is_docstring(body: list[ast.stmt], index: int) -> bool:
    return (
        index < len(body)
        and isinstance(expression := body[index], ast.Expr)
        and isinstance(expression.value, ast.Constant)
        and isinstance(expression.value.value, str)
    )


@sources
def test_names_of_files_name_a_concept(path: Path):
    assert path.stem not in {"utils", "util", "common", "misc", "helpers", "core", "base"}


@sources
def test_errors_are_not_swallowed(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ExceptHandler):
            caught = "bare" if node.type is None else ast.unparse(node.type)
            assert not {"bare", "Exception", "BaseException"} & set(re.findall(r"\w+", caught))


@sources
def test_banned_idioms(path: Path):
    text = path.read_text()
    found = [idiom for idiom in BANNED if re.search(idiom, text, flags=re.MULTILINE)]
    assert found == []


@sources
def test_devices_are_named_in_the_command_line_only(path: Path):
    if "cli" in path.parts:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        assert not (isinstance(node, ast.Attribute) and node.attr == "cuda"), node.lineno
        assert not (isinstance(node, ast.Constant) and node.value == "cuda"), node.lineno


@sources
def test_nothing_happens_at_import(path: Path):
    """Importing a module sets no seed, filters no warning, prints and computes nothing.

    Gymnasium alone is told of our ids, as it asks of every package.
    """
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            if ast.unparse(statement) == "register_with_gymnasium()":
                continue
            pytest.fail(f"{ast.unparse(statement)} at import")


def test_no_path_of_a_machine():
    home = re.compile(r"/(home|root|Users)/\w+|/tmp/\w+")
    results = (ROOT / "results").glob("*.jsonl")
    for path in (*SOURCES, *results, *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")):
        assert home.search(path.read_text()) is None, path.name
