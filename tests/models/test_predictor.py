"""The predictor: causal in every variant, and every field of its configuration counts."""

import itertools
import subprocess
import sys

import pytest
import torch

from jepawm.errors import UserError
from jepawm.models.predictor import Predictor, PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.types import Latent

CONDITIONINGS = ("feature", "sequence", "adaln", "adaln_zero")
POSITIONS = ("sincos", "rope", "rope_vjepa", "learned")
MODES = ("none", "feature", "token")
WINDOW, GRID, DIM, ACTION = 3, (2, 2), 12, 4


def predictor_of(mode: str = "none", *, grid=GRID, **fields) -> Predictor:
    settings = {
        "window": WINDOW,
        "depth": 2,
        "num_heads": 2,
        "head_dim": 12,
        "visual_dim": 12,
        "action_dim": 6,
    }
    config = PredictorConfig(**(settings | fields))
    proprio = ProprioConfig(mode=mode, dim=4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Predictor(config, proprio, latent_dim=DIM, grid=grid, action_dim=ACTION).eval()


def with_large_weights(predictor: Predictor) -> Predictor:
    """Draw large weights: with the small initial ones mistakes of masks do not show."""
    generator = torch.Generator().manual_seed(1)
    for parameter in predictor.parameters():
        parameter.data = 0.4 * torch.randn(parameter.shape, generator=generator)
    return predictor


def inputs_for(predictor: Predictor, *, frames: int = WINDOW, seed: int = 2):
    generator = torch.Generator().manual_seed(seed)
    num_tokens = predictor.grid[0] * predictor.grid[1]
    tokens = torch.randn(2, frames, num_tokens, DIM, generator=generator)
    layout, proprio = predictor.layout, None
    if layout.proprio_token:
        proprio = torch.randn(2, frames, 1, layout.width, generator=generator)
    elif layout.proprio_feature_dim:
        proprio = torch.randn(2, frames, num_tokens, 4, generator=generator)
    actions = torch.randn(2, frames, ACTION, generator=generator)
    return Latent(tokens=tokens, proprio=proprio), actions


def difference(before: Latent, after: Latent) -> torch.Tensor:
    """Return the largest change of each slot `[T]`, visual or proprio."""
    change = (before.tokens - after.tokens).abs().amax((0, 2, 3))
    if before.proprio is None or after.proprio is None:
        return change
    return torch.maximum(change, (before.proprio - after.proprio).abs().amax((0, 2, 3)))


def bumped(tensor: torch.Tensor, time: int) -> torch.Tensor:
    changed = tensor.clone()
    changed[:, time, ..., 0] += 1.0  # one channel: a layer norm removes a change of all
    return changed


@pytest.mark.parametrize(
    ("conditioning", "positions", "mode"), list(itertools.product(CONDITIONINGS, POSITIONS, MODES))
)
def test_slot_t_sees_latents_and_actions_up_to_t(conditioning, positions, mode):
    predictor = with_large_weights(
        predictor_of(mode, conditioning=conditioning, positions=positions)
    )
    latents, actions = inputs_for(predictor)
    before = predictor(latents, actions)
    for time in range(WINDOW):
        changes = [
            predictor(Latent(tokens=bumped(latents.tokens, time), proprio=latents.proprio), actions)
        ]
        changes.append(predictor(latents, bumped(actions, time)))
        if latents.proprio is not None:
            moved = Latent(tokens=latents.tokens, proprio=bumped(latents.proprio, time))
            changes.append(predictor(moved, actions))
        for after in changes:
            change = difference(before, after)
            assert torch.all(change[:time] == 0)
            assert torch.all(change[time:] > 1e-5)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("mode", MODES)
def test_shorter_windows_give_the_same_first_slots(conditioning, mode):
    predictor = with_large_weights(predictor_of(mode, conditioning=conditioning))
    latents, actions = inputs_for(predictor)
    full = predictor(latents, actions)
    for frames in (1, 2):
        part = predictor(latents[:, :frames], actions[:, :frames])
        torch.testing.assert_close(part.tokens, full.tokens[:, :frames], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("projected", [True, False])
def test_adaln_zero_starts_as_identity_blocks(projected):
    predictor = predictor_of(conditioning="adaln_zero", projected=projected)
    latents, actions = inputs_for(predictor)
    x = latents.tokens if predictor.embed is None else predictor.embed(latents.tokens)
    expected = predictor.norm(x)
    expected = expected if predictor.proj is None else predictor.proj(expected)
    torch.testing.assert_close(predictor(latents, actions).tokens, expected)


def test_residual_predicts_the_change():
    plain = with_large_weights(predictor_of("token", conditioning="adaln"))
    residual = with_large_weights(predictor_of("token", conditioning="adaln", residual=True))
    latents, actions = inputs_for(plain)
    change, moved = plain(latents, actions), residual(latents, actions)
    torch.testing.assert_close(moved.tokens, latents.tokens + change.tokens)
    torch.testing.assert_close(moved.proprio, latents.proprio + change.proprio)


def test_normalized_output_has_mean_zero_and_variance_one():
    predictor = with_large_weights(predictor_of(normalize_output=True))
    tokens = predictor(*inputs_for(predictor)).tokens
    torch.testing.assert_close(tokens.mean(-1), torch.zeros(2, 3, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(tokens.var(-1, correction=0), torch.ones(2, 3, 4), atol=1e-3, rtol=0)


def test_single_token_latents_go_through_the_same_code():
    predictor = with_large_weights(predictor_of(grid=(1, 1), window=1))
    latents, actions = inputs_for(predictor, frames=1)
    two, same = predictor_of(grid=(1, 1), window=2), predictor.state_dict()
    two.load_state_dict(same)
    latents2, actions2 = inputs_for(predictor, frames=2)
    latents2.tokens[:, :1], actions2[:, :1] = latents.tokens, actions
    torch.testing.assert_close(
        predictor(latents, actions).tokens, two(latents2, actions2).tokens[:, :1]
    )


CHANGES = [
    {"conditioning": "sequence"},
    {"conditioning": "adaln_zero"},
    {"positions": "sincos"},
    {"positions": "rope_vjepa"},
    {"positions": "learned"},
    {"depth": 3},
    {"num_heads": 3},
    {"head_dim": 6},
    {"hidden_dim": 20},
    {"visual_dim": 16},
    {"projected": False},
    {"normalize_output": True},
    {"residual": True},
    {"qkv_bias": False},
    {"norm_eps": 0.5},
    {"init_scale": 1.0},
    {"output_scale": 0.5},
    {"action_limit": 0.2},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_every_field_changes_the_prediction(change):
    """Weights drawn by the same seed as they come, apart from small ones made visible."""

    def run(**fields) -> torch.Tensor:
        predictor = predictor_of(**fields)
        for name, parameter in predictor.named_parameters():
            if parameter.ndim == 1 and "norm" not in name:
                parameter.data.fill_(0.1)
        return predictor(*inputs_for(predictor)).tokens

    base = {"conditioning": "adaln", "positions": "rope"}
    assert (run(**base) - run(**(base | change))).abs().max() > 1e-6


def test_window_sizes_the_learned_table_and_action_dim_the_code():
    long = predictor_of(positions="learned", window=5)
    assert long.position_table is not None
    assert long.position_table.shape == (1, 20, 12)
    wide = predictor_of(conditioning="feature", action_dim=8)
    assert (wide.action_encoder.out_features, wide.layout.width) == (8, 20)


@pytest.mark.parametrize("mode", MODES)
def test_a_residual_predictor_with_output_scale_0_starts_as_a_copy(mode):
    predictor = predictor_of(mode, residual=True, output_scale=0.0, conditioning="adaln")
    latents, actions = inputs_for(predictor)
    predicted = predictor(latents, actions)
    assert torch.equal(predicted.tokens, latents.tokens)
    assert (predicted.proprio is None) == (mode == "none")
    if predicted.proprio is not None:
        assert torch.equal(predicted.proprio, latents.proprio)
    predicted.tokens.square().sum().backward()  # and it can learn to be more than that
    assert predictor.norm.weight.grad.abs().max() > 0


def test_dropout_acts_in_training():
    predictor = predictor_of(dropout=0.5)
    inputs = inputs_for(predictor)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        predictor.train()
        assert not torch.equal(predictor(*inputs).tokens, predictor(*inputs).tokens)
    predictor.eval()
    assert torch.equal(predictor(*inputs).tokens, predictor(*inputs).tokens)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window": 0}, r"predictor\.window = 0"),
        ({"depth": 0}, r"predictor\.depth = 0"),
        ({"num_heads": 5, "head_dim": None}, r"12 is not divisible by predictor\.num_heads = 5"),
        ({"action_limit": 0.0}, r"predictor\.action_limit = 0\.0"),
        ({"projected": False, "visual_dim": 8}, r"predictor\.visual_dim = 8"),
    ],
)
def test_what_does_not_fit_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        predictor_of(**fields)


BUILD_VJEPA2_AC = """
import re, torch
from pathlib import Path
from jepawm.models.predictor import Predictor, PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.types import Latent
config = PredictorConfig(conditioning="sequence", positions="rope_vjepa", window=8, depth=24,
                         visual_dim=1024, normalize_output=True)
predictor = Predictor(config, ProprioConfig(), latent_dim=1408, grid=(16, 16), action_dim=7)
with torch.no_grad():
    predictor(Latent(tokens=torch.randn(1, 1, 256, 1408)), torch.randn(1, 1, 7))
print(sum(p.numel() for p in predictor.parameters()))
print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc; rusage counts the parent, too")
def test_building_vjepa2_ac_for_eight_frames_stays_under_3_gb():
    """The reference stores a mask of 131,584 x 131,584 for it, about 86 GB at its peak."""
    command = [sys.executable, "-c", BUILD_VJEPA2_AC]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    parameters, kibibytes = map(int, done.stdout.split())
    assert parameters == 305_205_632
    assert kibibytes * 1024 < 3e9


def test_a_code_of_actions_has_a_width_where_there_is_one():
    assert PredictorConfig(action_dim=0).action_dim == 0  # as the released models have it
    with pytest.raises(UserError, match=r"predictor\.action_dim = 0"):
        PredictorConfig(conditioning="feature", action_dim=0)
