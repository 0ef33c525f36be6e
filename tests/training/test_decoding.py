"""The loss of decoders: what moves counts, however small it is."""

import pytest
import torch
from torch import nn

from jepawm.decoding import DecodingConfig
from jepawm.models.latent_heads import HeadShape, LatentHead
from jepawm.training.decoding import HeadState, reading_loss
from jepawm.types import Latent


class Constant(nn.Module):
    """Read the same number everywhere."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.zeros(*tokens.shape[:-2], *self.shape)


def state(kind, output: tuple[int, ...], *, change: float = 1.0) -> HeadState:
    config = DecodingConfig(width=4, depth=1, channels=1, patch_size=1)
    shape = HeadShape(kind=kind, grid=(1, 1), latent_dim=2, proprio_dim=0, output=output)
    head = LatentHead(config, shape)
    head.net = Constant(output)
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    return HeadState(head=head, optimizer=optimizer, change=change)


def test_what_moves_weighs_as_much_as_all_of_the_picture():
    shown = state("pixels", (3, 1, 4), change=10.0)
    shown.head.output_mean.fill_(100.0)
    shown.head.output_std.fill_(10.0)
    target = torch.full((1, 3, 1, 4), 100.0)
    target[..., 0] = 140.0  # one pixel of four moved by 40, on average 10: it weighs 1 + 4
    latent = Latent(tokens=torch.zeros(1, 1, 2))
    plain = reading_loss(shown, latent, targets=target, change_weight=0.0)
    assert float(plain) == pytest.approx(16 / 4)
    weighed = reading_loss(shown, latent, targets=target, change_weight=1.0)
    assert float(weighed) == pytest.approx(16 * 5 / 4 / 2)


def test_states_count_in_their_own_deviations():
    shown = state("states", (2,))
    shown.head.output_std.copy_(torch.tensor([1.0, 10.0]))
    loss = reading_loss(
        shown,
        Latent(tokens=torch.zeros(1, 1, 2)),
        targets=torch.tensor([[1.0, 10.0]]),
        change_weight=1.0,
    )
    assert float(loss) == pytest.approx(1.0)
