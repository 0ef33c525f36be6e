"""Released decoders of images: import their files, keep them as checkpoints, load them."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError
from torch import Tensor

from jepawm.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from jepawm.errors import UserError
from jepawm.hub.reference import convert_decoder, flat_names, original_decoder_layout
from jepawm.hub.released import DECODERS, ReleasedDecoder, fetch_released
from jepawm.models.decoder import ImageDecoder
from jepawm.models.layout import layout_only
from jepawm.models.weight_files import (
    list_misfits,
    load_weights,
    read_weight_file,
    require_layout,
    require_numbers,
    shorten,
)
from jepawm.records import DecoderRecord
from jepawm.strict_json import problems, strict_converter

_SIDE, _LARGEST = 16, 4096
"""Tokens per side that all released decoders read; most pixels per side that are painted."""


def load_decoder(source: str | Path, *, device: str = "cpu") -> ImageDecoder:
    """Load a decoder by folder, or by its released name from the Hugging Face hub."""
    name, folder = str(source), Path(source)
    if find_checkpoint(folder) is None and name in DECODERS:
        checkpoint = import_decoder(fetch_released(name), DECODERS[name])
    else:
        checkpoint = load_checkpoint(folder)
    if not isinstance(checkpoint.record, DecoderRecord):
        raise UserError(
            f"{source} holds no decoder (released ones: {', '.join(DECODERS)}); world models are "
            "loaded by jepawm.hub.load"
        )
    try:
        released = strict_converter().structure(checkpoint.record.decoder, ReleasedDecoder)
    except (BaseValidationError, ForbiddenExtraKeysError) as error:
        raise UserError(f"{source} is not a decoder of this version: {problems(error)}") from error
    _require_weights(released, checkpoint.tensors, source=name)
    decoder = _build(released)
    load_weights(decoder, checkpoint.tensors, source=name)
    return decoder.eval().requires_grad_(requires_grad=False).to(device)


def import_decoder(path: Path, released: ReleasedDecoder) -> Checkpoint:
    """Import a file of a released decoder; its position table and training state are dropped.

    Args:
        path: the file.
        released: which decoder it should be.
    """
    tensors = flat_names({"model": read_weight_file(path, "model")})
    misfits = list_misfits(decoder_layout(released), tensors)
    if misfits:
        raise UserError(f"{path} is not the decoder {released.mirror_name}: {shorten(misfits, 20)}")
    require_numbers(tensors, path=path)
    return Checkpoint(
        record=DecoderRecord(decoder=asdict(released), imported={"file": path.name}),
        tensors={name: value.float() for name, value in convert_decoder(tensors).items()},
    )


def decoder_layout(released: ReleasedDecoder) -> dict[str, tuple[int, ...]]:
    """Return the tensors of the file of a decoder, by `model.<tensor>`."""
    with layout_only():
        return original_decoder_layout(_build(released).state_dict())


def _require_weights(
    released: ReleasedDecoder, tensors: Mapping[str, Tensor], *, source: str
) -> None:
    """Compare stored weights with a configuration, before memory is taken for its decoder."""
    if not 0 < released.config.depth <= len(tensors) or not 0 < released.image_size <= _LARGEST:
        raise UserError(
            f"{source}: decoder.config.depth = {released.config.depth} and decoder.image_size = "
            f"{released.image_size} do not fit {len(tensors)} tensors; copy the checkpoint again"
        )
    require_layout(lambda: _build(released), tensors, source=source, what="decoder")


def _build(released: ReleasedDecoder) -> ImageDecoder:
    return ImageDecoder(
        released.config,
        latent_dim=released.latent_dim,
        grid=(_SIDE, _SIDE),
        image_size=(released.image_size, released.image_size),
        normalization=released.normalization,
    )
