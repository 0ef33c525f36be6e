"""Encoders of timm: tokens after its last norm, from random weights and from a file."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jepawm.errors import UserError
from jepawm.models.frozen.encoder import TimmEncoderConfig
from jepawm.models.frozen.preprocessing import prepare_images
from jepawm.models.frozen.weights import load_frozen_encoder

CONFIG = TimmEncoderConfig(model="vit_tiny_patch16_224", image_size=32, weights="random:1")


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"pip install 'jepawm\[timm\]'"):
        load_frozen_encoder(CONFIG)


def test_tokens_are_timms_own_without_class_token():
    timm = pytest.importorskip("timm", reason="the extra 'timm' is not installed")
    encoder = load_frozen_encoder(CONFIG)
    pixels = torch.randint(0, 256, (2, 3, 40, 48), dtype=torch.uint8)
    images = prepare_images(pixels, 32, normalization="imagenet")
    whole = timm.create_model("vit_tiny_patch16_224", num_classes=0, global_pool="", img_size=32)
    whole.load_state_dict(encoder.backbone.state_dict())
    with torch.no_grad():
        expected = whole.eval()(images)[:, 1:]
    torch.testing.assert_close(encoder(pixels), expected)
    assert (encoder.num_tokens, encoder.dim, encoder.grid) == (4, 192, (2, 2))
    assert encoder.identity.name == "timm:vit_tiny_patch16_224"
    assert encoder.identity == load_frozen_encoder(CONFIG).identity
    assert not any(weight.requires_grad for weight in encoder.parameters())


def test_without_network_the_file_is_named(monkeypatch, tmp_path: Path):
    pytest.importorskip("timm", reason="the extra 'timm' is not installed")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"cannot fetch timm/vit_tiny.*model\.safetensors"):
        load_frozen_encoder(replace(CONFIG, weights="hub"))


def test_a_file_of_timm_is_read_and_others_are_refused(tmp_path: Path):
    pytest.importorskip("timm", reason="the extra 'timm' is not installed")
    source = load_frozen_encoder(CONFIG)
    torch.save(source.backbone.state_dict(), tmp_path / "good.pth")
    good = load_frozen_encoder(replace(CONFIG, weights=str(tmp_path / "good.pth")))
    assert good.identity == source.identity
    torch.save({"a": torch.zeros(1)}, tmp_path / "bad.pth")
    for weights, message in (("bad.pth", "missing cls_token"), ("gone.pth", "is missing")):
        with pytest.raises(UserError, match=message):
            load_frozen_encoder(replace(CONFIG, weights=str(tmp_path / weights)))
    with pytest.raises(UserError, match="timm cannot build 'magic'"):
        load_frozen_encoder(replace(CONFIG, model="magic"))
    with pytest.raises(UserError, match="timm cannot build 'resnet18'"):
        load_frozen_encoder(replace(CONFIG, model="resnet18"))
