"""Sweeps with real trainings: rows, what is reused, and what survives kills."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import jepawm
from jepawm.errors import UserError
from jepawm.hub import load
from jepawm.recipes import RECIPES
from jepawm.runs.study import SweepOptions, list_axes, prepare_sweep, run_study
from jepawm.runs.study_work import do_work
from jepawm.study.folder import Work, open_folder, read_work, write_work
from jepawm.study.rows import MEASURED_TIMES, read_rows
from jepawm.study.setup import Rules
from jepawm.training.pretraining.settings import METHODS

RULES = Rules(num_tasks=3)
TWO = SweepOptions(values=("1", "2"), num_seeds=1)

RECIPE = """
from jepawm.experiment import DataConfig, Experiment
from jepawm.models.encoders import EncoderConfig
from jepawm.models.predictor import PredictorConfig
from jepawm.planning.cem import CEM
from jepawm.training.losses import LossConfig
from jepawm.training.optim import OptimConfig
from jepawm.training.train import LoopConfig

TINY = Experiment(
    encoder=EncoderConfig(dim=8, image_size=16),
    predictor=PredictorConfig(window=2, depth=1, num_heads=2, visual_dim=16),
    loss=LossConfig(target_gradient="all", regularizer="vicreg", inverse_dynamics_weight=0.5),
    optim=OptimConfig(num_steps=30, batch_size=16, warmup_steps=3),
    loop=LoopConfig(log_every=2, validate_every=30, save_every=3),
    data=DataConfig(num_episodes=12, episode_steps=30, image_size=16),
    planner=CEM(num_samples=8, num_elites=2, num_iterations=2),
)
"""


@pytest.fixture(scope="module")
def tiny_recipe(tiny_experiment) -> str:
    RECIPES.register("tiny", replace(tiny_experiment, name="tiny"))
    return "tiny"


@pytest.fixture(scope="module")
def swept(tiny_recipe: str, tmp_path_factory: pytest.TempPathFactory, wall_data_root: Path) -> Path:
    """Return a study folder whose jobs were all done, in this process, without its rows."""
    out = tmp_path_factory.mktemp("study") / "study"
    do_jobs("window", out, data_root=wall_data_root, options=TWO)
    return out


def do_jobs(axis: str, out: Path, *, data_root: Path, options: SweepOptions) -> int:
    """Do the jobs of a sweep as its workers would; returns how many were not done yet."""
    plan = prepare_sweep(axis, "tiny", options=options, rules=RULES)
    folder = open_folder(out, RULES)
    new = [job for job in plan.jobs if not folder.result(job).is_file()]
    for job in plan.jobs:
        do_work(
            write_work(Work(job=job, rules=RULES, folder=folder, data_root=data_root, device="cpu"))
        )
    return len(new)


def sweep(
    axis: str, out: Path, *, data_root: Path, options: SweepOptions, rows: Path | None = None
):
    return run_study(
        axis, "tiny", options=options, rules=RULES, out=out, rows=rows, data_root=data_root
    )


def test_a_row_says_all_of_a_run(swept: Path, wall_data_root: Path):
    done = sweep("window", swept, data_root=wall_data_root, options=TWO)
    assert (done.new_rows, done.all_rows, done.models) == (5, 5, 2)
    assert done.cpu_minutes > 0
    rows = {row.value: row for row in read_rows(done.rows)}
    assert set(rows) == {"1", "2", "do_nothing", "random", "oracle"}
    two = rows["2"]
    assert two.own
    assert two.settings == {"predictor.window": 2, "agent.window": 2}
    assert two.command == (
        "jepawm study run window tiny --values 2 --seeds 1 --first-seed 0 --protocol paper "
        "--episodes 3 --task-seed 0 --split test"
    )
    measured = two.measured
    assert len(measured.outcomes) == len(measured.distances) == 3
    assert len(measured.measures.error_over_copying) == 6
    assert measured.parameters == sum(
        one.numel() for one in load(swept / "models" / measured.model).model.parameters()
    )
    assert measured.versions["jepawm"]
    assert rows["do_nothing"].measured.success == 0.0
    assert rows["oracle"].measured.measures.effective_rank is None
    assert len({row.measured.tasks_sha256 for row in rows.values()}) == 1


def test_a_sweep_that_is_done_adds_nothing_and_starts_nothing(swept: Path, wall_data_root: Path):
    sweep("window", swept, data_root=wall_data_root, options=TWO)
    again = sweep("window", swept, data_root=wall_data_root, options=TWO)
    assert (again.new_rows, again.all_rows) == (0, 5)
    assert not (swept / "logs").exists()


def test_axes_of_planning_train_nothing_new(swept: Path, wall_data_root: Path):
    options = SweepOptions(values=("l2", "l1"), num_seeds=1)
    assert do_jobs("cost", swept, data_root=wall_data_root, options=options) == 1  # l1
    done = sweep("cost", swept, data_root=wall_data_root, options=options)
    assert (done.models, done.new_rows) == (1, 5)
    model = {row.measured.model for row in read_rows(done.rows) if row.is_model}
    assert len(model) == 1


def test_encoders_are_pretrained_before_the_models_that_use_them(
    tiny_recipe: str, tmp_path: Path, wall_data_root: Path, monkeypatch: pytest.MonkeyPatch
):
    """A pretraining of three steps, in place of the usual 1500."""
    usual = METHODS["vjepa"]
    short = replace(usual, optim=replace(usual.optim, num_steps=3, batch_size=8, warmup_steps=1))
    monkeypatch.setitem(METHODS, "vjepa", short)
    options = SweepOptions(values=("random", "vjepa"), num_seeds=1, references=False)
    out = tmp_path / "study"
    assert do_jobs("encoder", out, data_root=wall_data_root, options=options) == 5
    done = sweep("encoder", out, data_root=wall_data_root, options=options)
    rows = {row.value: row for row in read_rows(done.rows)}
    assert set(rows) == {"random", "vjepa"}
    encoder = rows["vjepa"].settings["encoder"]
    assert isinstance(encoder, dict)
    assert encoder["weights"] == "pretrained:vjepa"
    assert str(tmp_path) not in done.rows.read_text()
    random_one, pretrained = (rows[name].measured for name in ("random", "vjepa"))
    assert random_one.parameters == pretrained.parameters
    assert random_one.measures.error_over_copying != pretrained.measures.error_over_copying
    assert len(list((out / "encoders").iterdir())) == 1


def test_rows_go_where_they_are_asked_to(swept: Path, wall_data_root: Path, tmp_path: Path):
    rows = tmp_path / "results" / "study" / "wall.jsonl"
    sweep("window", swept, data_root=wall_data_root, options=TWO, rows=rows)
    assert len(read_rows(rows)) == 5


def test_a_job_that_is_done_is_left_alone(swept: Path):
    work = next((swept / "jobs").glob("train-*.json"))
    result = swept / "trained" / f"{read_work(work).job.id}.json"
    before = result.stat().st_mtime_ns
    do_work(work)
    assert result.stat().st_mtime_ns == before


def test_what_cannot_run_is_refused_before_anything_is_made(tiny_recipe: str, tmp_path: Path):
    for axis, recipe, options, message in (
        ("widow", "tiny", TWO, "unknown axis 'widow'"),
        ("window", "tinny", TWO, "unknown recipe 'tinny'"),
        ("window", "robot", TWO, "trains on recordings and has no environment"),
        (
            "positions",
            "tiny",
            SweepOptions(),
            "means nothing for tiny: its encoder makes one token",
        ),
        ("window", "tiny", replace(TWO, values=("4",)), "unknown value '4'"),
        ("window", "tiny", replace(TWO, num_seeds=0), "--seeds 0; give 1 to 100"),
        ("window", "tiny", replace(TWO, num_jobs=0), "--jobs 0; give at least 1"),
        ("window", "tiny", replace(TWO, protocol="fast"), "unknown protocol 'fast'"),
        ("window", "tiny", replace(TWO, noise=1.5), "--noise 1.5; give 0"),
    ):
        with pytest.raises(UserError, match=message):
            run_study(
                axis,
                recipe,
                options=options,
                rules=RULES,
                out=tmp_path / "study",
                rows=None,
                data_root=tmp_path,
            )
    assert not (tmp_path / "study").exists()


def test_every_axis_is_listed_with_a_recipe_that_it_means_something_on():
    listed = {one.name: one for one in list_axes()}
    assert "wall" in listed["planner"].recipes
    assert "wall" not in listed["positions"].recipes
    assert not listed["planner"].trains
    assert listed["planner_cost"].default[0] == "cem+l2"


def command(out: Path, *more: str) -> list[str]:
    argv = ["study", "run", "window", "own_recipe:TINY", "--values", "1,2", "--seeds", "2"]
    argv += ["--episodes", "3", "--jobs", "2", "--out", str(out), "--device", "cpu"]
    return [
        sys.executable,
        "-P",
        "-m",
        "jepawm",
        *argv,
        "--data-root",
        str(out.parent / "data"),
        *more,
    ]


def environment(folder: Path) -> dict[str, str]:
    source = str(Path(jepawm.__file__).parents[1])
    paths = [source, str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


def table_of(out: Path) -> list[dict[str, object]]:
    """Return the rows of a sweep without what a clock measured, sorted."""
    lines = (out / "rows" / "window.jsonl").read_text().splitlines()
    rows = [
        {k: v for k, v in json.loads(line).items() if k not in MEASURED_TIMES} for line in lines
    ]
    return sorted(rows, key=json.dumps)


def start(argv: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        argv,
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def workers_of(parent: int) -> list[int]:
    """List the processes that a process started."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False
    )
    return [int(line) for line in listed.stdout.split()]


@pytest.mark.slow
def test_a_sweep_survives_kills_of_itself_and_of_its_workers(tmp_path: Path):
    (tmp_path / "own_recipe.py").write_text(RECIPE)
    calm = start(command(tmp_path / "calm"), tmp_path)
    _, said = calm.communicate(timeout=600)
    assert calm.returncode == 0, said
    draw, killed = random.Random(0), 0
    while killed < 5:
        rough = start(command(tmp_path / "rough"), tmp_path)
        time.sleep(draw.uniform(3.0, 9.0))
        workers = workers_of(rough.pid)
        if rough.poll() is not None:
            assert rough.returncode == 0
            break
        if killed % 2 and workers:  # a worker, and the parent goes on
            os.kill(draw.choice(workers), signal.SIGKILL)
            time.sleep(draw.uniform(0.5, 3.0))
        rough.kill()
        rough.communicate()
        killed += 1
    last = start(command(tmp_path / "rough"), tmp_path)
    _, said = last.communicate(timeout=600)
    assert last.returncode == 0, said
    assert table_of(tmp_path / "rough") == table_of(tmp_path / "calm")
    assert len(table_of(tmp_path / "rough")) == 4 + 3


@pytest.mark.slow
def test_workers_end_with_a_killed_sweep_and_on_ctrl_c(tmp_path: Path):
    (tmp_path / "own_recipe.py").write_text(RECIPE)
    for number in (signal.SIGKILL, signal.SIGINT):
        sweep_process = start(command(tmp_path / "study"), tmp_path)
        deadline = time.monotonic() + 60
        while not (workers := workers_of(sweep_process.pid)) and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(2.0)
        sweep_process.send_signal(number)
        sweep_process.communicate(timeout=90)
        deadline = time.monotonic() + 20
        while any(map(is_running, workers)) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert workers
        assert not any(map(is_running, workers))


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_a_sweep_by_submitit_gives_the_same_rows(tmp_path: Path):
    pytest.importorskip("submitit")
    (tmp_path / "own_recipe.py").write_text(RECIPE)
    for name, more in (("calm", ()), ("local", ("--executor", "local"))):
        done = start(command(tmp_path / name, *more), tmp_path)
        _, said = done.communicate(timeout=600)
        assert done.returncode == 0, said
    assert table_of(tmp_path / "local") == table_of(tmp_path / "calm")
