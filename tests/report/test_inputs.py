import numpy as np
import pytest

from jepawm.errors import UserError
from jepawm.report import write_report

NUM_TASKS = 3


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("experiment.json", "{", "truncated or altered"),
        ("experiment.json", "[]", "not an object"),
        ("results.json", "{}", "env"),
        ("metrics.jsonl", "what\n", "truncated or altered"),
        ("rollouts.npz", "not a zip", "damaged or no npz file"),
        ("experiment.json", '{"recipe": "\\ud800"}', "surrogates not allowed"),
        ("experiment.json", "[" * 100_000, "nested too deep"),
        ("results.json", '{"success": ' + "1" * 5000 + "}", "digits"),
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
        ({"episodes": 2.5}, "episodes"),
        ({"episodes": -1}, "episodes"),
        ({"seed": 10**39}, "seed"),
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


def test_a_folder_of_results_with_very_many_tasks_shows_the_first(tmp_path, make_run, parse_page):
    many, shown = 1000, 200
    arrays = {
        "frames": np.zeros((many, 2, 3, 1, 1), np.uint8),
        "states": np.zeros((many, 2, 2)),
        "goal_frames": np.zeros((many, 3, 1, 1), np.uint8),
        "goal_states": np.zeros((many, 2)),
        "imagined_states": np.zeros((many, 1, 2)),
        "success": np.ones(many, bool),
        "cost_history": np.ones((2, many)),
    }
    run = make_run(tmp_path / "run", arrays=arrays)
    page = parse_page(write_report(run).read_text())
    assert sum("data-task" in attrs for _, attrs in page.elements) == shown


@pytest.mark.parametrize(
    "name", ["experiment.json", "metrics.jsonl", "results.json", "rollouts.npz"]
)
def test_a_link_out_of_the_run_is_not_followed(tmp_path, make_run, name):
    run = make_run(tmp_path / "run")
    (run / name).rename(tmp_path / "secret")
    (run / name).symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match=rf"{name} lies outside of the run \(a link\)"):
        write_report(run)
