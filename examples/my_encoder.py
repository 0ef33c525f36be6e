"""An encoder of your own, in a module of its own: `my_encoder:PatchEncoder` is its name everywhere.

`PYTHONPATH=examples jepawm train wall --encoder my_encoder:PatchEncoder --encoder.dim 16`
"""

from dataclasses import dataclass

from jaxtyping import Float, UInt8
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class PatchEncoder:
    """Settings; its fields are in the JSON of the run and on the command line."""

    dim: int = 32
    """Width of a token."""
    patch_size: int = 8
    """Side in pixels of a patch."""

    def build(self) -> "PatchNet":
        """Build the network with random weights."""
        return PatchNet(self)


class PatchNet(nn.Module):
    """Embed patches of 64 x 64 images, mix them, and return one token for the image."""

    num_tokens = 1
    grid = (1, 1)

    def __init__(self, config: PatchEncoder) -> None:
        super().__init__()
        self.dim = config.dim
        patches = nn.Conv2d(3, 16, config.patch_size, stride=config.patch_size)
        features = 16 * (64 // config.patch_size) ** 2
        self.net = nn.Sequential(patches, nn.GELU(), nn.Flatten(), nn.Linear(features, config.dim))

    def forward(self, pixels: UInt8[Tensor, "*b 3 height width"]) -> Float[Tensor, "*b N D"]:
        """Encode images `[*b, 3, 64, 64]`, uint8, into tokens `[*b, 1, D]`."""
        images = pixels.reshape(-1, *pixels.shape[-3:]).float() / 255 - 0.5
        return self.net(images).reshape(*pixels.shape[:-3], 1, self.dim)
