"""The engine's configuration refuses numbers that make no sense."""

from dataclasses import replace

import pytest
import torch

from jepawm.engine.config import EngineConfig
from jepawm.engine.rollout_engine import computing
from jepawm.errors import UserError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_memory_bytes", 0),
        ("chunk_tokens", 0),
        ("num_threads", -1),
        ("num_threads", 10**12),
    ],
)
def test_what_makes_no_sense_is_refused(field, value):
    with pytest.raises(UserError, match=rf"engine\.{field} = {value}"):
        replace(EngineConfig(), **{field: value})


def test_kernels_that_are_compiled_already_are_not_compiled_by_torch():
    with pytest.raises(UserError, match=r"engine\.compile = default"):
        EngineConfig(precision="bfloat16x3", compile="default")


def test_split_products_are_for_cpus():
    config, device = EngineConfig(precision="bfloat16x3"), torch.device("cuda")
    with (
        pytest.raises(UserError, match="is for CPUs; on cuda"),
        computing(config, device, flop=0.0),
    ):
        pass
