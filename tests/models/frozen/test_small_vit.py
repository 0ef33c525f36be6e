"""The small transformer with fixed weights: random ones, and those of a pretraining."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jepawm.checkpoint import Checkpoint, save_checkpoint
from jepawm.contracts import Encoder
from jepawm.errors import UserError
from jepawm.models import ENCODERS
from jepawm.models.encoders import EncoderConfig, build_encoder, build_vit
from jepawm.models.frozen.encoder import SmallViTConfig
from jepawm.models.frozen.preprocessing import prepare_images
from jepawm.models.frozen.small_vit import start_encoder_from
from jepawm.models.frozen.weights import load_frozen_encoder
from jepawm.records import EncoderRecord, Provenance, TrainedOn
from jepawm.testing import check_encoder

CONFIG = SmallViTConfig(image_size=32, patch_size=8, grid=2, weights="random:4")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder as `jepawm pretrain` writes it, with weights of another seed."""
    with torch.random.fork_rng():
        torch.manual_seed(9)
        vit = build_vit("S", patch_size=8, side=4)
    record = EncoderRecord(
        method="vjepa",
        size="S",
        patch_size=8,
        image_size=32,
        config={},
        step=7,
        data=TrainedOn(sha256="0" * 64, image_size=32),
        provenance=Provenance(versions={}, commit=None, num_threads=1),
    )
    save_checkpoint(tmp_path / "checkpoint", Checkpoint(record=record, tensors=vit.state_dict()))
    return tmp_path


def pixels_of(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (*shape, 3, 32, 32), generator=generator, dtype=torch.uint8)


def test_a_token_holds_the_patches_of_its_cell_side_by_side():
    encoder, pixels = load_frozen_encoder(CONFIG), pixels_of(2, 3)
    assert isinstance(encoder, Encoder)
    tokens = encoder(pixels)
    assert tokens.shape == (2, 3, 4, 4 * 128)
    assert (encoder.num_tokens, encoder.dim, encoder.grid) == (4, 512, (2, 2))
    images = prepare_images(pixels[0, :1], 32, normalization="half")
    with torch.no_grad():
        patches = encoder.backbone.vit(images)[0].permute(1, 2, 0)  # [4, 4, 128]
    upper_right = patches[:2, 2:].reshape(-1)
    torch.testing.assert_close(tokens[0, 0, 1], upper_right, rtol=1e-4, atol=1e-5)
    assert not any(weight.requires_grad for weight in encoder.parameters())


def test_random_weights_depend_on_their_seed_alone():
    torch.manual_seed(1)
    first = load_frozen_encoder(CONFIG)
    torch.manual_seed(2)
    assert load_frozen_encoder(CONFIG).identity == first.identity
    assert load_frozen_encoder(replace(CONFIG, weights="random:5")).identity != first.identity
    coarse = load_frozen_encoder(replace(CONFIG, grid=1)).identity
    assert coarse.sha256 == first.identity.sha256
    assert coarse != first.identity  # other tokens of the same weights


def test_names_of_the_family():
    random = ENCODERS.get("random")()
    assert random == SmallViTConfig(weights="random:0")
    check_encoder(replace(random, image_size=16, grid=2))
    assert ENCODERS.get("small_vit") is SmallViTConfig


def test_pretrained_weights_are_loaded_from_the_folder_or_its_checkpoint(folder: Path):
    for place in (folder, folder / "checkpoint"):
        encoder = load_frozen_encoder(replace(CONFIG, weights=str(place)))
        with torch.random.fork_rng():
            torch.manual_seed(9)
            vit = build_vit("S", patch_size=8, side=4)
        assert torch.equal(encoder.backbone.vit.patches.weight, vit.patches.weight)
        assert encoder.identity.weights == str(place)


def test_a_learned_encoder_starts_from_pretrained_weights(folder: Path):
    config = EncoderConfig(family="vit", image_size=32, patch_size=8, grid=2, init=str(folder))
    torch.manual_seed(0)
    encoder = build_encoder(config)
    head = encoder.head.weight.clone()
    start_encoder_from(encoder, str(folder))
    frozen = load_frozen_encoder(replace(CONFIG, weights=str(folder)))
    assert torch.equal(encoder.backbone.norm.weight, frozen.backbone.vit.norm.weight)
    assert torch.equal(encoder.backbone.patches.weight, frozen.backbone.vit.patches.weight)
    assert torch.equal(encoder.head.weight, head)
    assert all(weight.requires_grad for weight in encoder.parameters())


def test_other_weights_are_refused(folder: Path, tmp_path: Path):
    def load(**changes) -> None:
        load_frozen_encoder(replace(CONFIG, **changes))

    with pytest.raises(UserError, match=r"encoder\.weights names no weights; give the folder"):
        load(weights="")
    with pytest.raises(UserError, match="there is no pretrained encoder in gone"):
        load(weights="gone")
    with pytest.raises(
        UserError, match=r"encoder\.size 'S' there, 'B' here; encoder\.patch_size 8"
    ):
        load(weights=str(folder), size="B", patch_size=4)
    with pytest.raises(UserError, match="gives no grid of 3 x 3 tokens"):
        load(grid=3)
    with pytest.raises(UserError, match=r"encoder\.init = 'x' holds a vision transformer"):
        EncoderConfig(init="x")
    with pytest.raises(UserError, match=r"encoder\.init: there is no pretrained encoder in gone"):
        start_encoder_from(build_encoder(EncoderConfig(family="vit")), "gone")
