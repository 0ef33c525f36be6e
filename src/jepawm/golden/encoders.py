"""Golden checks around a world model: frozen encoders, preprocessing and decoder heads."""

from typing import cast, get_args

import numpy as np
import torch
from torch import Tensor

from jepawm.golden.case import Comparison, GoldenCase, GoldenError, compare
from jepawm.hub.reference import convert_decoder, flat_names
from jepawm.models.decoder import DecoderConfig, ImageDecoder, StateDecoder
from jepawm.models.frozen.backbones import BackboneShape, FrozenFamily
from jepawm.models.frozen.encoder import (
    FrozenEncoder,
    FrozenEncoderConfig,
    build_frozen_encoder,
)
from jepawm.models.frozen.preprocessing import Normalization, prepare_images
from jepawm.models.frozen.weights import RESAMPLING, ClipResampling, Resampling, convert_encoder
from jepawm.models.weight_files import load_weights

_OUTPUTS = ("x_norm_patchtokens", "x_norm_clstoken", "position_table", "features")


@torch.no_grad()
def check_encoder(case: GoldenCase) -> list[Comparison]:
    """Compare tokens (and the resampled position table) for every image of the file."""
    images = sorted(key for key in case.arrays if key.endswith("/image"))
    if not images:
        raise GoldenError(f"{case.name}: there is no array named <prefix>/image")
    results: list[Comparison] = []
    for name in images:
        image = case.tensor(name)
        encoder = _build(case, image_size=image.shape[-1])
        tokens = encoder.all_tokens(image)
        got = {
            "x_norm_patchtokens": tokens[:, -encoder.num_tokens :],
            "x_norm_clstoken": tokens[:, 0],
            "position_table": encoder.backbone.state_dict().get("embeddings.position_embeddings"),
            "features": tokens,
        }
        prefix = name.removesuffix("/image")
        stored = [output for output in _OUTPUTS if f"{prefix}/{output}" in case.arrays]
        if not stored:
            raise GoldenError(f"{case.name}: no output is stored next to {name}")
        results += [_compare_output(case, f"{prefix}/{output}", got[output]) for output in stored]
    return results


def _build(case: GoldenCase, *, image_size: int) -> FrozenEncoder:
    family, resampling = _family(case, image_size)
    weights = case.state("encoder")
    depth, width = case.option("depth", int), case.option("embed_dim", int)
    if (
        not family.startswith("vjepa") and "blocks.0.ls1.gamma" not in weights
    ):  # a scale of 1 is not a scale
        names = [
            f"blocks.{block}.{scale}.gamma" for block in range(depth) for scale in ("ls1", "ls2")
        ]
        weights |= {name: torch.ones(width) for name in names}
    shape = BackboneShape(
        width=width,
        depth=depth,
        num_heads=case.option("num_heads", int),
        mlp_ratio=case.optional("mlp_ratio", float) or 4.0,
        gated="blocks.0.mlp.w12.weight" in weights,
        num_registers=case.optional("num_register_tokens", int) or 0,
        patch_size=case.option("patch_size", int),
        norm_eps=case.option("norm_eps", float),
    )
    size = "L" if family.startswith("vjepa") else "S"
    config = FrozenEncoderConfig(family=family, size=size, image_size=image_size)
    encoder = build_frozen_encoder(config, shape)
    converted = convert_encoder(family, weights, side=encoder.grid[0], resampling=resampling)
    load_weights(encoder.backbone, converted, source=case.name)
    return encoder


def _family(
    case: GoldenCase, image_size: int
) -> tuple[FrozenFamily, Resampling | ClipResampling | None]:
    name = case.option("family", str)
    if name in ("vjepa", "vjepa2"):
        side = case.option("img_size", int) // case.option("patch_size", int)
        if (case.optional("tubelet_size", int) or 2) != 2:
            raise GoldenError(f"{case.name}: only clips of 2 frames are supported")
        table = case.state("encoder").get("pos_embed")
        if table is not None and (name == "vjepa" or case.optional("rope", bool) is False):
            return "vjepa", ClipResampling(num_steps=table.shape[1] // side**2)
        if case.option("img_size", int) != image_size:
            raise GoldenError(f"{case.name}: the image is not as large as the model was built for")
        return "vjepa2", None
    if name == "dinov3":
        return "dinov3", None
    if name != "dinov2":
        raise GoldenError(f"{case.name}: unknown family {name!r}")
    family = "dinov2_reg" if case.optional("num_register_tokens", int) else "dinov2"
    published = RESAMPLING[family]
    assert isinstance(published, Resampling)
    antialias = case.optional("interpolate_antialias", bool)
    offset = case.optional("interpolate_offset", float)
    return family, Resampling(
        antialias=published.antialias if antialias is None else antialias,
        offset=published.offset if offset is None else offset,
    )


def _compare_output(case: GoldenCase, name: str, got: Tensor | None) -> Comparison:
    if got is None:
        raise GoldenError(f"{case.name}: this family has no {name}")
    return compare(name, got, case.tensor(name), atol=case.atol, rtol=case.rtol)


def check_preprocessing(case: GoldenCase) -> list[Comparison]:
    """Compare the network input of every image under every normalisation of the file."""
    size = case.option("img_size", int)
    results: list[Comparison] = []
    for name in sorted(key for key in case.arrays if key.endswith("/image")):
        image = case.tensor(name).permute(2, 0, 1)  # [3, Hpx, Wpx]
        prefix = name.removesuffix("/image")
        for given in case.option("normalisations", dict):
            got = prepare_images(image, size, normalization=_normalization(case, given))
            results += _compare_input(case, f"{prefix}/{given}", got)
    return results


@torch.no_grad()
def check_image_head(case: GoldenCase) -> list[Comparison]:
    """Compare the position table, the patches and the painted frames."""
    if (case.optional("num_views", int) or 1) != 1 or case.option("in_chans", int) != 3:
        raise GoldenError(f"{case.name}: only one view of three colours is supported")
    height, width = case.option("img_size", list)
    given = case.option("normalisation", str)
    side = case.option("latent_grid", int)
    weights = case.state("model")
    decoder = ImageDecoder(
        _config(case),
        latent_dim=case.option("embed_dim", int),
        grid=(side, side),
        image_size=(height, width),
        patch_size=case.option("patch_size", int),
        normalization=_normalization(case, given),
    )
    decoder.load_state_dict(convert_decoder(flat_names({"model": weights})))
    tokens = case.tensor("z_in").flatten(2, 3)  # [B, T, N, D]
    patches = case.tensor("patches_out")
    frames = decoder.eval().pixels(tokens).movedim(-3, -1)  # [B, T, Hpx, Wpx, 3]
    levels = case.allowance("rgb_max_level_difference")
    return [
        _compare(case, "decoder_pos_embed", decoder.table, weights["decoder_pos_embed"][0]),
        _compare(case, "patches_out", decoder.decode_patches(tokens).view_as(patches), patches),
        compare("rgb_uint8", frames, case.tensor("rgb_uint8"), atol=levels, rtol=0.0),
    ]


@torch.no_grad()
def check_state_head(case: GoldenCase) -> list[Comparison]:
    """Compare the position table and the states read from the tokens."""
    side = case.option("grid_size", int)
    weights = case.state("model")
    decoder = StateDecoder(
        _config(case),
        latent_dim=case.option("embed_dim", int),
        grid=(side, side),
        state_dim=case.option("state_dim", int),
    )
    decoder.load_state_dict(convert_decoder(flat_names({"model": weights})))
    states = decoder.eval()(case.tensor("z_in").flatten(2, 3))
    return [
        _compare(case, "decoder_pos_embed", decoder.table, weights["decoder_pos_embed"][0]),
        _compare(case, "state_out", states, case.tensor("state_out")),
    ]


def _compare_input(case: GoldenCase, prefix: str, got: Tensor) -> list[Comparison]:
    wide = got.double()
    parts = {
        "network_input_every4th": got[:, 1::4, 1::4],
        "network_input_rows_100_103": got[:, 100:104],
        "channel_mean": wide.mean(dim=(1, 2)),
        "channel_sq_mean": wide.square().mean(dim=(1, 2)),
    }
    stored = [part for part in parts if f"{prefix}/{part}" in case.arrays]
    if not stored:
        raise GoldenError(f"{case.name}: there is no array {prefix}/network_input_every4th")
    return [
        _compare(case, f"{prefix}/{part}", parts[part], case.array(f"{prefix}/{part}"))
        for part in stored
    ]


def _config(case: GoldenCase) -> DecoderConfig:
    return DecoderConfig(
        depth=case.option("depth", int),
        width=case.option("decoder_embed_dim", int),
        num_heads=case.option("num_heads", int),
        mlp_ratio=case.option("mlp_ratio", float),
        norm_eps=case.option("norm_eps", float),
    )


def _normalization(case: GoldenCase, name: str) -> Normalization:
    if name not in get_args(Normalization):
        raise GoldenError(f"{case.name}: unknown normalisation {name!r}")
    return cast(Normalization, name)


def _compare(case: GoldenCase, name: str, got: Tensor, expected: Tensor | np.ndarray) -> Comparison:
    return compare(name, got, expected, atol=case.atol, rtol=case.rtol)
