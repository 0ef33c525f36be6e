"""Each verb hands what it parsed to the function that does the work."""

from dataclasses import replace
from pathlib import Path

import pytest

from jepawm.cli import prepare
from jepawm.envs.wall.policy import RandomWall
from jepawm.evaluation.evaluate import DEFAULT_TASKS_PER_BATCH
from jepawm.planning.cem import CEM
from jepawm.planning.presets import preset_names
from jepawm.planning.random_shooting import RandomShooting
from jepawm.recipes.wall import WALL
from jepawm.runs import OfflineRules

Call = tuple[object, dict[str, object]]

EVALUATION: dict[str, object] = {
    "env": "wall",
    "protocol": "mpc",
    "episodes": 4,
    "seed": 2,
    "success": 1.0,
    "ci95": [0.5, 1.0],
    "baselines": {},
    "seconds_per_plan": 0.1,
}


def call(monkeypatch: pytest.MonkeyPatch, function: str, *argv: str) -> Call:
    """Run a verb with its function replaced; returns the function's arguments."""
    calls: list[Call] = []

    def record(first: object, **arguments: object) -> dict[str, object]:
        calls.append((first, arguments))
        return EVALUATION

    monkeypatch.setattr(f"jepawm.runs.{function}", record)
    prepare(argv[0], argv[1:]).run()
    return calls[0]


def test_train_hands_over_the_recipe_with_its_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    data = str(tmp_path)
    argv = ["train", "wall", "--seed", "3", "--data-root", data, "--device", "cpu"]
    experiment, arguments = call(monkeypatch, "train_run", *argv)
    assert experiment == replace(WALL, seed=3)
    assert arguments == {
        "out": Path("runs/wall-seed3"),
        "data_root": tmp_path,
        "device": "cpu",
        "resume": False,
        "explicit": True,
        "processes": None,
    }
    argv = ["train", "wall", "--planner", "random_shooting", "--planner.num-samples", "9"]
    experiment, _ = call(monkeypatch, "train_run", *argv)
    assert experiment == replace(WALL, planner=RandomShooting(num_samples=9))


def test_resuming_without_changes_leaves_the_configuration_to_the_run(
    monkeypatch: pytest.MonkeyPatch,
):
    argv = ["train", "wall", "--resume", "--out", "there"]
    experiment, arguments = call(monkeypatch, "train_run", *argv)
    assert experiment == WALL
    assert arguments["out"] == Path("there")
    assert (arguments["resume"], arguments["explicit"]) == (True, False)
    _, arguments = call(monkeypatch, "train_run", *argv, "--seed", "1")
    assert arguments["explicit"]


def test_eval_hands_over_the_protocol_and_the_planner(monkeypatch: pytest.MonkeyPatch):
    argv = [
        "eval",
        "wall",
        "--protocol",
        "mpc",
        "--episodes",
        "4",
        "--seed",
        "2",
        "--device",
        "cpu",
        "--precision",
        "bfloat16",
    ]
    source, arguments = call(monkeypatch, "evaluate_run", *argv)
    assert source == "wall"
    assert arguments == {
        "protocol": "mpc",
        "num_tasks": 4,
        "seed": 2,
        "split": "test",
        "out": None,
        "precision": "bfloat16",
        "device": "cpu",
        "planner": None,
        "overwrite": False,
        "encoder_weights": None,
        "tasks_per_batch": DEFAULT_TASKS_PER_BATCH,
        "data_root": None,
    }
    argv += ["--planner", "cem", "--planner.num-iterations", "2", "--out", "x", "--overwrite"]
    _, arguments = call(monkeypatch, "evaluate_run", *argv)
    assert arguments["planner"] == CEM(num_iterations=2)
    assert (arguments["out"], arguments["overwrite"]) == (Path("x"), True)


def test_help_offers_the_presets_that_there_are(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        prepare("eval", ["--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"known to do well: {', '.join(preset_names())}." in shown


def test_eval_starts_from_the_planner_of_the_run(monkeypatch: pytest.MonkeyPatch):
    own = CEM(num_samples=50, num_elites=5)
    monkeypatch.setattr("jepawm.runs.default_planner", lambda source: {"mine": own}[source])
    monkeypatch.setattr("jepawm.runs.has_simulator", lambda source: {"mine": True}[source])
    argv = ["eval", "mine", "--planner.num-iterations", "7"]
    _, arguments = call(monkeypatch, "evaluate_run", *argv)
    assert arguments["planner"] == replace(own, num_iterations=7)


def test_models_of_recordings_are_evaluated_offline(monkeypatch: pytest.MonkeyPatch):
    figures = {
        "data": "arm",
        "episodes": [4, 5],
        "seed": 1,
        "prediction": {"tokens": [{"ratio": 0.5}]},
        "clips": 8,
        "horizon": 2,
        "actions": {"model": {"l1": 0.25, "l1_ci95": [0.2, 0.3]}},
        "written": "offline.json",
    }
    calls = []
    monkeypatch.setattr("jepawm.runs.has_simulator", lambda source: source == "wall")
    monkeypatch.setattr(
        "jepawm.runs.evaluate_offline", lambda *args, **kwargs: calls.append(kwargs) or figures
    )
    argv = ["--episodes", "8", "--horizon", "2", "--seed", "1", "--data-root", "d"]
    outcome = prepare("eval", ["mine", *argv]).run()
    assert calls[0]["rules"] == OfflineRules(num_clips=8, horizon=2, seed=1)
    assert (calls[0]["data"], calls[0]["data_root"]) == (None, Path("d"))
    assert "model         0.25  [0.2, 0.3]" in outcome.text
    prepare("eval", ["wall", "--offline"]).run()
    prepare("eval", ["wall", "--data", "arm"]).run()
    assert calls[2]["data"] == Path("arm")


def test_collect_hands_over_sizes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    argv = ["collect", "wall", "--num-episodes", "5", "--num-steps", "6", "--image-size", "65"]
    argv += ["--policy.near-door", "0.25", "--processes", "3"]
    name, arguments = call(monkeypatch, "collect_run", *argv, "--data-root", str(tmp_path))
    assert name == "wall"
    data = arguments.pop("data")
    assert (data.num_episodes, data.episode_steps, data.image_size, data.seed) == (5, 6, 65, 0)
    assert data.policy == RandomWall(near_door=0.25)
    assert arguments == {"out": None, "data_root": tmp_path, "processes": 3}


def test_plan_hands_over_the_seed(monkeypatch: pytest.MonkeyPatch):
    source, arguments = call(monkeypatch, "plan_run", "plan", "wall", "--seed", "4", "--out", "x")
    assert source == "wall"
    assert (arguments["seed"], arguments["out"], arguments["protocol"]) == (4, Path("x"), "paper")
