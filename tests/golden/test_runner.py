"""The golden runner judges files by their own tolerance and survives bad ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from jepawm.errors import UserError
from jepawm.golden import runner
from jepawm.golden.case import Comparison, GoldenCase, GoldenError, compare, exact, load_case


def check_double(case: GoldenCase) -> list[Comparison]:
    """Compare twice the input with the file's output."""
    doubled = case.option("factor", int) * case.tensor("x")
    return [compare("y", doubled, case.array("y"), atol=case.atol, rtol=case.rtol)]


def check_nothing(case: GoldenCase) -> list[Comparison]:
    return []


@pytest.fixture(autouse=True)
def own_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = {"double": check_double, "double_not": check_nothing}
    monkeypatch.setattr(runner, "CHECKS", {name: name for name in checks})
    monkeypatch.setattr(runner, "_load_check", checks.__getitem__)


def write_case(path: Path, **changes: object) -> Path:
    meta: dict[str, object] = {"hyper": {"factor": 2}, "tolerance": {"atol": 0.1}}
    meta |= {key: value for key, value in changes.items() if key not in ("x", "y")}
    arrays = {key: np.asarray(changes[key]) for key in ("x", "y") if key in changes}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, meta_json=np.array(json.dumps(meta)), allow_pickle=False, **arrays)
    return path


def only(folder: Path) -> runner.CaseResult:
    (result,) = runner.run(folder)
    return result


def test_passes_within_and_fails_beyond_the_files_own_tolerance(tmp_path: Path):
    write_case(tmp_path / "double_a.npz", x=[1.0, 2.0], y=[2.05, 4.0])
    write_case(tmp_path / "double_b.npz", x=[1.0, 2.0], y=[2.2, 4.0])
    write_case(tmp_path / "double_c.npz", x=[1.0], y=[2.05], tolerance="exact")
    write_case(tmp_path / "double_d.npz", x=[1.0], y=[2.05], tolerance={"rtol": 0.1})
    results = runner.run(tmp_path)
    assert [result.verdict for result in results] == ["pass", "fail", "fail", "pass"]
    assert results[0].worst is not None
    assert results[0].worst.max_error == pytest.approx(0.05)
    assert results[1].worst is not None
    assert results[1].worst.excess == pytest.approx(2.0)
    assert not runner.all_passed(results)
    assert runner.any_differs(results)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path):
    folder = tmp_path / "golden"
    write_case(tmp_path / "secret.npz", x=[1.0], y=[2.0])
    folder.mkdir()
    (folder / "double_a.npz").symlink_to(tmp_path / "secret.npz")
    result = only(folder)
    assert result.verdict != "pass"
    assert "lies outside of the folder" in result.message


def test_unknown_kind_cannot_run_and_spoils_the_exit(tmp_path: Path):
    write_case(tmp_path / "other.npz", x=[1.0], y=[2.0])
    result = only(tmp_path)
    assert result.verdict == "cannot run yet"
    assert not runner.all_passed([result])


def test_kind_is_found_by_file_name_then_by_case_entry_longest_first(tmp_path: Path):
    named_elsewhere = write_case(tmp_path / "renamed.npz", x=[1.0], y=[2.0], case="double_x")
    longest = write_case(tmp_path / "double_not_that.npz", x=[1.0], y=[2.0])
    assert runner.find_check(load_case(named_elsewhere)) == "double"
    assert runner.find_check(load_case(longest)) == "double_not"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": [2.0]}, "array 'x' is missing"),
        ({"x": [1.0], "y": [2.0], "hyper": {}}, "hyper 'factor' is missing"),
        ({"x": [1.0], "y": [2.0], "hyper": {"factor": "2"}}, "is not int"),
        ({"x": [1.0], "y": [2.0, 3.0]}, "shape"),
        ({"x": [float("nan")], "y": [2.0]}, "1 of 1 beyond tolerance: y"),
        ({"x": [1.0], "y": [2.0], "tolerance": None}, "no tolerance"),
        ({"x": [1.0], "y": [2.0], "tolerance": {"atol": "wide"}}, "tolerance 'atol'"),
        ({"x": [1.0], "y": [2.0], "hyper": 3}, "no object 'hyper'"),
        ({"x": [1.0], "y": [2.0], "tolerance": {"atol": float("inf")}}, "Infinity"),
        ({"x": [1.0], "y": [2.0], "hyper": {"factor": 10**60}}, "digits"),
    ],
)
def test_a_bad_case_fails_with_a_reason_and_the_run_goes_on(
    tmp_path: Path, changes: dict[str, object], message: str
):
    write_case(tmp_path / "double_bad.npz", **changes)
    write_case(tmp_path / "double_good.npz", x=[1.0], y=[2.0])
    bad, good = runner.run(tmp_path)
    assert (bad.verdict, good.verdict) == ("fail", "pass")
    assert message in bad.message


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_unreadable_file_fails_its_row(tmp_path: Path, content: bytes):
    (tmp_path / "double_broken.npz").write_bytes(content)
    result = only(tmp_path)
    assert result.verdict == "fail"
    assert "double_broken.npz is damaged or no npz file" in result.message
    assert not runner.any_differs([result])


@pytest.mark.parametrize(
    "text",
    [
        np.array("[" * 100_000),
        np.array([["{}", "{}"]]),
        np.array(3.0),
        np.array(b"{}"),
        np.array(""),
    ],
    ids=["deep", "several", "number", "bytes", "empty"],
)
def test_settings_that_are_no_text_of_json(tmp_path: Path, text: np.ndarray):
    np.savez(tmp_path / "double_a.npz", meta_json=text, x=np.zeros(1))
    result = only(tmp_path)
    assert result.verdict == "fail"
    assert "double_a.npz: meta_json" in result.message


def test_pickled_arrays_are_refused(tmp_path: Path):
    np.savez(tmp_path / "double_pickle.npz", x=np.array([{}], dtype=object), allow_pickle=True)
    assert "holds Python objects" in only(tmp_path).message


def test_a_check_that_compares_nothing_fails(tmp_path: Path):
    write_case(tmp_path / "double_not.npz", x=[1.0])
    assert only(tmp_path).message == "the check compared nothing"


def test_subfolders_count_and_empty_folders_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="not a folder"):
        runner.run(tmp_path / "absent")
    with pytest.raises(UserError, match=r"no \.npz"):
        runner.run(tmp_path)
    write_case(tmp_path / "inner" / "double_a.npz", x=[1.0], y=[2.0])
    assert only(tmp_path).name == "inner/double_a"


def test_compare_treats_non_finite_values_as_themselves_only():
    nan, inf = float("nan"), float("inf")
    same = compare("same", np.array([nan, inf, 1.0]), np.array([nan, inf, 1.0]), atol=0.0, rtol=0.0)
    assert same.passed
    for got, expected in ((nan, 1.0), (1.0, nan), (inf, -inf), (inf, 1.0)):
        assert not compare("x", got, expected, atol=1e9, rtol=1.0).passed
    assert exact("flags", np.array([True]), np.array([True])).passed
    assert not exact("flags", np.array([True]), np.array([False])).passed


def test_settings_are_read_by_kind(tmp_path: Path):
    hyper = {"eps": 1, "flag": True, "none": None}
    case = load_case(write_case(tmp_path / "double.npz", hyper=hyper))
    assert case.option("eps", float) == 1.0
    assert case.optional("none", int) is None
    assert case.optional("absent", int) is None
    with pytest.raises(GoldenError, match="is not int"):
        case.option("flag", int)
    with pytest.raises(GoldenError, match="frame_max"):
        case.allowance("frame_max")
