"""The settings of decoders and probes and of their training; free of torch, so that help is quick."""

from dataclasses import dataclass

from jepawm.errors import UserError, require_range


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """What reads pictures and states out of latents, and how it is trained."""

    num_steps: int = 3000
    """Optimiser steps of the decoder of pictures."""
    probe_steps: int = 1500
    """Optimiser steps of the probe of states; 0: none. Data without states have none anyway."""
    batch_size: int = 64
    """Frames per step."""
    learning_rate: float = 2e-3
    """Peak learning rate of AdamW; it falls to 0 along half a cosine."""
    change_weight: float = 1.0
    """Weight of what differs from the mean frame, beside every pixel alike: 1 gives what moves, however
    small, as much of the loss as all of the picture."""
    width: int = 320
    """Width of the layers; of a transformer's tokens where latents are a grid."""
    depth: int = 4
    """Layers between the latent and the patches, or blocks of the transformer."""
    channels: int = 16
    """Numbers that a patch of the picture is painted from, where a latent is one token."""
    patch_size: int = 8
    """Side in pixels of the patches that are painted."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        require_range(self, ("num_steps", "batch_size"), where="decoder", least=1)
        require_range(self, ("probe_steps", "change_weight"), where="decoder", least=0)
        require_range(self, ("learning_rate",), where="decoder", least=0, most=1)
        for name, most in _MOST.items():
            require_range(self, (name,), where="decoder", least=1, most=most)
        if self.width % _HEADS:
            raise UserError(f"decoder.width = {self.width}; give a multiple of {_HEADS}")


_HEADS = 4
"""Attention heads of a transformer; its positions need a multiple of 4 too."""
_MOST = {"width": 8192, "depth": 64, "channels": 1024, "patch_size": 64}
