"""The settings of a pretraining: of the transformer, and of what it learns from."""

from dataclasses import dataclass
from typing import Literal

from jepawm.errors import UserError, require_numbers, require_range
from jepawm.training.optim import OptimConfig


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Which small vision transformer is trained: what `encoder.*` must say later."""

    size: Literal["S", "B", "L"] = "S"
    """Width and number of blocks."""
    patch_size: int = 8
    """Side in pixels of a patch."""
    image_size: int = 64
    """Side in pixels that frames are resized to."""

    def __post_init__(self) -> None:
        """Check that patches fill the image."""
        require_range(self, ("patch_size", "image_size"), where="vit", least=1, most=2**12)
        if self.image_size % self.patch_size or self.side < 2:
            raise UserError(
                f"vit.image_size = {self.image_size} is not at least two patches of "
                f"{self.patch_size} pixels a side; change one of them"
            )

    @property
    def side(self) -> int:
        """Return the patches per side of an image."""
        return self.image_size // self.patch_size


@dataclass(frozen=True, kw_only=True)
class DinoConfig:
    """Self-distillation: crops of a frame are told apart as the moving average sees whole views."""

    vit: ViTConfig = ViTConfig()
    """The transformer."""
    optim: OptimConfig = OptimConfig(
        num_steps=1500,
        batch_size=48,
        learning_rate=1e-3,
        warmup_steps=100,
        weight_decay=0.04,
        final_weight_decay=0.2,
        clip_norm=3.0,
    )
    """Length and step size of training; windows are frames here."""
    seed: int = 0
    """Seed of the weights, of the order of the frames and of all random numbers."""
    num_crops: int = 4
    """Small crops beside the two large ones."""
    large: float = 0.4
    """Smallest part of the frame's area in a large crop; small ones have less, down to an eighth of
    it."""
    num_prototypes: int = 1024
    """Width of what is compared: outputs of the head."""
    teacher_temperature: float = 0.04
    """Temperature of the average's outputs: lower is sharper."""
    momentum: float = 0.99
    """How much of the moving average stays in a step, at the start; it rises to 1."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range(self, ("num_crops",), where="pretraining", least=0, most=64)
        require_range(self, ("num_prototypes",), where="pretraining", least=2, most=2**17)
        require_range(self, ("seed",), where="pretraining", least=0, most=2**40)
        _require_between(self, large=1.0, teacher_temperature=1.0, momentum=1.0)
        require_numbers(self, "")
        _require_steps(self.optim)
        if self.vit.side % 2:
            raise UserError(
                f"vit.image_size = {self.vit.image_size} gives {self.vit.side} patches a side; small "
                "crops have half as many: make the number even"
            )


@dataclass(frozen=True, kw_only=True)
class VJepaConfig:
    """Masked latent prediction: hidden places of a clip are predicted as the moving average sees them."""

    vit: ViTConfig = ViTConfig()
    """The transformer."""
    optim: OptimConfig = OptimConfig(
        num_steps=1500,
        batch_size=24,
        learning_rate=1e-3,
        warmup_steps=100,
        weight_decay=0.04,
        final_weight_decay=0.2,
        clip_norm=1.0,
    )
    """Length and step size of training; windows are clips here."""
    seed: int = 0
    """Seed of the weights, of the order of the clips and of all random numbers."""
    num_frames: int = 4
    """Frames of a clip."""
    frameskip: int = 5
    """Environment steps between two frames of a clip."""
    depth: int = 2
    """Blocks of the predictor."""
    width: int = 64
    """Width of the predictor, a multiple of 4."""
    momentum: float = 0.99
    """How much of the moving average stays in a step, at the start; it rises to 1."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range(self, ("num_frames", "frameskip", "depth"), where="pretraining", least=1)
        require_range(self, ("num_frames",), where="pretraining", least=1, most=64)
        require_range(self, ("seed",), where="pretraining", least=0, most=2**40)
        _require_between(self, momentum=1.0)
        require_numbers(self, "")
        _require_steps(self.optim)
        if self.width < 4 or self.width % 4:
            raise UserError(f"width = {self.width}; give a multiple of 4")


def _require_between(config: object, **most: float) -> None:
    for name, limit in most.items():
        if not 0.0 < getattr(config, name) <= limit:
            raise UserError(
                f"{name} = {getattr(config, name)}; give more than 0, at most {limit:g}"
            )


def _require_steps(optim: OptimConfig) -> None:
    for name in ("num_epochs", "encoder_steps", "ema_decay"):
        if getattr(optim, name) is not None:
            raise UserError(
                f"optim.{name} = {getattr(optim, name)} has no meaning in a pretraining; leave it out"
            )


PretrainConfig = DinoConfig | VJepaConfig
"""How a transformer is pretrained."""
METHODS: dict[str, PretrainConfig] = {"dino": DinoConfig(), "vjepa": VJepaConfig()}
"""Methods by name, with their defaults."""


def method_name(config: PretrainConfig) -> str:
    """Return the name of the method of a configuration."""
    return next(name for name, one in METHODS.items() if type(one) is type(config))
