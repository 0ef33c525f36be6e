"""Evaluation and planning of a tiny run, end to end."""

import errno
import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from jepawm import checkpoint
from jepawm.agent import AgentConfig
from jepawm.cli import main
from jepawm.compute import matmul_peak
from jepawm.engine.config import EngineConfig
from jepawm.envs.wall.env import WallBatch
from jepawm.envs.wall.policy import RandomWall
from jepawm.errors import UserError
from jepawm.evaluation.result_files import read_results
from jepawm.experiment import Experiment
from jepawm.files import taken
from jepawm.hub.load import load
from jepawm.planning.gradient import Adam
from jepawm.planning.presets import find_preset
from jepawm.planning.random_shooting import RandomShooting
from jepawm.protocol import Protocol, hash_tasks, task_seed
from jepawm.report import write_report
from jepawm.runs import TaskRules, default_planner, evaluate_run, plan_run, preset_planner
from jepawm.runs.evaluate import default_folder, find_tasks, gflop_per_plan, unused_folder
from jepawm.runs.run_folder import EVALUATION
from jepawm.types import Task

KEYS = {
    *("env", "protocol", "episodes", "seed", "tasks_sha256", "success", "ci95", "baselines"),
    *("planner", "seconds_per_plan", "versions"),
}


RULES = TaskRules(num_tasks=3, seed=5)


@pytest.fixture(autouse=True)
def quick_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the peak with small matrices."""
    monkeypatch.setattr("jepawm.runs.evaluate.matmul_peak", partial(matmul_peak, size=64))


@pytest.fixture
def run_copy(tiny_run: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny run that results may be written into."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def evaluate_tiny(source: Path, *, rules: TaskRules = RULES, **options):
    return evaluate_run(str(source), rules, **options).results


def test_results_hold_all_keys_and_the_report_shows_them(run_copy: Path):
    done = evaluate_run(str(run_copy), RULES)
    assert done.written == run_copy / "results.json"
    assert read_results(done.written) == done.results
    written = json.loads((run_copy / "results.json").read_text())
    assert written.keys() >= KEYS
    assert written["baselines"].keys() == {"do_nothing", "random", "oracle"}
    assert (written["env"], written["protocol"]) == ("wall", "paper")
    assert (written["episodes"], written["seed"]) == (3, 5)
    assert 0 <= written["ci95"][0] <= written["success"] <= written["ci95"][1] <= 1
    assert written["planner"]["num_samples"] == 8
    assert written["gflop_per_plan"] > 0
    assert written["fraction_of_peak"] > 0
    with np.load(run_copy / "rollouts.npz", allow_pickle=False) as rollouts:
        assert rollouts["states"].shape == (3, 31, 2)
        assert np.isfinite(rollouts["imagined_states"]).all()
    page = write_report(run_copy)
    assert page == run_copy / "report.html"
    assert "True dynamics" in page.read_text(encoding="utf-8")


def test_the_precision_of_planning_is_chosen_and_recorded(run_copy: Path, tmp_path: Path):
    exact = evaluate_tiny(run_copy, out=tmp_path / "exact")
    halved = evaluate_tiny(run_copy, out=tmp_path / "halved", precision="bfloat16")
    assert [result.engine["precision"] for result in (exact, halved)] == ["float32", "bfloat16"]


def test_the_same_seed_gives_the_same_tasks_and_success(run_copy: Path, tmp_path: Path):
    results = [
        evaluate_tiny(run_copy, rules=replace(RULES, seed=seed), out=tmp_path / str(number))
        for number, seed in enumerate((5, 5, 6))
    ]
    assert results[0].tasks_sha256 == results[1].tasks_sha256 != results[2].tasks_sha256
    assert results[0].model == results[1].model
    first, again = (np.load(tmp_path / name / "rollouts.npz")["states"] for name in ("0", "1"))
    np.testing.assert_array_equal(first, again)


def test_gflop_of_a_plan_count_iterations_and_shorter_plans(run_copy: Path, tmp_path: Path):
    """12 plans of 6, ..., 6, 5, 4, 3, 2, 1 blocks are as long as 57 / 72 of full ones.

    But for the context, which is projected once per plan whatever the number of candidates.
    """
    planner = RandomShooting(num_samples=8, num_iterations=1)

    def gflop(name: str, **options) -> float:
        rules = TaskRules(num_tasks=1, protocol="mpc" if name == "mpc" else "paper")
        results = evaluate_tiny(run_copy, rules=rules, out=tmp_path / name, **options)
        assert results.efficiency is not None
        return results.efficiency.gflop_per_plan

    paper = gflop("paper", planner=planner)
    assert gflop("mpc", planner=planner) == pytest.approx(paper * 57 / 72, rel=1e-3)
    assert gflop("cem") == pytest.approx(17 / 8 * paper, rel=1e-3)  # 2 x 8 samples, then the mean


def test_gflop_of_all_threads_are_counted(run_copy: Path):
    loaded = load(str(run_copy))
    counts = [
        gflop_per_plan(
            loaded,
            loaded.agent(
                planner=RandomShooting(num_samples=512),
                config=AgentConfig(engine=EngineConfig(num_threads=threads)),
            ),
        )
        for threads in (1, 2)
    ]
    assert counts[0] == pytest.approx(counts[1])


def test_a_planner_that_follows_gradients_leaves_the_oracle_to_cem(run_copy: Path):
    planner = Adam(num_starts=2, num_iterations=3)
    result = evaluate_tiny(run_copy, rules=TaskRules(num_tasks=1), planner=planner)
    assert result.planner is not None
    assert result.planner.type == "Adam"
    assert result.oracle_planner is not None
    assert result.oracle_planner.type == "CEM"
    assert result.efficiency is not None
    assert result.efficiency.gflop_per_plan > 0


def test_a_preset_knows_the_blocks_of_the_run(tiny_run: Path):
    fast = preset_planner(str(tiny_run), "fast")
    assert fast == find_preset("fast", frameskip=5)
    with pytest.raises(
        UserError, match=r"unknown preset 'quick' \(known: paper, direct, propose, fast,"
    ):
        preset_planner(str(tiny_run), "quick")


def test_copies_of_the_training_are_replaced_by_overwrite_alone(run_copy: Path, tmp_path: Path):
    out, rules = tmp_path / "out", TaskRules(num_tasks=1)
    evaluate_tiny(run_copy, rules=rules, out=out)
    files = ("experiment.json", "metrics.jsonl", "results.json", "rollouts.npz")
    assert sorted(path.name for path in out.iterdir()) == sorted(files)
    (out / "experiment.json").write_text("")  # as a full disk left it in earlier versions
    (out / "results.json").unlink()
    evaluate_tiny(run_copy, rules=rules, out=out)
    assert (out / "experiment.json").read_text() == ""
    evaluate_tiny(run_copy, rules=rules, out=out, overwrite=True)
    for name in files[:2]:
        assert (out / name).read_bytes() == (run_copy / name).read_bytes()


def test_the_training_of_another_run_is_never_replaced(run_copy: Path, tmp_path: Path):
    other = Path(shutil.copytree(run_copy, tmp_path / "other"))
    (other / "metrics.jsonl").write_text("")
    evaluate_tiny(run_copy, rules=TaskRules(num_tasks=1), out=other, overwrite=True)
    assert (other / "metrics.jsonl").read_text() == ""


def test_a_full_disk_keeps_the_old_results_whole(run_copy: Path, monkeypatch: pytest.MonkeyPatch):
    rules = TaskRules(num_tasks=1)
    evaluate_tiny(run_copy, rules=rules)
    before = {path.name: path.read_bytes() for path in run_copy.glob("r*.*")}
    flushed: list[int] = []

    def full(file: int) -> None:
        flushed.append(file)
        if len(flushed) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("jepawm.files.os.fsync", full)
    with pytest.raises(UserError, match="cannot write results"):
        evaluate_tiny(run_copy, rules=replace(rules, seed=6), overwrite=True)
    assert {path.name: path.read_bytes() for path in run_copy.glob("r*.*")} == before


def test_a_plan_without_room_for_its_report_leaves_nothing(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    options = {"seed": 2, "out": tmp_path / "plan", "device": "cpu", "protocol": "paper"}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for place in ("jepawm.report.page.write_whole", "jepawm.report.animation.Path.write_bytes"):
        with monkeypatch.context() as patched:
            patched.setattr(place, full)
            with pytest.raises(UserError, match=r"cannot write .*No space left on device"):
                plan_run(str(tiny_run), **options)
        assert list(tmp_path.iterdir()) == []
    assert plan_run(str(tiny_run), **options).report.is_file()


def test_two_evaluations_into_one_folder(run_copy: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("jepawm.files._PATIENCE_SECONDS", 0.1)
    with taken(run_copy, by=EVALUATION):
        with pytest.raises(UserError, match="another evaluation is writing into"):
            evaluate_tiny(run_copy)


def test_results_are_not_overwritten_unasked(run_copy: Path):
    (run_copy / "results.json").write_text("precious")
    with pytest.raises(UserError, match=r"already holds results\.json"):
        evaluate_tiny(run_copy)
    assert (run_copy / "results.json").read_text() == "precious"
    evaluate_tiny(run_copy, rules=TaskRules(num_tasks=1), overwrite=True)
    assert json.loads((run_copy / "results.json").read_text())["episodes"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "magic"}, r"unknown split 'magic' \(known: test, val\)"),
        ({"protocol": "magic"}, r"unknown protocol 'magic' \(known: mpc, paper\)"),
        ({"num_tasks": 0}, r"--episodes 0; give at least 1"),
    ],
)
def test_unknown_names_are_refused(tiny_run: Path, tmp_path: Path, change, message: str):
    with pytest.raises(UserError, match=message):
        evaluate_tiny(tiny_run, rules=replace(RULES, **change), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_plan_is_executed_and_shown(tiny_run: Path, tmp_path: Path):
    result = plan_run(str(tiny_run), seed=2, out=tmp_path / "plan", device="cpu", protocol="paper")
    names = {path.name for path in (tmp_path / "plan").iterdir()}
    assert {"results.json", "rollouts.npz", "plan.gif", "report.html"} <= names
    with np.load(tmp_path / "plan" / "rollouts.npz") as rollouts:
        distance = np.linalg.norm(rollouts["states"][0, -1] - rollouts["goal_states"][0])
    assert result.final_distance == pytest.approx(distance)
    with pytest.raises(UserError, match="already holds files; choose another --out"):
        plan_run(str(tiny_run), seed=2, out=tmp_path / "plan", device="cpu", protocol="paper")


@pytest.mark.parametrize("verb", ["eval", "plan"])
def test_a_command_reads_and_hashes_the_weights_once(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
):
    calls = []
    for name in ("hash_file", "load_file"):
        real = getattr(checkpoint, name)

        def counted(path: Path, *, name: str = name, real=real):
            calls.append((name, path.name))
            return real(path)

        monkeypatch.setattr(checkpoint, name, counted)
    argv = [verb, str(tiny_run), "--out", str(tmp_path / "out"), "--device", "cpu", "--json"]
    if verb == "eval":  # where the planner and the environment are asked of the run first
        argv += ["--episodes", "1", "--preset", "paper", "--planner.num-iterations", "1"]
    assert main(argv) == 0
    assert sorted(calls) == [("hash_file", "model.safetensors"), ("load_file", "model.safetensors")]


def test_the_planner_of_a_run_is_its_own(tiny_run: Path, tiny_experiment):
    assert default_planner(str(tiny_run)) == tiny_experiment.planner


def test_results_go_into_the_run_or_a_new_folder(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert default_folder(str(tiny_run), "paper") == tiny_run
    assert default_folder("wall", "mpc") == Path("runs/eval-wall-mpc")
    for used in ("runs/eval-wall-mpc", "runs/eval-wall-mpc-2"):
        Path(used).mkdir(parents=True)
    assert default_folder("wall", "mpc") == Path("runs/eval-wall-mpc-3")
    assert unused_folder(Path("new")) == Path("new")


def test_recorded_behaviour_gives_the_tasks_and_is_sought_in_the_data_root(
    run_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = []

    def draw_tasks(policy, seed, *, num_tasks, num_steps, split, data_root):
        asked.append((seed, num_tasks, num_steps, split, data_root))
        return [Task(start=(20.0, 20.0), goal=(25.0, 20.0))] * num_tasks

    monkeypatch.setattr(RandomWall, "draw_tasks", draw_tasks, raising=False)
    result = evaluate_tiny(run_copy, rules=replace(RULES, data_root=tmp_path / "recordings"))
    assert asked == [(task_seed(5, "test"), 3, 30, "test", tmp_path / "recordings")]
    assert result.tasks_sha256 == hash_tasks([Task(start=(20.0, 20.0), goal=(25.0, 20.0))] * 3)
    plan_run(
        str(run_copy),
        seed=1,
        out=tmp_path / "plan",
        device="cpu",
        protocol="paper",
        data_root=tmp_path / "recordings",
    )
    assert asked[1] == (task_seed(1, "test"), 1, 30, "test", tmp_path / "recordings")


def test_a_protocol_says_how_far_away_recorded_goals_are(
    tiny_experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = []

    def draw_tasks(*_, num_steps: int, **__: object) -> list[Task]:
        asked.append(num_steps)
        return []

    monkeypatch.setattr(RandomWall, "draw_tasks", draw_tasks, raising=False)
    for goal_steps in (None, 25):
        protocol = Protocol(name="anytime", max_env_steps=50, goal_steps=goal_steps, success="any")
        rules = TaskRules(num_tasks=1, data_root=tmp_path)
        find_tasks(tiny_experiment, WallBatch(), protocol=protocol, rules=rules)
    assert asked == [50, 25]


def test_a_strict_reading_is_in_the_results_and_on_the_same_tasks(
    run_copy: Path, tmp_path: Path, capsys
):
    plain = evaluate_tiny(run_copy, out=tmp_path / "plain")
    rules = replace(RULES, hold_steps=5, swept=True)
    strict = evaluate_tiny(run_copy, rules=rules, out=tmp_path / "strict")
    assert (plain.protocol, strict.protocol) == ("paper", "paper-held5-swept")
    settings = json.loads((tmp_path / "strict" / "results.json").read_text())["protocol_settings"]
    assert (settings["hold_steps"], settings["swept"], settings["object_only"]) == (5, True, False)
    assert strict.tasks_sha256 == plain.tasks_sha256
    assert all(strict.rows[name].success <= row.success for name, row in plain.rows.items())
    assert main(["eval", str(run_copy), "--offline", "--swept"]) == 2
    assert "--swept is for acting in an environment" in capsys.readouterr().err
    reward = ["eval", "wall", "--objective", "reward", "--swept", "--out", str(tmp_path / "none")]
    assert main([*reward, "--reward", "corner"]) == 2
    assert "this objective has none; leave them out" in capsys.readouterr().err


def test_a_model_acts_in_the_environment_that_is_asked_for(run_copy: Path, tmp_path: Path, capsys):
    plain = evaluate_tiny(run_copy, out=tmp_path / "plain")
    rules = replace(RULES, env="noisy:wall@1")
    noisy = evaluate_tiny(run_copy, rules=rules, out=tmp_path / "noisy")
    assert (plain.env, noisy.env) == ("wall", "noisy:wall@1")
    assert noisy.tasks_sha256 == plain.tasks_sha256
    assert main(["eval", str(run_copy), "--offline", "--env", "wall"]) == 2
    assert "--env is for acting in an environment" in capsys.readouterr().err
