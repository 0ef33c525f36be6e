"""Each verb hands what it parsed to the function that does the work."""

from dataclasses import replace
from pathlib import Path

import pytest

from jepawm.cli import prepare
from jepawm.envs.wall.policy import RandomWall
from jepawm.evaluation.metrics import Difference
from jepawm.evaluation.offline import ActionDistances, OfflineResults, PredictionStep
from jepawm.evaluation.results import Part, Results, Row
from jepawm.planning.cem import CEM
from jepawm.planning.presets import preset_names
from jepawm.planning.random_shooting import RandomShooting
from jepawm.recipes.wall import WALL
from jepawm.runs import OfflineRules, TaskRules
from jepawm.runs.datasets import CollectedStore
from jepawm.runs.evaluate import ExecutedPlan, WrittenResults
from jepawm.runs.offline import OfflineEvaluation
from jepawm.runs.train import TrainedRun

Call = tuple[object, dict[str, object]]

EVALUATION = WrittenResults(
    results=Results(
        env="wall",
        protocol="mpc",
        num_tasks=4,
        seed=2,
        rows={"model": Row(success=1.0)},
        seconds_per_plan=0.1,
    ),
    written=Path("results.json"),
)
PLAN = ExecutedPlan(
    env="wall",
    protocol="paper",
    seed=4,
    success=True,
    final_distance=0.5,
    seconds_per_plan=0.1,
    animation=Path("plan.gif"),
    report=Path("report.html"),
)
TRAINED = TrainedRun(
    run=Path("runs/wall"),
    steps=1,
    probe_error=0.5,
    processes=1,
    gflop_per_step=1.0,
    gflops_per_second=1.0,
    matmul_peak_gflops=2.0,
    fraction_of_peak=0.5,
    training_seconds=1.0,
    wall_seconds=2.0,
)
ANSWERS = {
    "collect_run": CollectedStore(store=Path("store"), episodes=5, frames=35),
    "evaluate_run": EVALUATION,
    "plan_run": PLAN,
    "train_run": TRAINED,
}


def call(monkeypatch: pytest.MonkeyPatch, function: str, *argv: str) -> Call:
    """Run a verb with its function replaced; returns the function's arguments."""
    calls: list[Call] = []

    def record(first: object, *others: object, **arguments: object) -> object:
        calls.append((first, dict(zip(("rules",), others, strict=False)) | arguments))
        return ANSWERS[function]

    monkeypatch.setattr(f"jepawm.runs.{function}", record)
    monkeypatch.setattr("jepawm.runs.train_own_proposer", lambda _run, **_options: None)
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
        "trackers": (),
        "data_root": tmp_path,
        "device": "cpu",
        "trust": False,
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
        "rules": TaskRules(protocol="mpc", num_tasks=4, seed=2),
        "out": None,
        "precision": "bfloat16",
        "device": "cpu",
        "planner": None,
        "objective": None,
        "overwrite": False,
        "encoder_weights": None,
    }
    strict = ["--hold-steps", "5", "--swept", "--object-only"]
    _, arguments = call(monkeypatch, "evaluate_run", *argv, *strict)
    assert arguments["rules"] == TaskRules(
        protocol="mpc", num_tasks=4, seed=2, hold_steps=5, swept=True, object_only=True
    )
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
    none = Difference(difference=0.0, ci95=(0.0, 0.0))
    step = PredictionStep(k=1, model=1.0, copy=2.0, ratio=0.5, model_minus_copy=none)
    results = OfflineResults(
        env="recordings",
        data="arm",
        split="test",
        episodes=(4, 5),
        seed=1,
        prediction_windows=8,
        prediction={"tokens": (step,)},
        clips=8,
        horizon=2,
        frameskip=1,
        varying_columns=7,
        forms={"difference": 7},
        groups={},
        actions={"model": ActionDistances(l1=0.25, l1_ci95=(0.2, 0.3), l2=0.5, l2_ci95=(0.4, 0.6))},
        seconds_per_plan=0.1,
        planner=Part(type="CEM", settings={}),
        objective=Part(type="LatentDistance", settings={}),
        agent={"window": 1},
        versions={},
    )
    figures = OfflineEvaluation(results=results, written=Path("offline.json"))
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
