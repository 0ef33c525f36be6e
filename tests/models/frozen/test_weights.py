"""Weights of frozen encoders: the authors' files, folders of transformers, and the hub."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from jepawm.errors import UserError
from jepawm.golden.case import load_case
from jepawm.golden.encoders import check_encoder
from jepawm.models.frozen.backbones import BackboneShape
from jepawm.models.frozen.encoder import FrozenEncoderConfig, build_frozen_encoder
from jepawm.models.frozen.weights import (
    RESAMPLING,
    convert_encoder,
    file_name,
    hub_name,
    load_frozen_encoder,
)
from jepawm.models.positions import resample_table

transformers = pytest.importorskip("transformers")

GOLDEN = {"dinov2": "dinov2_plain", "dinov2_reg": "dinov2_registers", "vjepa2": "vjepa2"}
TINY = BackboneShape(width=24, depth=1, num_heads=2, patch_size=14)


@pytest.mark.parametrize("family", GOLDEN)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_authors_files_give_the_authors_features(family, suffix, golden_dir, tmp_path):
    case = load_case(golden_dir / f"encoder_{GOLDEN[family]}.npz")
    video = family == "vjepa2"
    path = tmp_path / f"weights{suffix}"
    weights = case.state("encoder")
    if video:  # as in the file: prefixes of the training, and a table that rotary models ignore
        weights["pos_embed"] = torch.zeros(1, 8, 48)
        weights = {f"module.backbone.{name}": value for name, value in weights.items()}
    if suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({"encoder": weights, "epoch": 1} if video else weights, path)
    shape = BackboneShape(
        width=48,
        depth=2,
        num_heads=2 if video else 3,
        patch_size=16 if video else 14,
        num_registers=case.optional("num_register_tokens", int) or 0,
    )
    config = FrozenEncoderConfig(family=family, size="L", image_size=256 if video else 224)
    encoder = load_frozen_encoder(replace(config, weights=str(path)), shape=shape)
    prefix, output = ("duplicated", "features") if video else ("S224", "x_norm_patchtokens")
    tokens = encoder.encode_images(case.tensor(f"{prefix}/image"))
    expected = case.tensor(f"{prefix}/{output}")
    torch.testing.assert_close(tokens, expected, atol=case.atol, rtol=case.rtol)


@pytest.mark.parametrize(
    "change", [{"interpolate_antialias": True}, {"interpolate_offset": 0.0}, {"num_heads": 4}]
)
def test_the_golden_check_sees_typical_mistakes(change, golden_dir):
    case = load_case(golden_dir / "encoder_dinov2_plain.npz")
    wrong = check_encoder(replace(case, hyper=case.hyper | change))
    assert not all(one.passed for one in wrong)


def test_joint_projections_are_split_in_order():
    """DINOv3: queries, keys, values from top to bottom; the bias of the keys does not exist."""
    weights = {
        "blocks.0.attn.qkv.weight": torch.arange(6.0)[:, None].expand(6, 2),
        "blocks.0.attn.qkv.bias": torch.arange(6.0),
        "blocks.0.attn.qkv.bias_mask": torch.ones(6),
        "rope_embed.periods": torch.ones(2),
        "mask_token": torch.zeros(1, 2),
    }
    converted = convert_encoder("dinov3", weights, side=2, resampling=None)
    prefix = "model.layer.0.attention."
    rows = {name.removeprefix(prefix): value for name, value in converted.items()}
    assert {name: value.flatten()[0].item() for name, value in rows.items()} == {
        "q_proj.weight": 0.0,
        "k_proj.weight": 2.0,
        "v_proj.weight": 4.0,
        "q_proj.bias": 0.0,
        "v_proj.bias": 4.0,
        "embeddings.mask_token": 0.0,
    }
    assert converted["embeddings.mask_token"].shape == (1, 1, 2)


def test_the_first_half_of_swiglu_is_its_gate():
    """DINOv2 g: `w3(silu(first half of w12 x) * second half)`."""
    shape = replace(TINY, gated=True)
    encoder = build_frozen_encoder(FrozenEncoderConfig(size="g", image_size=28), shape)
    generator = torch.Generator().manual_seed(0)
    w12, w3 = (torch.randn(*size, generator=generator) for size in ((128, 24), (24, 64)))
    weights = {"blocks.0.mlp.w12.weight": w12, "blocks.0.mlp.w3.weight": w3}
    converted = convert_encoder("dinov2", weights, side=2, resampling=None)
    mlp = encoder.backbone.get_submodule("encoder.layer.0.mlp")
    mlp.load_state_dict(
        {name.removeprefix("encoder.layer.0.mlp."): value for name, value in converted.items()},
        strict=False,
    )
    x = torch.randn(3, 24, generator=generator)
    gate, value = (x @ w12.T).chunk(2, dim=-1)
    torch.testing.assert_close(mlp(x), (F.silu(gate) * value) @ w3.T, atol=1e-4, rtol=1e-4)


def random_dinov3() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "cls_token": (1, 1, 24),
        "storage_tokens": (1, 4, 24),
        "mask_token": (1, 24),
        "patch_embed.proj.weight": (24, 3, 16, 16),
        "patch_embed.proj.bias": (24,),
        "blocks.0.norm1.weight": (24,),
        "blocks.0.norm1.bias": (24,),
        "blocks.0.attn.qkv.weight": (72, 24),
        "blocks.0.attn.qkv.bias": (72,),
        "blocks.0.attn.proj.weight": (24, 24),
        "blocks.0.attn.proj.bias": (24,),
        "blocks.0.ls1.gamma": (24,),
        "blocks.0.norm2.weight": (24,),
        "blocks.0.norm2.bias": (24,),
        "blocks.0.mlp.fc1.weight": (96, 24),
        "blocks.0.mlp.fc1.bias": (96,),
        "blocks.0.mlp.fc2.weight": (24, 96),
        "blocks.0.mlp.fc2.bias": (24,),
        "blocks.0.ls2.gamma": (24,),
        "norm.weight": (24,),
        "norm.bias": (24,),
    }
    return {name: torch.randn(*size, generator=generator) for name, size in shapes.items()}


def test_a_dinov3_file_loads_whole(tmp_path: Path):
    path = tmp_path / "dinov3.pth"
    torch.save(random_dinov3(), path)
    shape = replace(TINY, patch_size=16, num_registers=4, norm_eps=1e-5)
    config = FrozenEncoderConfig(family="dinov3", image_size=32)
    encoder = load_frozen_encoder(replace(config, weights=str(path)), shape=shape)
    up = encoder.backbone.state_dict()["model.layer.0.mlp.up_proj.weight"]
    assert torch.equal(up, random_dinov3()["blocks.0.mlp.fc1.weight"])


def folder_of_transformers(path: Path, *, image_size: int) -> dict[str, torch.Tensor]:
    config = FrozenEncoderConfig(image_size=image_size)
    backbone = build_frozen_encoder(config, TINY).backbone
    backbone.save_pretrained(path)
    return dict(backbone.state_dict())


def test_a_folder_of_transformers_is_resampled_as_the_authors_do(tmp_path: Path):
    saved = folder_of_transformers(tmp_path, image_size=70)
    encoder = load_frozen_encoder(
        FrozenEncoderConfig(image_size=42, weights=str(tmp_path)), shape=TINY
    )
    name = "embeddings.position_embeddings"
    loaded = dict(encoder.backbone.state_dict())
    table = resample_table(saved[name][0, 1:], 3, antialias=False, offset=0.1)
    torch.testing.assert_close(loaded[name][0, 1:], table)
    assert torch.equal(loaded[name][0, 0], saved[name][0, 0])
    others = loaded.keys() - {name}
    assert all(torch.equal(loaded[other], saved[other]) for other in others)
    assert RESAMPLING["dinov2"].offset == 0.1


def test_a_folder_of_the_whole_v_jepa_2_gives_its_encoder(tmp_path: Path):
    shape = replace(TINY, patch_size=16)
    config = FrozenEncoderConfig(family="vjepa2", size="L", image_size=32)
    whole = transformers.VJEPA2Model(
        transformers.VJEPA2Config(
            hidden_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            crop_size=32,
            pred_hidden_size=24,
            pred_num_attention_heads=2,
            pred_num_hidden_layers=1,
        )
    )
    whole.save_pretrained(tmp_path)
    encoder = load_frozen_encoder(replace(config, weights=str(tmp_path)), shape=shape)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    clips = images[:, None].repeat(1, 2, 1, 1, 1)
    expected = whole.eval()(clips, skip_predictor=True).last_hidden_state
    torch.testing.assert_close(encoder.encode_images(images), expected)


def test_a_folder_that_lacks_weights_is_refused(tmp_path: Path):
    folder_of_transformers(tmp_path, image_size=28)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("layernorm.bias")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lacks weights of dinov2 S: layernorm\.bias"):
        load_frozen_encoder(FrozenEncoderConfig(image_size=28, weights=str(tmp_path)), shape=TINY)


def test_weights_of_another_model_are_refused(tmp_path: Path):
    path = tmp_path / "dinov3.pth"
    torch.save(random_dinov3(), path)
    with pytest.raises(UserError, match=r"dinov3\.pth does not fit .*missing embeddings"):
        load_frozen_encoder(FrozenEncoderConfig(image_size=28, weights=str(path)), shape=TINY)
    folder_of_transformers(tmp_path / "narrow", image_size=28)
    wide = replace(TINY, width=48)
    with pytest.raises(UserError, match=r"\(1, 1, 24\) instead of \(1, 1, 48\)"):
        load_frozen_encoder(
            FrozenEncoderConfig(image_size=28, weights=str(tmp_path / "narrow")), shape=wide
        )


def test_without_file_and_network_the_file_is_named(monkeypatch, tmp_path: Path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    message = r"model\.safetensors of facebook/dinov2-small .*dinov2_vits14_pretrain\.pth"
    with pytest.raises(UserError, match=message):
        load_frozen_encoder(FrozenEncoderConfig(image_size=28), shape=TINY)
    with pytest.raises(UserError, match=r"nowhere\.pth is missing"):
        load_frozen_encoder(
            FrozenEncoderConfig(image_size=28, weights=str(tmp_path / "nowhere.pth")), shape=TINY
        )


def random_vjepa(*, num_steps: int, side: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "pos_embed": (1, num_steps * side**2, 24),
        "patch_embed.proj.weight": (24, 3, 2, 16, 16),
        "patch_embed.proj.bias": (24,),
        "blocks.0.norm1.weight": (24,),
        "blocks.0.norm1.bias": (24,),
        "blocks.0.attn.qkv.weight": (72, 24),
        "blocks.0.attn.qkv.bias": (72,),
        "blocks.0.attn.proj.weight": (24, 24),
        "blocks.0.attn.proj.bias": (24,),
        "blocks.0.norm2.weight": (24,),
        "blocks.0.norm2.bias": (24,),
        "blocks.0.mlp.fc1.weight": (96, 24),
        "blocks.0.mlp.fc1.bias": (96,),
        "blocks.0.mlp.fc2.weight": (24, 96),
        "blocks.0.mlp.fc2.bias": (24,),
        "norm.weight": (24,),
        "norm.bias": (24,),
    }
    return {name: 0.5 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_v_jepa_1_is_torchs_own_transformer_over_doubled_frames(tmp_path: Path):
    weights = random_vjepa(num_steps=8, side=2)
    path = tmp_path / "vitl16.pth.tar"
    saved = {f"module.backbone.{name}": value for name, value in weights.items()}
    torch.save({"encoder": saved, "target_encoder": {}, "epoch": 300}, path)
    config = FrozenEncoderConfig(family="vjepa", size="L", image_size=48, weights=str(path))
    encoder = load_frozen_encoder(config, shape=replace(TINY, patch_size=16))
    layer = torch.nn.TransformerEncoderLayer(
        24, 2, 96, 0.0, "gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
    )
    block = {n.removeprefix("blocks.0."): v for n, v in weights.items() if "blocks.0" in n}
    names = {
        "attn.qkv.": "self_attn.in_proj_",
        "attn.proj.": "self_attn.out_proj.",
        "mlp.fc1.": "linear1.",
        "mlp.fc2.": "linear2.",
    }
    for ours, theirs in names.items():
        block = {n.replace(ours, theirs): v for n, v in block.items()}
    layer.load_state_dict(block)
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    clips = images[:, :, None].repeat(1, 1, 2, 1, 1)  # [B, 3, 2, S, S]
    patch = weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"]
    tokens = F.conv3d(clips, *patch, stride=(2, 16, 16)).flatten(2).transpose(1, 2)
    table = weights["pos_embed"].view(1, 8, 2, 2, 24).permute(0, 4, 1, 2, 3)
    table = F.interpolate(table, scale_factor=(1 / 8, 1.5, 1.5), mode="trilinear")
    with torch.no_grad():
        expected = layer.eval()(tokens + table.flatten(2).transpose(1, 2))
    norm = weights["norm.weight"], weights["norm.bias"]
    expected = F.layer_norm(expected, (24,), *norm, eps=1e-6)
    torch.testing.assert_close(encoder.encode_images(images), expected, atol=1e-4, rtol=1e-4)


def test_v_jepa_1_is_not_on_the_hub():
    with pytest.raises(UserError, match=r"vjepa L is not on .*fetch vitl16\.pth\.tar"):
        load_frozen_encoder(FrozenEncoderConfig(family="vjepa", size="L", image_size=256))


@pytest.mark.parametrize(
    ("family", "size", "hub", "file"),
    [
        ("dinov2", "g", "dinov2-giant", "dinov2_vitg14_pretrain.pth"),
        ("dinov2_reg", "L", "dinov2-with-registers-large", "dinov2_vitl14_reg4_pretrain.pth"),
        ("dinov3", "S", "dinov3-vits16-pretrain-lvd1689m", "dinov3_vits16_pretrain_lvd1689m.pth"),
        ("vjepa2", "H", "vjepa2-vith-fpc64-256", "vith.pt"),
    ],
)
def test_names_of_what_is_published(family, size, hub, file):
    config = FrozenEncoderConfig(family=family, size=size)
    assert (hub_name(config), file_name(config)) == (f"facebook/{hub}", file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}, "model_type": "x"},
            "no weights of",
        ),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantization_config"),
        ({"hidden_size": 10**6}, "hidden_size 1000000 instead of 24"),
        ({"num_hidden_layers": 100}, "num_hidden_layers 100 instead of 1"),
        ({"model_type": "vit"}, "model_type 'vit' instead of 'dinov2'"),
    ],
)
def test_a_folder_that_describes_something_else_is_refused(tmp_path: Path, change, message: str):
    folder_of_transformers(tmp_path, image_size=28)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(UserError, match=message):
        load_frozen_encoder(FrozenEncoderConfig(image_size=28, weights=str(tmp_path)), shape=TINY)
    assert not (tmp_path / "ran").exists()


def test_kernels_that_a_folder_names_are_not_fetched(tmp_path: Path):
    folder_of_transformers(tmp_path, image_size=28)
    path = tmp_path / "config.json"
    named = {"attn_implementation": "someone/kernels", "_attn_implementation": "someone/kernels"}
    path.write_text(json.dumps(json.loads(path.read_text()) | named))
    load_frozen_encoder(FrozenEncoderConfig(image_size=28, weights=str(tmp_path)), shape=TINY)


@pytest.mark.parametrize(
    "name", ["pos_embed", "blocks.0.attn.qkv.weight", "patch_embed.proj.weight", "cls_token"]
)
@pytest.mark.parametrize(
    "odd", [torch.tensor(1.0), torch.ones(7), torch.zeros(0), torch.ones(1, 7)]
)
def test_tensors_of_odd_shapes_are_refused(tmp_path: Path, name: str, odd: torch.Tensor):
    shape = (1, 17, 24)
    weights = {
        "pos_embed": torch.zeros(shape),
        "cls_token": torch.zeros(1, 1, 24),
        "patch_embed.proj.weight": torch.zeros(24, 3, 14, 14),
        "blocks.0.attn.qkv.weight": torch.zeros(72, 24),
    }
    torch.save(weights | {name: odd}, tmp_path / "w.pth")
    config = FrozenEncoderConfig(image_size=28, weights=str(tmp_path / "w.pth"))
    with pytest.raises(UserError, match=r"w\.pth (is damaged or no weights|does not fit)"):
        load_frozen_encoder(config, shape=TINY)
