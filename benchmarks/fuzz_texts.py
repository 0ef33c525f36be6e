"""Mutations of text for `fuzz.py`: JSON, JSON lines, tables."""

import copy
import json
from pathlib import Path

from fuzz_mutations import Ground, UnfitError

NUMBERS = [
    "0",
    "-1",
    "1",
    "2",
    "3",
    "0.5",
    "-0.0",
    "1e39",
    "1e308",
    "1e400",
    "-1e400",
    "NaN",
    "Infinity",
    "-Infinity",
    "2147483648",
    "9223372036854775808",
    "18446744073709551616",
    "1e-400",
    "1000000000",
    "1" * 40,
    "1" * 5000,
]
TEXTS = [
    "",
    "x",
    "1",
    "nan",
    "../../x",
    "/etc/passwd",
    "{}",
    "{0}",
    "{unknown}",
    "{:01000000000d}",
    "{episode_index:01000000000d}",
    "{episode_index.__class__}",
    "evil:Thing",
    "gym:evil:Thing-v0",
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "a\x00b",
    "\x1b[31mred\x1b]0;title\x07",
    "\u202eabc",
    "~nobody/x",
    "x" * 100_000,
    "%n%s%d",
    "<f4",
    "|O",
]
RAW_VALUES = [
    "null",
    "true",
    "false",
    *NUMBERS,
    *map(json.dumps, TEXTS),
    '"\\ud800"',
    "[]",
    "{}",
    "[[]]",
    "[null]",
    '["a"]',
    "[1, 2, 3]",
    '{"x": 1}',
    '{"a": 1, "a": 2}',
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 5000 + "1" + "}" * 5000,
    "[" + "0," * 200_000 + "0]",
]
"""What stands in for a value, as JSON or nearly so."""
_MARK = "@@mutated@@"


def change_json(path: Path, ground: Ground) -> str:
    """Change a value, or a key, somewhere in the file."""
    text, label = changed_json(path.read_text(encoding="utf-8"), path, ground)
    path.write_text(text, encoding="utf-8")
    return label


def changed_json(text: str, path: Path, ground: Ground) -> tuple[str, str]:
    """Return a JSON text with one place changed, and what was done."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UnfitError from error
    places = [(), *_places(value)]
    place = ground.random.choice(places)
    raw = ground.random.choice(
        [*RAW_VALUES, json.dumps(ground.secret_path(path, ending=_any(ground)))]
    )
    how = ground.random.choice(["value"] * 5 + ["remove", "double", "rename", "wrap"])
    if not place or how == "value":
        return _raw(_put(value, place, _MARK), raw), f"json {list(place)} = {raw[:60]}"
    parent, key = _at(value, place[:-1]), place[-1]
    if how == "wrap":
        return _raw(_put(value, place, [_at(value, place)]), raw), f"json {list(place)} in a list"
    if how == "remove" or not isinstance(parent, dict):
        del parent[key]  # pyright: ignore[reportIndexIssue] - a container: it has a place
        return json.dumps(value), f"json {list(place)} removed"
    if how == "rename":
        parent[ground.random.choice(TEXTS)] = parent.pop(key)
        return json.dumps(value), f"json {list(place)} renamed"
    whole = json.dumps(value)
    mark = f"{json.dumps(key)}: "
    return whole.replace(mark, f"{mark}{raw}, {mark}", 1), f"json {key} twice, {raw[:60]}"


def change_line(path: Path, ground: Ground) -> str:
    """Change a line of JSON lines."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines:
        raise UnfitError
    number = ground.random.randrange(len(lines))
    how = ground.random.choice(
        ["json"] * 4 + ["double", "blank", "join", "null", "latin-1", "crlf"]
    )
    label = f"line {number} {how}"
    if how == "json":
        lines[number], done = changed_json(lines[number], path, ground)
        label = f"line {number} {done}"
    elif how == "double":
        lines.insert(number, lines[number])
    elif how == "blank":
        lines[number] = ""
    elif how == "join":
        lines[number : number + 2] = ["".join(lines[number : number + 2])]
    elif how == "null":
        lines[number] += "\x00"
    end = "\r\n" if how == "crlf" else "\n"
    data = "".join(line + end for line in lines).encode("utf-8", errors="surrogatepass")
    path.write_bytes(data.replace(b'"', b'"\xe9', 1) if how == "latin-1" else data)
    return label


def _any(ground: Ground) -> str:
    files = sorted(ground.secret.glob("secret*"))
    return ground.random.choice(files).suffix


def _places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    children: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value[:8]))
    found: list[tuple[str | int, ...]] = []
    for key, child in children:
        found += [(*path, key), *_places(child, (*path, key))]
    return found


def _at(value: object, place: tuple[str | int, ...]) -> object:
    for key in place:
        value = value[key]  # pyright: ignore[reportIndexIssue] - a place of this very value
    return value


def _put(value: object, place: tuple[str | int, ...], new: object) -> object:
    if not place:
        return new
    value = copy.deepcopy(value)
    _at(value, place[:-1])[place[-1]] = new  # pyright: ignore[reportIndexIssue]
    return value


def _raw(value: object, raw: str) -> str:
    return json.dumps(value).replace(json.dumps(_MARK), raw)


CELLS = [
    "",
    "x",
    "nan",
    "inf",
    "-1e400",
    "1e39",
    "1,2",
    '"',
    "\x00",
    "../x",
    "\u0661",
    "0x10",
    "1_0",
    "é",
]


def change_csv(path: Path, ground: Ground) -> str:
    """Change a cell, the header, or how the table is written."""
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    how = ground.random.choice(["cell"] * 4 + ["header", "double", "short", "none", "encoding"])
    row, column = ground.random.randrange(len(rows)), ground.random.randrange(len(rows[0]))
    label, encoding = how, "utf-8"
    if how == "cell":
        cell = ground.random.choice([*CELLS, str(Path(ground.secret_path(path)).with_suffix(""))])
        rows[row][column] = cell
        label = f"cell {row}, {column} = {cell!r}"
    elif how == "header":
        rows[0][column] = ground.random.choice([*TEXTS[:-4], "action_x", "episode", "action_é"])
        label = f"header {column} = {rows[0][column][:40]!r}"
    elif how == "double":
        rows = [[*cells, cells[column]] for cells in rows]
    elif how == "short":
        rows[row] = rows[row][:column]
    elif how == "none":
        rows = rows[: ground.random.choice([0, 1])]
    else:
        rows[0][column] += "_é"
        encoding = ground.random.choice(["latin-1", "utf-16", "utf-8-sig", "utf-32"])
        label = f"written as {encoding}"
    data = "".join(",".join(cells) + "\n" for cells in rows)
    path.write_bytes(data.encode(encoding, errors="surrogateescape"))
    return f"csv {label}"
