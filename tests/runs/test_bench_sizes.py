"""Sizes are those of the released models, and jobs must make sense."""

import pytest
import torch

from jepawm.engine.config import EngineConfig
from jepawm.errors import UserError
from jepawm.runs.bench import PlanningBench
from jepawm.runs.bench_sizes import plan_job, sizes


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
