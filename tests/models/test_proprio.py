"""The proprio encoder is one affine layer."""

import torch

from jepawm.models.proprio import ProprioEncoder


def test_proprioception_beyond_the_limit_counts_as_the_limit():
    encoder = ProprioEncoder(2, 3, limit=2.0)
    far = torch.tensor([[1.0, 100.0], [-3.0, 0.5]])
    near = torch.tensor([[1.0, 2.0], [-2.0, 0.5]])
    assert torch.equal(encoder(far), encoder(near))


def test_encodes_by_one_affine_map():
    encoder = ProprioEncoder(2, 3)
    proprio = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(0))
    expected = proprio @ encoder.proj.weight.T + encoder.proj.bias
    torch.testing.assert_close(encoder(proprio), expected.unsqueeze(-2))
