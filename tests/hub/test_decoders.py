"""Released decoders come in whole and paint as the golden ones do; other files are refused."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from jepawm.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from jepawm.cli import main
from jepawm.errors import UserError
from jepawm.hub import load, load_decoder
from jepawm.hub.decoders import import_decoder
from jepawm.hub.reference import convert_decoder, flat_names
from jepawm.hub.released import DECODERS, ReleasedDecoder
from jepawm.models.decoder import DecoderConfig, ImageDecoder
from jepawm.records import DecoderRecord
from released_files import affine, norm

# Width D of the encoder, blocks, side of the image, normalisation.
LAYOUTS = {
    "dinov2_vits_224": (384, 24, 224, "half"),
    "dinov2_vits_224_INet": (384, 24, 224, "imagenet"),
    "dinov3_vitl_256_INet": (1024, 24, 256, "imagenet"),
    "vjepa2_vitg_256_INet": (1408, 12, 256, "imagenet"),
}


def layout(name: str, *, depth: int, width: int = 1024) -> dict[str, tuple[int, ...]]:
    dim, _, side, _ = LAYOUTS[name]
    shapes: dict[str, tuple[int, ...]] = {
        "decoder_pos_embed": (1, (side // 8) ** 2, width),
        "view_tokens": (1, 1, width),
    }
    shapes |= affine("decoder_embed", width, dim) | norm("decoder_norm", width)
    shapes |= affine("decoder_proj", 192, width)
    for index in range(depth):
        block = f"decoder_blocks.{index}"
        shapes |= norm(f"{block}.norm1", width) | norm(f"{block}.norm2", width)
        shapes |= affine(f"{block}.attn.qkv", 3 * width, width)
        shapes |= affine(f"{block}.attn.proj", width, width)
        shapes |= affine(f"{block}.mlp.fc1", 4 * width, width)
        shapes |= affine(f"{block}.mlp.fc2", width, 4 * width)
    return shapes


def write(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    tensors = {k: 0.1 * torch.randn(shape, generator=generator) for k, shape in shapes.items()}
    model = {f"module.{name}": value for name, value in tensors.items()}
    torch.save({"model": model, "opt": {"state": {}}, "scaler": None, "epoch": 50}, path)
    return tensors


def shallow(name: str, *, depth: int = 1, width: int = 1024) -> ReleasedDecoder:
    released = DECODERS[name]
    return replace(released, config=replace(released.config, depth=depth, width=width))


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_released_decoder_comes_in_whole_and_paints_as_written(name: str, tmp_path: Path):
    dim, depth, side, normalization = LAYOUTS[name]
    assert DECODERS[name].config.depth == depth
    path = tmp_path / "file.pth.tar"
    tensors = write(path, layout(name, depth=1, width=64))
    save_checkpoint(tmp_path / "out", import_decoder(path, shallow(name, width=64)))
    decoder = load_decoder(tmp_path / "out")
    direct = ImageDecoder(
        DecoderConfig(depth=1, width=64, num_heads=16, norm_eps=1e-5),
        latent_dim=dim,
        grid=(16, 16),
        image_size=(side, side),
        normalization=normalization,
    )
    direct.load_state_dict(convert_decoder(flat_names({"model": tensors})))
    tokens = torch.randn(1, 2, 256, dim, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        painted, expected = decoder.pixels(tokens), direct.eval().pixels(tokens)
    assert painted.shape == (1, 2, 3, side, side)
    assert torch.equal(painted, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_released_decoder_at_full_size(name: str, tmp_path: Path):
    path, out = tmp_path / "file.pth.tar", tmp_path / "out"
    tensors = write(path, layout(name, depth=LAYOUTS[name][1]))
    assert main(["import", "jepa-wms", str(path), "--model", name, "--out", str(out)]) == 0
    kept = load_decoder(out).state_dict()
    assert len(kept) == len(tensors) - 1
    assert torch.equal(kept["proj.weight"], tensors["decoder_proj.weight"])


def test_what_is_not_this_decoder_is_refused(tmp_path: Path):
    path = tmp_path / "file.pth.tar"
    shapes = layout("dinov2_vits_224", depth=1, width=64)
    write(path, shapes | {"magic": (1,), "decoder_norm.bias": (3,)})
    message = (
        r"missing|unexpected model\.magic; model\.decoder_norm\.bias is \(3,\) instead of \(64,\)"
    )
    with pytest.raises(UserError, match=message):
        import_decoder(path, shallow("dinov2_vits_224", width=64))
    write(path, shapes)
    with pytest.raises(UserError, match=r"model\.decoder_embed\.weight is \(64, 384\) instead of"):
        import_decoder(path, shallow("dinov3_vitl_256_INet", width=64))
    torch.save({"model": {"view_tokens": torch.full((1, 1, 64), torch.nan)}}, path)
    with pytest.raises(UserError, match=r"missing model\.decoder_embed"):
        import_decoder(path, shallow("dinov2_vits_224", width=64))


def test_decoders_and_world_models_are_told_apart(tmp_path: Path, tiny_run: Path, capsys):
    path, out = tmp_path / "file.pth.tar", tmp_path / "out"
    write(path, layout("dinov2_vits_224", depth=1, width=64))
    save_checkpoint(out, import_decoder(path, shallow("dinov2_vits_224", width=64)))
    with pytest.raises(UserError, match=r"is a decoder, no world model; .*load_decoder"):
        load(out)
    with pytest.raises(UserError, match=r"holds no decoder .*jepawm\.hub\.load"):
        load_decoder(tiny_run / "checkpoint")
    record = DecoderRecord(decoder={"magic": 1}, imported={})
    save_checkpoint(out, replace(load_checkpoint(out), record=record))
    with pytest.raises(UserError, match="is not a decoder of this version"):
        load_decoder(out)
    arguments = ["import", "jepa-wms", str(path), "--model", "dinov2_vits_224"]
    assert main([*arguments, "--out", str(tmp_path / "a"), "--encoder-weights", "random"]) == 2
    assert "do not apply" in capsys.readouterr().err


@pytest.mark.parametrize("config", [{"depth": 10**9}, {"width": 10**9}, {"depth": -1}])
def test_a_record_of_another_decoder_takes_no_memory(tmp_path: Path, config: dict[str, int]):
    released = shallow("dinov2_vits_224", width=64)
    changed = replace(released, config=replace(released.config, **config))
    tensors = {"a": torch.ones(1), "b": torch.ones(1)}
    record = DecoderRecord(decoder=asdict(changed), imported={})
    save_checkpoint(tmp_path / "decoder", Checkpoint(record=record, tensors=tensors))
    with pytest.raises(UserError, match=r"do not fit 2 tensors|does not fit its|no decoder"):
        load_decoder(tmp_path / "decoder")
