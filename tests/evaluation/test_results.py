"""Writing results: whole or not at all, and never over those of another run."""

import json

import numpy as np
import pytest

from jepawm.errors import UserError
from jepawm.evaluation.episodes import Outcome
from jepawm.evaluation.results import (
    Evaluation,
    check_output,
    describe,
    summarize,
    versions,
    write_evaluation,
)
from jepawm.planning.cem import CEM
from jepawm.protocol import PROTOCOLS, Protocol

EVALUATION = Evaluation(results={"success": 0.5}, rollouts={"frameskip": np.array(5)})


def test_refuses_to_overwrite_unless_told(tmp_path):
    path = write_evaluation(EVALUATION, tmp_path)
    other = Evaluation(results={"success": 1.0}, rollouts={})
    with pytest.raises(UserError, match="already holds"):
        write_evaluation(other, tmp_path)
    with pytest.raises(UserError, match="already holds"):
        check_output(tmp_path)
    assert json.loads(path.read_text()) == {"success": 0.5}
    write_evaluation(other, tmp_path, overwrite=True)
    assert json.loads(path.read_text()) == {"success": 1.0}


def test_arrays_load_without_pickling(tmp_path):
    write_evaluation(EVALUATION, tmp_path)
    with np.load(tmp_path / "rollouts.npz", allow_pickle=False) as arrays:
        assert int(arrays["frameskip"]) == 5


def test_a_failure_while_writing_leaves_no_results(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jepawm.files.os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        write_evaluation(EVALUATION, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    path = tmp_path / "taken"
    path.write_text("")
    with pytest.raises(UserError, match="no folder"):
        check_output(path)


def _outcome(at_end: list[int], seconds: float = 6.0) -> Outcome:
    outcome = np.array(at_end, dtype=bool)
    return Outcome(
        at_end=outcome, at_any_time=outcome | True, planning_seconds=seconds, num_dropped=3
    )


def test_summary_by_hand():
    outcomes = {
        "do_nothing": _outcome([0, 0]),
        "random": _outcome([1, 0]),
        "oracle": _outcome([1, 1], seconds=12.0),
        "model": _outcome([1, 0]),
    }
    summary = summarize(outcomes, PROTOCOLS["mpc"])
    assert summary["success"] == 0.5
    assert summary["baselines"] == {"do_nothing": 0.0, "random": 0.5, "oracle": 1.0}
    assert summary["seconds_per_plan"] == 6.0 / (2 * 12)
    assert summary["oracle_seconds_per_plan"] == 12.0 / (2 * 12)
    assert summary["model_minus_baseline"]["oracle"]["difference"] == -0.5
    assert summary["dropped_candidates"] == 3
    assert summarize(outcomes, Protocol(name="x", success="any"))["success"] == 1.0


def test_parts_without_fields_are_refused():
    assert describe(CEM())["num_samples"] == 300
    with pytest.raises(UserError, match="dataclass"):
        describe(object())


def test_versions_name_what_counts():
    assert versions().keys() == {"python", "jepawm", "torch", "numpy"}
