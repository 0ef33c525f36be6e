"""Golden predictors of other options and sizes: parts and widths are read from the weights."""

import pytest
import torch
from torch import Tensor

from jepawm.golden.case import GoldenCase
from jepawm.golden.predictors import build_model, check_predictor

GRID, DIM, ACTION, PROPRIO, WIDTH, HEAD_DIM = 4, 12, 6, 3, 50, 25

Weights = dict[str, Tensor]


def random(*shape: int) -> Tensor:
    return 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def affine(name: str, out: int, width: int) -> Weights:
    return {f"{name}.weight": random(out, width), f"{name}.bias": random(out)}


def convolution(out: int, width: int) -> Weights:
    return {"patch_embed.weight": random(out, width, 1), "patch_embed.bias": random(out)}


def predictor(inner: int, *, adaln: bool, **inside: Weights) -> Weights:
    weights = affine("predictor_embed", inner, DIM) | affine("predictor_proj", DIM, inner)
    weights |= affine("predictor_norm", WIDTH, 1)
    for index in range(2):
        block = f"predictor_blocks.{index}"
        weights |= affine(f"{block}.norm1", WIDTH, 1) | affine(f"{block}.norm2", WIDTH, 1)
        weights |= affine(f"{block}.attn.qkv", 3 * WIDTH, WIDTH)
        weights |= affine(f"{block}.attn.proj", WIDTH, WIDTH)
        weights |= affine(f"{block}.mlp.fc1", 2 * WIDTH, WIDTH)  # not four times, as everywhere
        weights |= affine(f"{block}.mlp.fc2", WIDTH, 2 * WIDTH)
        if adaln:
            weights |= affine(f"{block}.adaLN_modulation.1", 6 * WIDTH, WIDTH)
    weights = {k: v.flatten() if "norm" in k else v for k, v in weights.items()}
    for tensors in inside.values():
        weights |= tensors
    return weights


ACTION_INSIDE = affine("action_encoder", WIDTH, ACTION)
GROUPS: dict[str, tuple[str, int, dict[str, Weights]]] = {
    "adaln, proprio token outside": (
        "AdaLN",
        50,
        {
            "predictor": predictor(50, adaln=True, action=ACTION_INSIDE),
            "proprio_encoder": convolution(50, PROPRIO),
        },
    ),
    "adaln, proprio token inside": (
        "AdaLN",
        50,
        {
            "predictor": predictor(
                50,
                adaln=True,
                action=ACTION_INSIDE,
                proprio=affine("proprio_encoder", 50, PROPRIO),
            ),
        },
    ),
    "adaln, action outside": (
        "AdaLN",
        46,
        {
            "predictor": predictor(46, adaln=True),
            "action_encoder": convolution(50, ACTION),
            "proprio_encoder": convolution(4, PROPRIO),
        },
    ),
    "ac, features": (
        "vjepa2_ac",
        40,
        {
            "predictor": predictor(40, adaln=False),
            "action_encoder": convolution(6, ACTION),
            "proprio_encoder": convolution(4, PROPRIO),
        },
    ),
    "ac, action features": (
        "vjepa2_ac",
        40,
        {
            "predictor": predictor(40, adaln=False),
            "action_encoder": convolution(10, ACTION),
        },
    ),
    "ac, state encoder and camera poses": (
        "vjepa2_ac",
        50,
        {
            "predictor": predictor(
                50,
                adaln=False,
                action=ACTION_INSIDE,
                proprio=affine("state_encoder", 50, PROPRIO),
                camera=affine("extrinsics_encoder", 50, ACTION - 1),
            ),
        },
    ),
}
# Condition tokens per frame, channels of the proprio code, channels of the action code.
LAYOUTS = {
    "adaln, proprio token outside": (1, 0, 0),
    "adaln, proprio token inside": (1, 0, 0),
    "adaln, action outside": (0, 4, 0),
    "ac, features": (0, 4, 6),
    "ac, action features": (0, 0, 10),
    "ac, state encoder and camera poses": (2, 0, 0),
}


def make_case(name: str) -> GoldenCase:
    family, inner, groups = GROUPS[name]
    hyper = {
        "family": family,
        "embed_dim": DIM,
        "pred_embed_dim": inner,
        "grid": GRID,
        "depth": 2,
        "num_heads": 2,
        "head_dim": HEAD_DIM,
        "action_dim": ACTION,
        "num_frames_pred": 512,  # as in the files of V-JEPA-2-AC; no mask of this length is made
    }
    arrays = {
        f"state/{group}/{tensor}": value.numpy()
        for group, tensors in groups.items()
        for tensor, value in tensors.items()
    }
    arrays["T3/z_in"] = random(2, 3, GRID, GRID, DIM).numpy()
    arrays["T3/action_in"] = random(2, 3, ACTION).numpy()
    arrays["T3/proprio_in"] = random(2, 3, PROPRIO).numpy()
    arrays["T3/pred_visual"] = random(2, 3, GRID, GRID, DIM).numpy()
    return GoldenCase(name=name, hyper=dict(hyper), meta={}, arrays=arrays, tolerance={"atol": 1e9})


@pytest.mark.parametrize("name", GROUPS)
def test_options_are_recognised_by_the_weights(name: str):
    case = make_case(name)
    layout = build_model(case).predictor.layout
    found = (layout.num_condition, layout.proprio_feature_dim, layout.action_feature_dim)
    assert found == LAYOUTS[name]
    (comparison,) = check_predictor(case)
    assert comparison.max_error < 100.0
