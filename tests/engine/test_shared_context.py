"""Shared contexts and cached windows give what plain rollouts give."""

import itertools
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch

from jepawm.compute import count_gflop
from jepawm.engine.frame_cache import repeat
from jepawm.engine.shared_context import CandidateRollout, share_context
from jepawm.models.predictor import Predictor, PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.models.world_model import JEPAWorldModel
from jepawm.types import Context, Latent

CONDITIONINGS = ("feature", "sequence", "adaln", "adaln_zero")
POSITIONS = ("sincos", "rope", "rope_vjepa", "learned")
DIM, ACTION, HORIZON = 12, 4, 5


@pytest.fixture(params=["float32", pytest.param("bfloat16x3", marks=pytest.mark.amx)])
def share(request) -> Callable[..., CandidateRollout]:
    """Return what shares contexts, with both kinds of products; gradients stay in float32."""

    def share(model, context, *, window=None):
        window = window or model.window
        return share_context(model.predictor, context, window=window, precision=request.param)

    return share


class NoEncoder(torch.nn.Module):
    num_tokens, dim, grid = 4, DIM, (2, 2)


def model_of(
    mode: Literal["none", "feature", "token"] = "none", *, window: int = 3, grid=(2, 2), **fields
) -> JEPAWorldModel:
    """Build a model with large weights: with small ones attention is uniform and faults hide."""
    settings: dict[str, Any] = {
        "depth": 3,
        "num_heads": 2,
        "head_dim": 7,
        "visual_dim": 12,
        "action_dim": 6,
    }
    config = PredictorConfig(window=window, **(settings | fields))
    predictor = Predictor(
        config, ProprioConfig(mode=mode, dim=4), latent_dim=DIM, grid=grid, action_dim=ACTION
    )
    generator = torch.Generator().manual_seed(1)
    for parameter in predictor.parameters():
        parameter.data = 0.4 * torch.randn(parameter.shape, generator=generator)
    return JEPAWorldModel(NoEncoder(), predictor).eval()


def problem(model: JEPAWorldModel, *, length: int, batch: int = 2, candidates: int = 3):
    generator = torch.Generator().manual_seed(2)
    layout, (rows, columns) = model.predictor.layout, model.predictor.grid

    def randn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    proprio = None
    if layout.proprio_token:
        proprio = randn(batch, length, 1, layout.width)
    elif layout.proprio_feature_dim:
        proprio = randn(batch, length, rows * columns, 4)
    latents = Latent(tokens=randn(batch, length, rows * columns, DIM), proprio=proprio)
    context = Context(latents=latents, actions=randn(batch, length - 1, ACTION))
    return context, randn(batch, candidates, HORIZON, ACTION)


def plain(model: JEPAWorldModel, context: Context, actions: torch.Tensor, *, window=None) -> Latent:
    repeated = context.map(lambda part: repeat(part, actions.shape[1]))
    rolled = model.rollout(repeated, actions.flatten(0, 1), window=window)
    return rolled.map(lambda part: part.unflatten(0, actions.shape[:2]))


def assert_same(got: Latent, expected: Latent) -> None:
    """Compare to 1e-4 of the largest number."""
    for one, other in ((got.tokens, expected.tokens), (got.proprio, expected.proprio)):
        if other is None or one is None:
            assert one is other
            continue
        assert one.shape == other.shape
        assert (one - other).abs().max() <= 1e-4 * other.abs().max()


@torch.no_grad()
@pytest.mark.parametrize(
    ("conditioning", "positions", "window"),
    list(itertools.product(CONDITIONINGS, POSITIONS, (1, 2, 3))),
)
def test_equals_plain_rollouts(conditioning, positions, window, share):
    model = model_of("feature", conditioning=conditioning, positions=positions, window=window)
    for length in range(1, window + 1):
        context, actions = problem(model, length=length)
        assert_same(share(model, context)(actions), plain(model, context, actions))


@torch.no_grad()
@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("mode", ["none", "token"])
@pytest.mark.parametrize("grid", [(1, 1), (2, 3)])
def test_equals_plain_rollouts_for_every_layout(conditioning, mode, grid, share):
    model = model_of(mode, conditioning=conditioning, grid=grid)
    context, actions = problem(model, length=2)
    assert_same(share(model, context)(actions), plain(model, context, actions))


@torch.no_grad()
@pytest.mark.parametrize(
    "fields",
    [
        {"residual": True},
        {"projected": False},
        {"normalize_output": True},
        {"depth": 1},
        {"qkv_bias": False},
        {"window": 5},
    ],
)
def test_equals_plain_rollouts_for_other_fields(fields, share):
    model = model_of("token", **fields)
    for length in (1, 3):
        context, actions = problem(model, length=length)
        assert_same(share(model, context)(actions), plain(model, context, actions))


@torch.no_grad()
@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("window", [2, 5])
def test_single_tokens_see_themselves_and_a_few(qkv_bias, positions, window, share):
    model = model_of(window=window, grid=(1, 1), positions=positions, qkv_bias=qkv_bias)
    for length in (1, 2):
        context, actions = problem(model, length=length)
        rollout = share(model, context)
        assert None not in rollout.shortcuts  # heads are wider than tokens
        assert_same(rollout(actions), plain(model, context, actions))


@torch.no_grad()
def test_a_shorter_window_and_a_longer_context(share):
    model = model_of(window=3)
    context, actions = problem(model, length=4)
    for window in (1, 2, 3):
        got = share(model, context, window=window)(actions)
        assert_same(got, plain(model, context, actions, window=window))


@torch.no_grad()
@pytest.mark.parametrize("conditioning", ["feature", "adaln"])
@pytest.mark.parametrize("grid", [(1, 1), (2, 2)])
def test_a_window_of_one_frame_is_plain_and_costs_no_more(conditioning, grid, share):
    model = model_of(window=1, conditioning=conditioning, grid=grid, positions="rope")
    context, actions = problem(model, length=1)
    rollout = share(model, context)
    assert_same(rollout(actions), plain(model, context, actions))
    expected = count_gflop(lambda: plain(model, context, actions))
    assert count_gflop(lambda: rollout(actions)) <= expected


@torch.no_grad()
def test_horizons_of_any_length_share_one_context(share):
    model = model_of(window=3)
    context, actions = problem(model, length=2)
    rollout = share(model, context)
    expected = plain(model, context, actions)
    for horizon in (5, 1, 2, 5):
        assert_same(rollout(actions[:, :, :horizon]), expected[:, :, :horizon])


@torch.no_grad()
def test_some_problems_at_a_time(share):
    model = model_of("feature", window=2)
    context, actions = problem(model, length=2)
    rollout = share(model, context)
    expected = plain(model, context, actions)
    assert_same(rollout.part(slice(1, 2))(actions[1:]), expected[1:])


def test_gradients_are_those_of_plain_rollouts(share):
    model = model_of(window=2)
    context, actions = problem(model, length=2)
    weights = torch.randn(2, 3, HORIZON, 4, DIM, generator=torch.Generator().manual_seed(3))

    def gradient(roll) -> torch.Tensor:
        leaf = actions.clone().requires_grad_()
        return torch.autograd.grad((roll(leaf).tokens * weights).sum(), leaf)[0]

    got = gradient(share(model, context))
    expected = gradient(lambda leaf: plain(model, context, leaf))
    assert (got - expected).abs().max() <= 1e-4 * expected.abs().max()


@torch.no_grad()
def test_memory_of_a_candidate_grows_with_tokens_window_and_horizon(share):
    def needed(horizon: int = 5, **fields) -> int:
        model = model_of(**fields)
        return share(model, problem(model, length=1)[0]).bytes_per_candidate(horizon)

    assert needed(grid=(4, 4)) > 3 * needed(grid=(2, 2))
    assert needed(window=3) > needed(window=2) > needed(window=1)
    assert needed(horizon=50) > needed()
