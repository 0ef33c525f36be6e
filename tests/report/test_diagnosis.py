"""The section of a diagnosis: what it shows, what it leaves out, and texts of others in it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from jepawm.diagnosis.actions import ActionStep
from jepawm.diagnosis.candidates import CandidateGroup, Candidates
from jepawm.diagnosis.checkpoints import CheckpointFigures, compare_checkpoints
from jepawm.diagnosis.drift import Drift, DriftCurve, DriftStep
from jepawm.diagnosis.failures import Failures
from jepawm.diagnosis.landscape import Landscape
from jepawm.diagnosis.latents import LatentShape
from jepawm.diagnosis.results import Diagnosis
from jepawm.errors import UserError
from jepawm.evaluation.metrics import Difference
from jepawm.report import write_report

BETWEEN = Difference(difference=0.5, ci95=(0.25, 0.75))


def curve(every: int | None, scale: float) -> DriftCurve:
    steps = tuple(
        DriftStep(
            k=k, model=scale * k, model_ci95=(0.0, 1.0), copy=0.2 * k, model_minus_copy=BETWEEN
        )
        for k in range(1, 61)
    )
    return DriftCurve(every=every, steps=steps)


def group(iteration: int) -> CandidateGroup:
    return CandidateGroup(
        iteration=iteration,
        candidates=64,
        tasks=96,
        correlation=BETWEEN,
        distance=3.0,
        cheapest=2.0,
        nearest=1.0,
    )


SQUARE = tuple(tuple(float(i * j + 1) for i in range(21)) for j in range(21))
CHECKPOINTS = [
    CheckpointFigures(step=step, errors=(1 / step, 2 / step), success=step / 500, ci95=(0.0, 1.0))
    for step in (100, 200, 300, 400)
]
DIAGNOSIS = Diagnosis(
    source="wall",
    env="wall",
    step=1500,
    behaviour="RandomWall(near_door=0.5)",
    split="val",
    seed=0,
    frameskip=5,
    horizon=6,
    drift=Drift(
        stretches=96,
        window=1,
        curves={"tokens": (curve(None, 0.1), curve(1, 0.001), curve(3, 0.003))},
        steps_ahead_of_copying=25,
    ),
    actions=(ActionStep(k=1, own=0.1, other=1.0, other_minus_own=BETWEEN, moved=1.0),),
    latents=LatentShape(
        width=32,
        std=1.0,
        effective_rank=17.0,
        share_over_time=1.0,
        straightness=BETWEEN,
        predicted_straightness=BETWEEN,
    ),
    candidates=Candidates(
        tasks=96,
        planner="CEM(num_samples=300)",
        start=30.0,
        groups={"random": group(1), "middle": group(16), "elite": group(30)},
    ),
    landscapes=(
        Landscape(
            directions=(0, 1),
            values=tuple(-2 + 0.2 * i for i in range(21)),
            cost=SQUARE,
            distance=SQUARE,
            correlation=1.0,
            lowest=(0.0, -0.4),
            nearest=(0.2, 2.0),
        ),
    ),
    failures=Failures(
        protocol="paper",
        planner="CEM()",
        tasks=96,
        success=0.9375,
        ci95=(0.87, 0.97),
        counts={"beside the wall": 4, "short of the goal": 2},
        failures=(),
    ),
    checkpoints=compare_checkpoints(CHECKPOINTS, protocol="paper", tasks=96),
    left_out={"surprise": "nobody asked"},
    versions={"torch": "2"},
)


def report(run: Path, found: Diagnosis) -> str:
    (run / "diagnosis.json").write_text(json.dumps(found.to_json()), encoding="utf-8")
    return write_report(run).read_text(encoding="utf-8")


def test_the_section_shows_all_parts(tmp_path: Path, make_run, parse_page):
    html = report(make_run(tmp_path / "run"), DIAGNOSIS)
    page = parse_page(html)
    text = " ".join("".join(page.text).split())
    for words in (
        "Effective rank17 of 32",
        "Better than copying for25 blocks",
        "Drift of predicted tokens",
        "copying the last real latent",
        "open loop",
        "a real observation every 1 block",
        "a real observation every 3 blocks",
        "the actions of another stretch",
        "Elites of the last iteration0.5 [0.25, 0.75]321",
        "Task 1: true distance, 1 to 401",
        "93.8 % [87.0, 97.0] of 96 tasks",
        "beside the wall4",
        "Error and success over 4 checkpoints",
        "surprise: nobody asked",
    ):
        assert words in text
    names = set(json.loads(page.data)["charts"])
    assert {"chart-drift-tokens", "chart-actions", "chart-checkpoint-errors"} <= names
    pictures = [attrs for tag, attrs in page.elements if tag == "image"]
    assert len(pictures) == 2
    assert all((one["href"] or "").startswith("data:image/png;base64,") for one in pictures)
    assert len(html.encode()) < 2_000_000


def test_a_run_without_a_diagnosis_names_the_command(html: str):
    assert "<code>diagnosis.json</code> is not in this run directory" in html
    assert "jepawm diagnose RUN" in html


def test_what_was_left_out_leaves_no_gap(tmp_path: Path, make_run):
    bare = Diagnosis(
        source="x",
        env="recordings",
        step=None,
        behaviour="recordings",
        split="val",
        seed=0,
        frameskip=1,
        horizon=3,
        left_out={"predictions": "not asked for"},
        versions={},
    )
    html = report(make_run(tmp_path / "run"), bare)
    assert "predictions: not asked for" in html
    assert "chart-drift" not in html


def test_one_landscape_of_recordings_marks_what_was_recorded(tmp_path: Path, make_run, parse_page):
    (one,) = DIAGNOSIS.landscapes
    alone = replace(one, distance=None, correlation=None, nearest=(9.0, -9.0))  # off the square
    page = parse_page(report(make_run(tmp_path / "run"), replace(DIAGNOSIS, landscapes=(alone,))))
    assert sum(tag == "image" for tag, _ in page.elements) == 1
    (square,) = [attrs for tag, attrs in page.elements if tag == "rect"]
    assert -10 <= float(square["x"] or "nan") <= 200


def test_texts_of_a_file_are_escaped(tmp_path: Path, make_run, parse_page):
    evil = "</script><script>alert(1)</script>\x1b[2J"
    assert DIAGNOSIS.failures is not None
    html = report(
        make_run(tmp_path / "run"),
        replace(
            DIAGNOSIS,
            behaviour=evil,
            left_out={evil: evil},
            failures=replace(DIAGNOSIS.failures, protocol=evil, counts={evil: 1}),
        ),
    )
    assert "<script>alert" not in html
    assert "\x1b" not in html
    page = parse_page(html)
    assert sum(tag == "script" for tag, _ in page.elements) == 2


@pytest.mark.parametrize("value", [0.0, 1e300, -1e300])
def test_numbers_of_any_size_leave_a_page(tmp_path: Path, make_run, value: float):
    (one,) = DIAGNOSIS.landscapes
    far = tuple((value, *row[1:]) for row in SQUARE)
    step = DriftStep(
        k=1, model=value, model_ci95=(value, value), copy=value, model_minus_copy=BETWEEN
    )
    drift = Drift(
        stretches=2,
        window=1,
        curves={"tokens": (DriftCurve(every=None, steps=(step,)),)},
        steps_ahead_of_copying=0,
    )
    report(
        make_run(tmp_path / "run"),
        replace(DIAGNOSIS, landscapes=(replace(one, cost=far),), drift=drift),
    )


def test_a_damaged_diagnosis_is_named(tmp_path: Path, make_run):
    run = make_run(tmp_path / "run")
    (run / "diagnosis.json").write_text("{}")
    with pytest.raises(UserError, match=r"diagnosis\.json"):
        write_report(run)
