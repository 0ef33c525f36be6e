"""The proprio encoder is one affine layer."""

import torch
import torch.nn.functional as F

from jepawm.models.proprio import LimitedLinear, ProprioEncoder


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


def test_inputs_beyond_the_limit_count_as_the_limit():
    x = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
    layer = LimitedLinear(40, 70, limit=0.5)
    expected = F.linear(x.clamp(-0.5, 0.5), layer.weight, layer.bias)
    assert torch.equal(layer(x), expected)
    layer.limit = None
    assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
