"""Growth is a power law fitted to times of one iteration."""

from dataclasses import replace

import pytest

from jepawm.engine.config import EngineConfig
from jepawm.runs.bench_growth import bench_growth, fitted_exponent, render_growth
from jepawm.runs.bench_sizes import plan_job, sizes


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
        assert isinstance(axis, dict)
        assert axis["values"][-1] >= 10 * axis["values"][0]
        assert len(axis["seconds"]) == 4
    assert render_growth(result).count("exponent") == 4
