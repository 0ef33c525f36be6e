"""Files of results: whole or not at all, never over those of another run, read as written."""

import json
from dataclasses import replace

import numpy as np
import pytest

from jepawm.errors import UserError
from jepawm.evaluation.metrics import Difference
from jepawm.evaluation.motion import RowMotion
from jepawm.evaluation.result_files import (
    check_output,
    read_results,
    read_rollouts,
    write_results,
)
from jepawm.evaluation.results import Efficiency, Part, Results, Row
from jepawm.evaluation.rollouts import Rollouts
from jepawm.protocol import PROTOCOLS

OTHER = Row(
    success=0.25,
    interval=(0.1, 0.4),
    at_any_time=0.5,
    model_minus=Difference(difference=0.25, ci95=(0.0, 0.5)),
    motion=RowMotion(
        steps_to_success=3.5, path_length=None, path_over_oracle=1.25, action_change=0.0
    ),
)
RESULTS = Results(
    env="wall",
    protocol="mpc",
    num_tasks=4,
    seed=3,
    rows={
        "do_nothing": OTHER,
        "random": OTHER,
        "oracle": OTHER,
        "mine": OTHER,
        "model": Row(success=0.5, interval=(0.2, 0.8), at_any_time=0.75),
    },
    seconds_per_plan=0.5,
    oracle_seconds_per_plan=0.25,
    split="val",
    tasks_per_batch=2,
    tasks_sha256="0" * 64,
    dropped_candidates=1,
    searched_plans=2,
    planner=Part(type="CEM", settings={"num_samples": 3, "time_budget_s": None}),
    oracle_planner=Part(type="CEM", settings={}),
    objective=Part(type="LatentDistance", settings={"metric": "l2"}),
    agent={"window": 1, "bounds": None},
    engine={"precision": "float32"},
    protocol_settings=replace(PROTOCOLS["mpc"], success="any"),
    state_to_pixel=1.5,
    versions={"torch": "2"},
    efficiency=Efficiency(gflop_per_plan=2.0, fraction_of_peak=0.5),
)
ROLLOUTS = Rollouts(
    frames=np.zeros((1, 3, 3, 4, 4), np.uint8),
    states=np.zeros((1, 3, 2)),
    goal_frames=np.zeros((1, 3, 4, 4), np.uint8),
    goal_states=np.zeros((1, 2)),
    imagined_states=np.full((1, 2, 2), np.nan),
    success=np.array([True]),
    cost_history=np.ones((5, 1)),
    frameskip=2,
)


def test_rollouts_that_are_written_are_read_with_and_without_pictures(tmp_path):
    seen = replace(ROLLOUTS, imagined_frames=np.ones((1, 2, 3, 5, 5), np.uint8), stops=("",))
    for number, rollouts in enumerate((ROLLOUTS, seen)):
        write_results(RESULTS, tmp_path / str(number), rollouts=rollouts)
        found = read_rollouts(tmp_path / str(number) / "rollouts.npz")
        assert found.stops == rollouts.stops
        assert found.arrays().keys() == rollouts.arrays().keys()
        np.testing.assert_equal(found.arrays(), rollouts.arrays())
    for wrong in (np.ones((2, 2, 3, 5, 5), np.uint8), np.ones((1, 2, 3, 5, 5), np.uint16)):
        path = tmp_path / "broken.npz"
        np.savez(path, **{**ROLLOUTS.arrays(), "imagined_frames": wrong})  # pyright: ignore[reportArgumentType]
        with pytest.raises(UserError, match="imagined_frames"):
            read_rollouts(path)


def test_what_is_written_is_read(tmp_path):
    assert read_results(write_results(RESULTS, tmp_path / "whole")) == RESULTS
    rows = {name: row for name, row in RESULTS.rows.items() if name != "oracle"}
    bare = replace(
        RESULTS, rows=rows, oracle_planner=None, oracle_seconds_per_plan=None, efficiency=None
    )
    path = write_results(bare, tmp_path / "bare")
    assert read_results(path) == bare
    assert "gflop_per_plan" not in json.loads(path.read_text())


def test_files_of_the_first_version_are_read(tmp_path):
    first = {
        "env": "wall",
        "protocol": "paper",
        "episodes": 96,
        "seed": 7,
        "success": 0.5,
        "baselines": {"do_nothing": 0.0, "random": 0.25, "oracle": 1.0},
        "seconds_per_plan": 0.5,
    }
    (tmp_path / "results.json").write_text(json.dumps(first))
    results = read_results(tmp_path / "results.json")
    assert (results.model.success, results.rows["oracle"].success) == (0.5, 1.0)
    assert results.model.interval is results.planner is results.split is None


def test_settings_of_a_protocol_are_checked(tmp_path):
    path = write_results(RESULTS, tmp_path)
    content = json.loads(path.read_text())
    content["protocol_settings"] = {"name": "mpc", "horizon": "far", "gone": 1}
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"protocol_settings.*'far'"):
        read_results(path)


def test_refuses_to_overwrite_unless_asked(tmp_path):
    path = write_results(RESULTS, tmp_path)
    other = replace(RESULTS, seed=9)
    with pytest.raises(UserError, match="already holds"):
        write_results(other, tmp_path)
    with pytest.raises(UserError, match="already holds"):
        check_output(tmp_path)
    assert read_results(path) == RESULTS
    write_results(other, tmp_path, overwrite=True)
    assert read_results(path) == other


def test_arrays_load_without_pickling(tmp_path):
    write_results(RESULTS, tmp_path, rollouts=ROLLOUTS)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["results.json", "rollouts.npz"]
    with np.load(tmp_path / "rollouts.npz", allow_pickle=False) as arrays:
        assert int(arrays["frameskip"]) == 2
    read = read_rollouts(tmp_path / "rollouts.npz").arrays()
    for name, array in ROLLOUTS.arrays().items():
        np.testing.assert_array_equal(read[name], array)


def test_a_failure_while_writing_leaves_no_results(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jepawm.files.os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        write_results(RESULTS, tmp_path, rollouts=ROLLOUTS)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    path = tmp_path / "taken"
    path.write_text("")
    with pytest.raises(UserError, match="not a folder"):
        check_output(path)
