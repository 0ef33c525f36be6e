"""The layout of the predictor's sequence: joining and splitting are inverse."""

import itertools

import pytest
import torch

from jepawm.models.conditioning import Layout

CASES = list(itertools.product(["none", "feature", "token"], ["adaln", "feature", "sequence"]))


def layout_of(proprio: str, action: str) -> Layout:
    return Layout(
        visual_dim=5,
        proprio_feature_dim=3 if proprio == "feature" else 0,
        action_feature_dim=2 if action == "feature" else 0,
        action_token=action == "sequence",
        proprio_token=proprio == "token",
    )


def parts_of(layout: Layout):
    generator = torch.Generator().manual_seed(0)
    visual = torch.randn(2, 4, 6, 5, generator=generator)
    action = torch.randn(2, 4, layout.action_feature_dim or layout.width, generator=generator)
    proprio = None
    if layout.proprio_feature_dim:
        proprio = torch.randn(2, 4, 6, 3, generator=generator)
    elif layout.proprio_token:
        proprio = torch.randn(2, 4, 1, layout.width, generator=generator)
    return visual, action, proprio


@pytest.mark.parametrize(("proprio", "action"), CASES)
def test_split_undoes_join(proprio: str, action: str):
    layout = layout_of(proprio, action)
    visual, code, state = parts_of(layout)
    sequence = layout.join(visual, action=code, proprio=state)
    assert sequence.shape == (2, 4, 6 + layout.num_condition, layout.width)
    got_visual, got_state = layout.split(sequence)
    assert torch.equal(got_visual, visual)
    assert (got_state is None) == (state is None)
    if state is not None:
        assert got_state is not None
        assert torch.equal(got_state, state)


def test_tokens_come_in_the_order_action_proprio_patches():
    layout = layout_of("token", "sequence")
    visual, code, state = parts_of(layout)
    sequence = layout.join(visual, action=code, proprio=state)
    assert state is not None
    assert torch.equal(sequence[:, :, 0], code)
    assert torch.equal(sequence[:, :, 1], state[:, :, 0])
    assert torch.equal(sequence[:, :, 2:], visual)


def test_channels_come_in_the_order_visual_proprio_action():
    layout = layout_of("feature", "feature")
    visual, code, state = parts_of(layout)
    sequence = layout.join(visual, action=code, proprio=state)
    assert state is not None
    assert torch.equal(sequence[..., 5:8], state)
    assert torch.equal(sequence[..., 8:], code.unsqueeze(2).expand(-1, -1, 6, -1))


def test_one_proprio_code_is_repeated_over_the_tokens():
    layout = layout_of("feature", "adaln")
    visual, code, state = parts_of(layout)
    assert state is not None
    sequence = layout.join(visual, action=code, proprio=state[:, :, :1])
    assert torch.equal(sequence[..., 5:], state[:, :, :1].expand(-1, -1, 6, -1))
