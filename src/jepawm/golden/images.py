"""Golden checks of what stands before and behind a world model: preprocessing and decoder heads."""

from typing import cast, get_args

import numpy as np
import torch
from torch import Tensor

from jepawm.golden.case import Comparison, GoldenCase, GoldenError, compare
from jepawm.hub.reference import convert_decoder, flat_names
from jepawm.models.decoder import DecoderConfig, ImageDecoder, StateDecoder
from jepawm.models.frozen.preprocessing import Normalization, prepare_images


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
