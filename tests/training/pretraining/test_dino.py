"""Self-distillation with the head and the loss of lightly."""

import sys

import pytest
import torch

from jepawm.errors import UserError
from jepawm.models.encoders import build_vit
from jepawm.training.pretraining.dino import SelfDistillation, encode_view
from jepawm.training.pretraining.settings import DinoConfig, ViTConfig

CONFIG = DinoConfig(
    vit=ViTConfig(image_size=16, patch_size=4), num_crops=1, num_prototypes=8, momentum=0.5
)


@pytest.fixture
def method() -> SelfDistillation:
    """Return the method with random weights; skip where lightly is not installed."""
    for package in ("lightly.loss", "lightly.models.modules"):
        pytest.importorskip(package, reason="the extra 'pretrain' is not installed")
    torch.manual_seed(0)
    return SelfDistillation(CONFIG)


def test_without_lightly_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightly", None)
    monkeypatch.setitem(sys.modules, "lightly.models", None)
    monkeypatch.setitem(sys.modules, "lightly.models.modules", None)
    with pytest.raises(UserError, match=r"pip install 'jepawm\[pretrain\]'"):
        SelfDistillation(CONFIG)


def test_a_view_of_the_whole_size_is_encoded_as_the_encoder_does():
    torch.manual_seed(0)
    vit = build_vit("S", patch_size=4, side=4)
    view = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(encode_view(vit, view), vit(view).mean((2, 3)))
        assert encode_view(vit, view[..., :8, :8]).shape == (2, 128)


def test_the_loss_of_indifferent_outputs_is_that_of_the_uniform_distribution(
    method: SelfDistillation,
):
    for head in (method.head, method.teacher_head):
        with torch.no_grad():
            head.last_layer.weight_v.fill_(1.0)  # all prototypes alike
    terms = method(torch.randn(3, 1, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(terms["loss"], torch.tensor(8.0).log())


def test_the_average_learns_nothing_and_follows(method: SelfDistillation):
    assert torch.equal(method.head.last_layer.weight_v, method.teacher_head.last_layer.weight_v)
    images = torch.randn(3, 1, 3, 16, 16)
    method(images, generator=torch.Generator().manual_seed(0))["loss"].backward()
    teacher = (*method.teacher.parameters(), *method.teacher_head.parameters())
    assert all(one.grad is None and not one.requires_grad for one in teacher)
    assert all(one.grad is not None for one in method.student.parameters())
    before = method.teacher.norm.bias.clone()
    with torch.no_grad():
        method.student.norm.bias += 1.0
    method.follow(0.0)
    torch.testing.assert_close(method.teacher.norm.bias, before + 0.5)
    assert bool(method.compare.center.any())  # it moved with the outputs
