"""The small vision transformer with fixed weights: pretrained by `jepawm pretrain`, or random.

It is the network of the learned family `vit`. With random weights it is the control: what planning
owes to the predictor alone. A learned encoder may start from the pretrained weights, too.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.checkpoint import find_checkpoint, load_checkpoint
from jepawm.errors import UserError, plain_text
from jepawm.files import expand_user
from jepawm.models.encoders import ImageEncoder, ViTBackbone, build_vit
from jepawm.models.frozen.encoder import FrozenEncoder, SmallViTConfig
from jepawm.models.weight_files import load_weights
from jepawm.records import EncoderRecord


class GridViT(nn.Module):
    """Encode images into a grid of tokens, each of which holds the patches of its cell."""

    def __init__(self, vit: ViTBackbone, *, cell: int) -> None:
        """Take the transformer and the patches per side of a cell."""
        super().__init__()
        self.vit = vit
        self.cell = cell

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B N D"]:
        """Encode normalised images `[B, 3, S, S]` into tokens `[B, N, D]`, row by row."""
        maps = self.vit(images)  # [B, width, s, s]
        cells = maps.unflatten(3, (-1, self.cell)).unflatten(2, (-1, self.cell))
        return cells.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)  # [B, N, cell^2 width]


def load_small_vit(config: SmallViTConfig) -> FrozenEncoder:
    """Build the frozen encoder with the weights that `config.weights` names.

    Random weights depend on their seed alone, and no random number of the caller is used.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.random_seed or 0)
        vit = build_vit(config.size, patch_size=config.patch_size, side=config.num_cells)
    if config.random_seed is None:
        sizes = {name: getattr(config, name) for name in _SIZES}
        _load(vit, config.weights, sizes=sizes, field="encoder.weights")
    backbone = GridViT(vit, cell=config.num_cells // config.grid)
    return FrozenEncoder(config, backbone, shape=config.shape)


def start_encoder_from(encoder: ImageEncoder, folder: str) -> None:
    """Give a learned encoder the weights of a pretrained transformer; its head stays random."""
    assert isinstance(encoder.backbone, ViTBackbone)
    sizes = {name: getattr(encoder.config, name) for name in _SIZES}
    _load(encoder.backbone, folder, sizes=sizes, field="encoder.init")


_SIZES = ("size", "patch_size", "image_size")


def _load(vit: ViTBackbone, place: str, *, sizes: dict[str, object], field: str) -> None:
    """Load the weights of the folder `place`, which a field of the configuration names."""
    if not place:
        raise UserError(
            f"{field} names no weights; give the folder that `jepawm pretrain dino|vjepa STORE --out "
            "FOLDER` wrote, or random:0 for the control"
        )
    given = expand_user(Path(place))
    folder = next((one for one in (given / "checkpoint", given) if find_checkpoint(one)), None)
    if folder is None:
        raise UserError(
            f"{field}: there is no pretrained encoder in {plain_text(place)}; give the folder that "
            "`jepawm pretrain` wrote"
        )
    saved = load_checkpoint(folder)
    if not isinstance(saved.record, EncoderRecord):
        raise UserError(
            f"{field}: {folder} is no pretrained encoder; give the folder that `jepawm pretrain` wrote"
        )
    differing = [
        f"encoder.{name} {getattr(saved.record, name)!r} there, {value!r} here"
        for name, value in sizes.items()
        if getattr(saved.record, name) != value
    ]
    if differing:
        raise UserError(
            f"{field}: {folder} holds a transformer of other sizes: {'; '.join(differing)}; set them "
            "to what is there"
        )
    load_weights(vit, saved.tensors, source=str(folder))
