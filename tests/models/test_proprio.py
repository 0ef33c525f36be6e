"""The proprio encoder is one affine layer."""

import torch

from jepawm.models.proprio import ProprioEncoder


def test_encodes_by_one_affine_map():
    encoder = ProprioEncoder(2, 3)
    proprio = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(0))
    expected = proprio @ encoder.proj.weight.T + encoder.proj.bias
    torch.testing.assert_close(encoder(proprio), expected.unsqueeze(-2))
