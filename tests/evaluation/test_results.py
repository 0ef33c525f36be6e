"""Results: what they say of their parts."""

import numpy as np
import pytest

from jepawm.errors import UserError
from jepawm.evaluation.episodes import Outcome
from jepawm.evaluation.evaluate import summarize
from jepawm.evaluation.motion import Motion
from jepawm.evaluation.results import ROWS, describe, row_text, versions
from jepawm.planning.cem import CEM
from jepawm.protocol import PROTOCOLS, Protocol


def _outcome(at_end: list[int], seconds: float = 6.0) -> Outcome:
    outcome = np.array(at_end, dtype=bool)
    still = np.zeros(len(outcome))
    return Outcome(
        at_end=outcome,
        at_any_time=outcome | True,
        planning_seconds=seconds,
        num_dropped=3,
        motion=Motion(steps_to_success=still, path_length=still, action_change=still),
    )


def test_summary_by_hand():
    outcomes = {
        "do_nothing": _outcome([0, 0]),
        "random": _outcome([1, 0]),
        "oracle": _outcome([1, 1], seconds=12.0),
        "model": _outcome([1, 0]),
    }
    rows = summarize(outcomes, PROTOCOLS["mpc"])
    assert {name: row.success for name, row in rows.items()} == {
        "do_nothing": 0.0,
        "random": 0.5,
        "oracle": 1.0,
        "model": 0.5,
    }
    assert outcomes["oracle"].seconds_per_plan(PROTOCOLS["mpc"]) == 12.0 / (2 * 12)
    assert rows["oracle"].model_minus is not None
    assert rows["oracle"].model_minus.difference == -0.5
    assert rows["model"].model_minus is None
    assert summarize(outcomes, Protocol(name="x", success="any"))["model"].success == 1.0


def test_rows_have_texts_and_ones_own_its_name():
    assert row_text("oracle").heading == "True dynamics"
    assert row_text("mine").line == row_text("mine").heading == "mine"
    assert list(ROWS) == ["do_nothing", "random", "oracle", "model"]


def test_parts_without_fields_are_refused():
    assert describe(CEM()).to_json()["num_samples"] == 300
    with pytest.raises(UserError, match="dataclass"):
        describe(object())


def test_versions_name_what_counts():
    assert versions().keys() == {"python", "jepawm", "torch", "numpy"}
