"""Rows of made-up runs, and bases on which each axis means something."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from jepawm.evaluation.metrics import wilson_interval
from jepawm.experiment import Experiment
from jepawm.models.encoders import EncoderConfig
from jepawm.models.predictor import PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.protocol import PROTOCOLS
from jepawm.study.known_axes import find_axis
from jepawm.study.rows import Measured, Measures, StudyRow
from jepawm.study.setup import Setup
from jepawm.training.losses import LossConfig

MakeRow = Callable[..., StudyRow]
NUM_TASKS = 96


def base_setup() -> Setup:
    """Return a base on which every axis means something: a grid, W = 3, rollouts, proprioception."""
    experiment = Experiment(
        name="base",
        encoder=EncoderConfig(grid=4, dim=8),
        predictor=PredictorConfig(window=3, depth=3, num_heads=2, visual_dim=16),
        proprio=ProprioConfig(mode="feature"),
        loss=LossConfig(regularizer="sigreg", target_gradient="all"),
    )
    return Setup(experiment=experiment, protocol=PROTOCOLS["paper"])


def make_row(
    axis: str,
    value: str,
    *,
    seed: int = 0,
    success: float | Sequence[bool] = 0.5,
    recipe: str = "study_grid",
    env: str = "wall",
    row: str = "model",
    setup: str | None = None,
    model: str | None = None,
    version: str = "0.2.0",
) -> StudyRow:
    """Return a row; `success` is a rate, or the outcome of each task."""
    generator = np.random.default_rng([seed, sum(map(ord, f"{axis}{value}{row}"))])
    if isinstance(success, float):
        outcomes = generator.random(NUM_TASKS) < success
    else:
        outcomes = np.array(success, dtype=bool)
    distances = np.where(outcomes, 1.0, 10.0)
    name = f"{axis}{value}{seed}{row}{recipe}"
    measured = Measured(
        row=row,
        env=env,
        success=float(outcomes.mean()),
        ci95=wilson_interval(int(outcomes.sum()), len(outcomes)),
        measures=Measures(
            final_distance=float(distances.mean()),
            blocks_to_success=4.5,
            error_over_copying=(0.25, 0.5, 0.75) if row == "model" else (),
            effective_rank=12.0 if row == "model" else None,
        ),
        outcomes="".join("01"[int(one)] for one in outcomes),
        distances=tuple(distances.tolist()),
        episodes=len(outcomes),
        task_seed=0,
        split="test",
        tasks_sha256="0" * 64,
        protocol={"name": "paper", "horizon": 6},
        setup=setup or f"{name}s",
        model=model or f"{name}m",
        parameters=1000,
        training_seconds=60.0,
        evaluation_seconds=6.0,
        versions={"jepawm": version, "torch": "2.13.0"},
        commit="abc1234",
        num_threads=1,
    )
    fields = find_axis(axis).fields
    return StudyRow(
        axis=axis,
        value=value,
        recipe=recipe,
        seed=seed,
        settings={fields[0]: value} if row == "model" else {},
        own=False,
        measured=measured,
        command=f"jepawm study run {axis} {recipe} --values {value}",
    )


@pytest.fixture(name="make_row")
def make_row_fixture() -> MakeRow:
    """Return the function that makes rows."""
    return make_row


@pytest.fixture
def base() -> Setup:
    """Return the base of every axis."""
    return base_setup()


@pytest.fixture
def one_token(base: Setup) -> Setup:
    """Return the base with one token and one observation."""
    encoder = replace(base.experiment.encoder, grid=1)  # pyright: ignore[reportArgumentType]
    return base.with_settings({"encoder": encoder, "predictor.window": 1, "agent.window": 1})
