"""Frozen encoders with random weights: sizes, what stays frozen, and what the tokens depend on."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from jepawm.contracts import Encoder
from jepawm.errors import UserError
from jepawm.models.frozen.backbones import SHAPES, BackboneShape
from jepawm.models.frozen.encoder import (
    FrozenEncoder,
    FrozenEncoderConfig,
    build_frozen_encoder,
    weights_hash,
)
from jepawm.models.frozen.preprocessing import prepare_images
from jepawm.models.predictor import Predictor, PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.models.world_model import JEPAWorldModel
from jepawm.types import Context, Observation

FAMILIES = ("dinov2", "dinov2_reg", "dinov3", "vjepa", "vjepa2")
# What follows by hand from the published widths; DINOv2 with its table of 518 / 14 patches a side.
PARAMETERS = {
    ("dinov2", "S"): 22_056_576,
    ("dinov2", "B"): 86_580_480,
    ("dinov2", "L"): 304_368_640,
    ("dinov2", "g"): 1_136_480_768,
    ("dinov2_reg", "S"): 22_056_576 + 4 * 384,
    ("vjepa", "L"): 303_885_312 + 256 * 1024,
    ("vjepa2", "L"): 303_885_312,
    ("vjepa2", "g"): 1_012_173_952,
}


def tiny(family: str, *, side: int = 3, **changes) -> FrozenEncoder:
    pytest.importorskip("transformers")
    dino = family.startswith("dino")
    shape = {
        "width": 24,
        "depth": 1,
        "num_heads": 2,
        "patch_size": 14 if family.startswith("dinov2") else 16,
        "num_registers": 4 if dino and family != "dinov2" else 0,
    }
    config = FrozenEncoderConfig(
        family=family, size="L", image_size=side * shape["patch_size"], **changes
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = build_frozen_encoder(config, BackboneShape(**shape))
        for weight in encoder.backbone.parameters():  # the usual start is nearly the identity
            weight.data += 0.3 * torch.randn_like(weight)
    return encoder


def images_of(*shape: int, size: int = 48, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (*shape, 3, size, size), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(("family", "size"), PARAMETERS)
def test_the_published_sizes(family, size):
    pytest.importorskip("transformers")
    image_size = 518 if family.startswith("dinov2") else 256
    config = FrozenEncoderConfig(family=family, size=size, image_size=image_size)
    with torch.device("meta"):
        encoder = build_frozen_encoder(config)
    count = sum(weight.numel() for weight in encoder.parameters())
    assert count == PARAMETERS[family, size]
    assert encoder.num_tokens == (37**2 if image_size == 518 else 256)


@pytest.mark.parametrize("family", FAMILIES)
def test_batch_axes_are_kept_and_images_are_independent(family):
    encoder = tiny(family)
    assert isinstance(encoder, Encoder)
    pixels = images_of(2, 2)
    before = pixels.clone()
    tokens = encoder(pixels)
    assert tokens.shape == (2, 2, 9, 24)
    assert (encoder.num_tokens, encoder.grid, encoder.dim) == (9, (3, 3), 24)
    torch.testing.assert_close(tokens[1, 0], encoder(pixels[1, 0]), atol=1e-5, rtol=1e-4)
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("family", FAMILIES)
def test_patch_tokens_are_the_last_ones_and_normed(family):
    encoder = tiny(family)
    images = prepare_images(images_of(1), encoder.config.image_size, normalization="imagenet")
    others = {"dinov2": 1, "dinov2_reg": 5, "dinov3": 5, "vjepa": 0, "vjepa2": 0}[family]
    tokens = encoder.all_tokens(images)
    assert tokens.shape == (1, others + 9, 24)
    assert torch.equal(encoder.encode_images(images), tokens[:, others:])
    norm = next(m for name, m in encoder.backbone.named_modules() if name.endswith("norm"))
    assert isinstance(norm, nn.LayerNorm)
    norm.weight.data.zero_()
    norm.bias.data.fill_(0.25)
    assert torch.equal(encoder.encode_images(images), torch.full((1, 9, 24), 0.25))


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_lie_row_by_row(family):
    """With patches that see nothing but themselves, a change shows in its own token most."""
    encoder = tiny(family)
    patch = encoder.config.image_size // 3
    pixels = images_of(1, size=3 * patch)
    changed = pixels.clone()
    changed[..., :patch, 2 * patch :] = 0  # first row, last column: token 2
    difference = (encoder(pixels) - encoder(changed)).norm(dim=-1)[0]
    assert difference.argmax() == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_frozen_and_stays_in_evaluation_mode(family):
    encoder = tiny(family)
    model = nn.Sequential(encoder, nn.Dropout()).train()
    assert model[1].training
    assert not any(module.training for module in encoder.modules())
    assert not any(weight.requires_grad for weight in encoder.parameters())
    assert encoder(images_of(1)).grad_fn is None


def test_a_world_model_takes_one_as_its_encoder():
    """Gradients reach the predictor and not the encoder; a plan rolls out from its tokens."""
    encoder = tiny("dinov2_reg")
    settings = PredictorConfig(window=2, depth=1, num_heads=2, visual_dim=24)
    predictor = Predictor(
        settings, ProprioConfig(mode="none"), latent_dim=24, grid=encoder.grid, action_dim=2
    )
    model = JEPAWorldModel(encoder, predictor).train()
    latents = model.encode(Observation(pixels=images_of(2, 1)))
    context = Context(latents=latents, actions=torch.zeros(2, 0, 2))
    predicted = model.rollout(context, torch.ones(2, 3, 2))
    assert predicted.tokens.shape == (2, 3, 9, 24)
    predicted.tokens.square().mean().backward()
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert trained == {"predictor"}


def test_the_same_seed_gives_the_same_weights():
    pixels = images_of(1)
    assert torch.equal(tiny("dinov2")(pixels), tiny("dinov2")(pixels))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"family": "dinov2"}, {"family": "dinov2_reg"}),
        ({"family": "dinov2"}, {"family": "dinov2", "side": 4}),
        ({"family": "dinov2"}, {"family": "dinov2", "normalization": "half"}),
    ],
)
def test_every_field_changes_the_tokens(before, after):
    pixels = images_of(1)
    one, other = tiny(**before)(pixels), tiny(**after)(pixels)
    assert one.shape != other.shape or not torch.allclose(one, other)


def test_sizes_that_were_not_published_are_refused():
    with pytest.raises(UserError, match=r"no dinov3 of size 'g'; .*S, B, L"):
        FrozenEncoderConfig(family="dinov3", size="g")
    assert len(SHAPES) == 4 + 4 + 3 + 1 + 3
    with pytest.raises(UserError, match=r"image_size = 256 .* 14 of dinov2; .* 224"):
        build_frozen_encoder(FrozenEncoderConfig(image_size=256))


def test_without_transformers_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"pip install 'jepawm\[encoders\]'"):
        build_frozen_encoder(FrozenEncoderConfig())


def test_transformers_is_not_imported_before_it_is_needed():
    code = (
        "import sys, jepawm, jepawm.cli, jepawm.golden.runner, jepawm.models.frozen.weights\n"
        "sys.exit(sum(name in sys.modules for name in ('transformers', 'torchvision')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_tokens_can_be_normed_once_more():
    """V-JEPA-2-AC: a layer norm without weights over the channels."""
    pixels = images_of(2)
    tokens = tiny("vjepa2", normalize_output=True)(pixels)
    plain = tiny("vjepa2")(pixels)
    torch.testing.assert_close(tokens, nn.functional.layer_norm(plain, (24,), eps=1e-5))


def test_random_weights_name_their_seed():
    seeds = {text: FrozenEncoderConfig(weights=text).random_seed for text in ("hub", "a/random:3")}
    assert seeds == {"hub": None, "a/random:3": None}
    assert FrozenEncoderConfig(weights="random").random_seed == 0
    assert FrozenEncoderConfig(weights="random:12").random_seed == 12
    with pytest.raises(UserError, match="'random:x' has no whole number"):
        FrozenEncoderConfig(weights="random:x")


def test_the_hash_leaves_out_what_is_resampled():
    one, other = tiny("dinov2"), tiny("dinov2")
    assert one.identity == other.identity
    other.backbone.get_parameter("embeddings.position_embeddings").data.add_(1)
    assert weights_hash(one.backbone) == weights_hash(other.backbone) == one.identity.sha256
    other.backbone.get_parameter("layernorm.bias").data.add_(1)
    assert weights_hash(one.backbone) != weights_hash(other.backbone)
