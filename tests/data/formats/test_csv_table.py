from pathlib import Path

import pytest

from jepawm.data.formats.csv_table import read_csv
from jepawm.errors import UserError

ROWS = [("000", 0.5, -1.25), ("000", 1.5, 2e-3), ("001", 2.5, 7.0)]
PLAIN = "episode,action_x,action_y\n" + "".join(f"{e},{x},{y}\n" for e, x, y in ROWS)
COMMAS = PLAIN.replace(",", ";").replace(".", ",")
DIALECTS = {
    "plain": PLAIN,
    "windows": PLAIN.replace("\n", "\r\n"),
    "byte order mark": "\ufeff" + PLAIN,
    "spaces": PLAIN.replace(",", ", "),
    "quoted": PLAIN.replace("episode,action_x", '"episode","action_x"'),
    "capital": PLAIN.replace("episode", "Episode"),
    "semicolons": PLAIN.replace(",", ";"),
    "decimal commas": COMMAS,
    "excel": "sep=;\n" + COMMAS,
    "tabs": PLAIN.replace(",", "\t"),
    "tabs and decimal commas": COMMAS.replace(";", "\t"),
    "remark": "# recorded on a Friday\n" + PLAIN,
    "names as a remark": "# " + PLAIN,
    "empty lines": "\n\n" + PLAIN,
}


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_reads_the_same(tmp_path: Path, name: str):
    file = tmp_path / "actions.csv"
    file.write_bytes(DIALECTS[name].encode())
    table = read_csv(file)
    assert table.column_names == ["episode", "action_x", "action_y"]
    assert [value.strip() for value in table["episode"].to_pylist()] == [one for one, *_ in ROWS]
    assert table["action_x"].to_pylist() == [x for _, x, _ in ROWS]
    assert table["action_y"].to_pylist() == [y for *_, y in ROWS]


def test_utf16_as_excel_saves_it(tmp_path: Path):
    file = tmp_path / "actions.csv"
    file.write_bytes(PLAIN.encode("utf-16"))
    assert read_csv(file)["action_x"].to_pylist() == [0.5, 1.5, 2.5]


def test_names_that_differ_by_spaces_are_the_same(tmp_path: Path):
    file = tmp_path / "actions.csv"
    file.write_text("action_x, action_x\n0.5,1\n")
    with pytest.raises(UserError, match="has several columns action_x"):
        read_csv(file)
