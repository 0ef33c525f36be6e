"""The benchmark of planning counts what is executed and measures one job."""

from dataclasses import replace

import pytest
import torch

from jepawm.engine.config import EngineConfig
from jepawm.errors import UserError
from jepawm.models.predictor import PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.runs.bench import (
    PlanJob,
    PlanningBench,
    Size,
    bench_growth,
    bench_planning,
    fitted_exponent,
    plan_job,
    render_growth,
    sizes,
)

TINY = Size(
    predictor=PredictorConfig(window=2, depth=2, num_heads=2, visual_dim=12, positions="sincos"),
    proprio=ProprioConfig(),
    latent_dim=8,
    side=2,
    action_dim=3,
    window=2,
    num_samples=4,
    num_iterations=2,
)


def test_a_plan_is_measured():
    job = plan_job(TINY, horizon=3, num_tasks=2)
    result = bench_planning(TINY, job, engine=EngineConfig(), device="cpu", repeats=2)
    assert result.plans_measured == 2
    for key in ("seconds_per_plan", "gflop", "fraction_of_peak", "peak_memory_mib"):
        value = getattr(result, key)
        assert isinstance(value, float)
        assert value > 0
    assert result.job == PlanJob(
        num_samples=4, num_iterations=2, horizon=3, num_tasks=2, window=2, context=2
    )


def test_executed_flop_are_those_of_the_layers_that_frames_pass():
    """Window 2, context 2, 3 steps: 3 frames predict, 2 are past in the window of the next."""
    size = replace(TINY, predictor=replace(TINY.predictor, depth=1))
    bench = PlanningBench(
        size,
        plan_job(size, horizon=3, num_tasks=1),
        engine=EngineConfig(),
        device=torch.device("cpu"),
    )
    bench.plan(num_iterations=1)  # 4 samples, then the mean
    width, tokens = 12, 4
    square = 2 * tokens * width * width
    keys_and_values, rest = 2 * square, (2 + 8) * square  # queries and output, feed-forward
    attention = 4 * tokens * (2 * tokens) * width
    modulation, action = 2 * width * 6 * width, 2 * 3 * width
    outside = 2 * tokens * width * 8
    each = 5 * keys_and_values + 3 * (rest + attention + modulation + outside + action)
    each += 2 * outside  # predictions are embedded again
    shared = keys_and_values + modulation + action + 2 * outside
    gflop, plain = bench.count()
    assert gflop * 1e9 == pytest.approx(shared + 5 * each)
    assert plain > gflop


def test_flop_of_all_threads_are_counted():
    size, counts = replace(TINY, side=12), []  # tokens enough for a thread of its own
    for num_threads in (1, 2):
        bench = PlanningBench(
            size,
            plan_job(size, horizon=3, num_tasks=1),
            engine=EngineConfig(num_threads=num_threads),
            device=torch.device("cpu"),
        )
        bench.plan(num_iterations=1)
        counts.append(bench.count())
    assert counts[0] == counts[1]


def test_too_little_memory_says_the_least():
    job = plan_job(TINY, horizon=3, num_tasks=1)
    engine = EngineConfig(max_memory_bytes=100)
    with pytest.raises(UserError, match="least that works"):
        bench_planning(TINY, job, engine=engine, device="cpu", repeats=1)


def test_the_sizes_are_those_of_the_paper():
    found = sizes()
    job = plan_job(found["jepa_wm"], horizon=6, num_tasks=1)
    bench = PlanningBench(found["jepa_wm"], job, engine=EngineConfig(), device=torch.device("cpu"))
    assert sum(one.numel() for one in bench.model.parameters()) == 17_630_480
    assert found["dino_wm"].predictor.visual_dim == 384
    assert found["lewm"].side == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_samples": 1}, "--samples 1"),
        ({"num_iterations": 0}, "--iterations 0"),
        ({"horizon": 0}, "--horizon 0"),
        ({"num_tasks": 0}, "--tasks 0"),
        ({"window": 4}, "--window 4"),
        ({"window": 0}, "--window 0"),
        ({"context": 4}, "--context 4"),
    ],
)
def test_jobs_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        plan_job(sizes()["lewm"], **({"horizon": 3, "num_tasks": 1} | wrong))


def test_the_exponent_of_a_power_law_is_found():
    values = (1.0, 2.0, 5.0, 10.0)
    assert fitted_exponent(values, [3 * value**1.5 for value in values]) == pytest.approx(1.5)


def test_every_axis_grows_tenfold():
    lewm = sizes()["lewm"]
    size = replace(lewm, predictor=replace(lewm.predictor, depth=1))
    job = plan_job(size, horizon=2, num_tasks=1, num_samples=2)
    result = bench_growth(size, job, engine=EngineConfig(), device="cpu", repeats=1)
    assert list(result) == ["samples", "horizon", "tokens", "tasks"]
    for axis in result.values():
        assert axis.values[-1] >= 10 * axis.values[0]
        assert len(axis.seconds) == 4
    assert render_growth(result).count("exponent") == 4
