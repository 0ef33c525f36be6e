"""In one process this is torch's batch norm; two processes are in tests/test_processes.py."""

import torch
from torch import nn

from jepawm.models.batch_norm import BatchNorm


def test_one_process_is_batch_norm_without_weights():
    ours, theirs = BatchNorm(3), nn.BatchNorm1d(3, affine=False)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for step in range(3):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        assert torch.equal(ours(x), theirs(x))
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
