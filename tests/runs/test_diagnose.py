"""From a run, or recordings, to its diagnosis, a row of results, and the section of its report."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jepawm.checkpoint import read_record
from jepawm.diagnosis.results import read_diagnosis
from jepawm.errors import UserError
from jepawm.experiment import Experiment
from jepawm.hub.load import load
from jepawm.planning.gradient import GradientDescent
from jepawm.planning.random_shooting import RandomShooting
from jepawm.recipes import RECIPES
from jepawm.report import write_report
from jepawm.runs import DiagnosisRules, append_row, check_rows, diagnose_run, train_run
from jepawm.runs.datasets import store_path, use_recordings

RULES = DiagnosisRules(
    num_steps=8, every=(1, 3), num_stretches=4, num_tasks=4, num_candidates=4, num_landscapes=1
)


@pytest.fixture(scope="module")
def kept_run(
    tiny_experiment: Experiment, wall_data_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a run with three kept checkpoints; tests must not write into it."""
    loop = replace(tiny_experiment.loop, save_every=4, keep_every=4)
    out = tmp_path_factory.mktemp("kept") / "run"
    kept = replace(tiny_experiment, loop=loop)
    train_run(kept, out=out, data_root=wall_data_root, device="cpu", resume=False)
    return out


@pytest.fixture(scope="module")
def found(kept_run: Path, tmp_path_factory: pytest.TempPathFactory, wall_data_root: Path):
    """Return the whole diagnosis of that run, in a folder of its own."""
    out = tmp_path_factory.mktemp("diagnosed") / "out"
    return diagnose_run(str(kept_run), RULES, data_root=wall_data_root, out=out)


def test_checkpoints_are_kept_without_their_training(kept_run: Path):
    names = sorted(folder.name for folder in (kept_run / "checkpoints").iterdir())
    assert names == ["step-0000004", "step-0000008", "step-0000012"]
    assert [read_record(kept_run / "checkpoints" / name).step for name in names] == [4, 8, 12]
    assert not list((kept_run / "checkpoints").rglob("training.safetensors"))


def test_all_parts_of_a_run(found, kept_run: Path):
    diagnosis = found.diagnosis
    assert read_diagnosis(found.written) == diagnosis
    assert (diagnosis.env, diagnosis.step, diagnosis.frameskip, diagnosis.horizon) == (
        "wall",
        12,
        5,
        6,
    )
    assert diagnosis.left_out == {}
    assert diagnosis.behaviour.startswith("RandomWall(")
    assert diagnosis.drift is not None
    assert diagnosis.drift.window == 2
    assert [len(one.steps) for one in diagnosis.drift.curves["tokens"]] == [8, 8, 8]
    assert [one.k for one in diagnosis.actions] == [1, 2, 3, 4, 5, 6]
    assert diagnosis.candidates is not None
    assert [one.candidates for one in diagnosis.candidates.groups.values()] == [4, 4, 2]
    assert len(diagnosis.landscapes) == 1
    assert diagnosis.failures is not None
    failures = diagnosis.failures
    assert failures.tasks == 4
    assert (
        sum(failures.counts.values()) == len(failures.failures) == round(4 * (1 - failures.success))
    )
    assert diagnosis.checkpoints is not None
    assert [one.step for one in diagnosis.checkpoints.figures] == [4, 8, 12]
    last = diagnosis.checkpoints.figures[-1]
    assert last.success == failures.success  # the last kept checkpoint is the run's
    assert len(last.errors) == 6
    assert set(found.seconds) == set(RULES.parts)


def test_a_diagnosis_can_be_had_again(found, kept_run: Path, wall_data_root: Path, tmp_path: Path):
    rules = replace(RULES, parts=("predictions", "candidates"))
    again = diagnose_run(str(kept_run), rules, data_root=wall_data_root, out=tmp_path / "again")
    assert again.diagnosis.drift == found.diagnosis.drift
    assert again.diagnosis.candidates == found.diagnosis.candidates
    assert again.diagnosis.left_out["failures"] == "not asked for"
    other = replace(rules, seed=1, parts=("predictions",))
    third = diagnose_run(str(kept_run), other, data_root=wall_data_root, out=tmp_path / "third")
    assert third.diagnosis.drift != found.diagnosis.drift


def test_the_report_shows_it(found):
    html = write_report(found.written.parent).read_text(encoding="utf-8")
    assert "Drift of predicted tokens" in html
    assert "a real observation every 3 blocks" in html
    assert "Error and success over 3 checkpoints" in html
    assert "Where failed episodes stop" in html


def test_a_diagnosis_is_not_overwritten_unless_asked_to(
    found, kept_run: Path, wall_data_root: Path
):
    folder, rules = found.written.parent, replace(RULES, parts=("landscape",))
    before = found.written.read_bytes()
    with pytest.raises(UserError, match=r"already holds diagnosis\.json.*--overwrite"):
        diagnose_run(str(kept_run), rules, data_root=wall_data_root, out=folder)
    assert found.written.read_bytes() == before


def test_rows_are_added_without_what_is_long(found, tmp_path: Path):
    path = tmp_path / "rows" / "diagnose.jsonl"
    check_rows(path)
    assert not path.exists()
    for _ in range(2):
        append_row(found, path, command="jepawm diagnose run")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 2
    assert rows[0]["command"] == "jepawm diagnose run"
    assert rows[0]["source"] == "run"
    assert "cost" not in rows[0]["landscapes"][0]
    assert "failures" not in rows[0]["failures"]
    assert len(rows[0]["drift"]["curves"]["tokens"][0]["steps"]) == 8
    assert set(rows[0]["seconds"]) == set(RULES.parts)
    path.write_text(path.read_text() + '{"half": ')
    with pytest.raises(UserError, match="half a line"):
        check_rows(path)
    with pytest.raises(UserError, match="give a file of rows"):
        check_rows(tmp_path)


def test_too_few_checkpoints_and_another_planner(
    tiny_run: Path, wall_data_root: Path, tmp_path: Path
):
    done = diagnose_run(
        str(tiny_run),
        replace(RULES, parts=("failures", "checkpoints")),
        data_root=wall_data_root,
        planner=RandomShooting(num_samples=4),
        out=tmp_path / "out",
    )
    assert "0 kept checkpoints" in done.diagnosis.left_out["checkpoints"]
    assert "keep-every" in done.diagnosis.left_out["checkpoints"]
    assert done.diagnosis.failures is not None
    assert done.diagnosis.failures.planner.startswith("RandomShooting(num_samples=4")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"parts": ()}, "choose among"),
        ({"num_steps": 2}, "--steps 2; give at least 3"),
        ({"num_stretches": 1}, "--stretches 1; give at least 2"),
        ({"num_tasks": 0}, "--tasks 0"),
        ({"every": (0,)}, "--every 0"),
        ({"directions": (1, 1)}, "two different"),
        ({"directions": (-1, 1)}, "from 0 on"),
        ({"seed": -1}, "--seed -1"),
    ],
)
def test_rules_that_cannot_be(changes: dict[str, object], complaint: str):
    with pytest.raises(UserError, match=complaint):
        replace(RULES, **changes)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"directions": (0, 2)}, r"has 2 numbers, 0 to 1"),
        ({"protocol": "nonsense"}, "unknown protocol"),
    ],
)
def test_what_does_not_fit_the_model(
    tiny_run: Path, wall_data_root: Path, tmp_path: Path, changes: dict[str, object], complaint: str
):
    with pytest.raises(UserError, match=complaint):
        diagnose_run(
            str(tiny_run), replace(RULES, **changes), data_root=wall_data_root, out=tmp_path / "out"
        )
    assert not list((tmp_path / "out").glob("*.json"))


def test_a_kept_checkpoint_loads_and_a_half_written_one_does_not_count(
    kept_run: Path, wall_data_root: Path, tmp_path: Path
):
    run = tmp_path / "run"
    shutil.copytree(kept_run, run)
    shutil.rmtree(run / "checkpoints" / "step-0000008")
    (run / "checkpoints" / "step-0000008.new").mkdir()
    rules = replace(RULES, parts=("checkpoints",))
    done = diagnose_run(str(run), rules, data_root=wall_data_root)
    assert done.written == run / "diagnosis.json"
    assert "2 kept checkpoints" in done.diagnosis.left_out["checkpoints"]


def write_arm(folder: Path, *, num_episodes: int = 5, num_frames: int = 60) -> Path:
    """Write episodes of an arm whose place is seen as a bright column."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for episode in range(num_episodes):
        actions = generator.normal(0.0, 1.0, (num_frames - 1, 2)).astype(np.float32)
        places = np.concatenate([np.zeros((1, 2)), actions.cumsum(0)]).astype(np.float32)
        frames = np.zeros((num_frames, 16, 16, 3), np.uint8)
        frames[np.arange(num_frames), :, (8 + places[:, 0]).astype(int) % 16] = 255
        np.savez(folder / f"episode_{episode}.npz", frames=frames, actions=actions, proprio=places)
    return folder


@pytest.fixture(scope="module")
def arm_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of the recipe `robot`, made small, on recordings of an arm."""
    folder = tmp_path_factory.mktemp("arm")
    recipe = RECIPES.get("robot")
    assert isinstance(recipe, Experiment)
    robot = replace(
        recipe,
        data=replace(recipe.data, image_size=16, frameskip=2, num_steps=3),
        loss=replace(recipe.loss, rollout_steps=2),
        encoder=replace(recipe.encoder, dim=8, image_size=16),
        predictor=replace(recipe.predictor, depth=1, visual_dim=16),
        proprio=replace(recipe.proprio, dim=16),
        optim=replace(recipe.optim, num_steps=3, batch_size=8),
        planner=GradientDescent(num_starts=2, num_iterations=2),
    )
    chosen = use_recordings(robot, write_arm(folder / "arm"), data_root=folder / "root")
    train_run(chosen, out=folder / "run", data_root=folder / "root", device="cpu", resume=False)
    return folder / "run"


def test_recordings_leave_out_what_needs_a_simulator(arm_run: Path, tmp_path: Path):
    rules = replace(RULES, num_steps=None, split="test", num_stretches=6)
    root = arm_run.parent / "root"
    done = diagnose_run(str(arm_run), rules, data_root=root, out=tmp_path / "out")
    diagnosis = done.diagnosis
    assert diagnosis.env == "recordings"
    assert diagnosis.behaviour.startswith("recordings of")
    assert set(diagnosis.left_out) == {"candidates", "failures", "checkpoints"}
    assert "simulator" in diagnosis.left_out["candidates"]
    assert diagnosis.drift is not None
    assert set(diagnosis.drift.curves) == {"tokens", "proprio"}
    assert len(diagnosis.drift.curves["tokens"][0].steps) == 14  # half of 29 blocks
    (landscape,) = diagnosis.landscapes
    assert (landscape.distance, landscape.correlation) == (None, None)
    assert landscape.nearest is not None
    write_report(done.written.parent)


def test_too_many_steps_for_the_recordings(arm_run: Path, tmp_path: Path):
    root = arm_run.parent / "root"
    with pytest.raises(UserError, match=r"--steps 40: the longest .* has 29 action blocks"):
        diagnose_run(
            str(arm_run), replace(RULES, num_steps=40), data_root=root, out=tmp_path / "out"
        )
    other = write_arm(tmp_path / "short", num_frames=5)
    with pytest.raises(UserError, match="longest of the recordings has 2"):
        diagnose_run(
            str(arm_run),
            replace(RULES, num_steps=None),
            data=other,
            data_root=root,
            out=tmp_path / "out",
        )


def test_an_environment_is_diagnosed_on_recordings_too(
    tiny_run: Path, wall_data_root: Path, tmp_path: Path
):
    experiment = load(tiny_run).experiment
    store = store_path(experiment.env, experiment.data, data_root=wall_data_root)
    done = diagnose_run(
        str(tiny_run),
        replace(RULES, num_steps=4),
        data=store,
        data_root=wall_data_root,
        out=tmp_path / "out",
    )
    assert "simulator" in done.diagnosis.left_out["failures"]
    assert done.diagnosis.drift is not None
