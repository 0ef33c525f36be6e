"""Every golden file of a known kind is reproduced at its own tolerance."""

from pathlib import Path

from jepawm.golden.runner import run


def test_the_reference_numbers_are_reproduced(golden_dir: Path):
    results = {result.name: result for result in run(golden_dir)}
    failed = {name: one.message for name, one in results.items() if one.verdict == "fail"}
    assert failed == {}
    assert "wall_dynamics" in results
