import numpy as np
import pytest

from jepawm.errors import UserError
from jepawm.report import write_report

NUM_TASKS = 3


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("experiment.json", "{", "not readable JSON"),
        ("experiment.json", "[]", "not a JSON object"),
        ("results.json", "{}", "env"),
        ("metrics.jsonl", "what\n", "not JSON"),
        ("rollouts.npz", "not a zip", "not a readable npz"),
    ],
)
def test_malformed_file_is_named(tmp_path, make_run, name, content, complaint):
    run = make_run(tmp_path / "run")
    (run / name).write_text(content)
    with pytest.raises(UserError, match=complaint) as caught:
        write_report(run)
    assert name in str(caught.value)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"success": 93.75}, "between 0 and 1"),
        ({"success": None}, "not a number"),
        ({"ci95": 0.1}, "low, high"),
        ({"episodes": "many"}, "episodes"),
        ({"env": 3}, "env"),
        ({"baselines": {"random": 0.1}}, "do_nothing"),
        ({"state_to_pixel": "big"}, "state_to_pixel"),
    ],
)
def test_malformed_results_name_the_key(tmp_path, make_run, change, complaint):
    run = make_run(tmp_path / "run", results=change)
    with pytest.raises(UserError, match=complaint) as caught:
        write_report(run)
    assert "results.json" in str(caught.value)


@pytest.mark.parametrize(
    ("array", "value"),
    [
        ("frames", np.zeros((NUM_TASKS, 31, 3, 8, 8), np.float32)),
        ("states", np.zeros((NUM_TASKS, 4, 2))),
        ("success", np.zeros(NUM_TASKS)),
        ("cost_history", np.zeros((30, NUM_TASKS + 1))),
        ("frameskip", np.array(0)),
        ("goal_states", None),
        ("states", np.array([{"an": "object"}], dtype=object)),
    ],
)
def test_malformed_rollouts_name_the_array_and_never_unpickle(
    tmp_path, make_run, arrays, array, value
):
    run = make_run(tmp_path / "run")
    if value is None:
        del arrays[array]
    else:
        arrays[array] = value
    np.savez(run / "rollouts.npz", **arrays)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match=r"rollouts\.npz"):
        write_report(run)
