"""Self-distillation (DINO) with the head and the loss of the package lightly.

A moving average of the network says which prototypes a large crop is like; the network must say the
same of every other crop of that frame. The picture's vector is the mean of its patch tokens: the
small transformer has no class token.
"""

from importlib import import_module
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.errors import missing_extra
from jepawm.models.encoders import VIT_SHAPES, ViTBackbone, build_vit
from jepawm.models.positions import frame_grid_sincos
from jepawm.training.pretraining.average import follow, momentum_at, new_average
from jepawm.training.pretraining.settings import DinoConfig
from jepawm.training.pretraining.views import random_views

_HIDDEN, _BOTTLENECK = 512, 64  # widths of the head
_SMALLEST = 1 / 8  # area of a small crop, in areas of the smallest large crop


class SelfDistillation(nn.Module):
    """A transformer with a head, and the moving average of both."""

    num_frames = 1
    frameskip = 1

    def __init__(self, config: DinoConfig) -> None:
        """Take the configuration; weights are drawn from torch's generator."""
        super().__init__()
        self.config = config
        heads, losses = _lightly()
        side, size = config.vit.side, config.vit.size
        self.student = build_vit(size, patch_size=config.vit.patch_size, side=side)
        widths = (VIT_SHAPES[size][0], _HIDDEN, _BOTTLENECK, config.num_prototypes)
        self.head = heads.DINOProjectionHead(*widths, norm_last_layer=True)
        self.teacher = new_average(self.student)
        self.teacher_head = heads.DINOProjectionHead(*widths, norm_last_layer=True)
        self.teacher_head.load_state_dict(self.head.state_dict())  # it cannot be copied as it is
        self.teacher_head.requires_grad_(requires_grad=False)
        self.compare = losses.DINOLoss(
            output_dim=config.num_prototypes,
            teacher_temp=config.teacher_temperature,
            warmup_teacher_temp=config.teacher_temperature,
        )

    @property
    def encoder(self) -> ViTBackbone:
        """Return the transformer that is kept: the average."""
        return self.teacher

    def forward(
        self, images: Float[Tensor, "B 1 3 S S"], *, generator: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the loss of frames `[B, 1, 3, S, S]`, numbers from -1 to 1."""
        frames, size, large = images[:, 0], self.config.vit.image_size, self.config.large
        whole = [
            random_views(frames, size, areas=(large, 1.0), generator=generator) for _ in range(2)
        ]
        parts = [
            random_views(frames, size // 2, areas=(_SMALLEST * large, large), generator=generator)
            for _ in range(self.config.num_crops)
        ]
        with torch.no_grad():
            vectors = [encode_view(self.teacher, view) for view in whole]
            wanted = [self.teacher_head(vector) for vector in vectors]
        found = [self.head(encode_view(self.student, view)) for view in (*whole, *parts)]
        return {
            "loss": self.compare(wanted, found),
            "spread": vectors[0].std(0, correction=0).mean(),
        }

    def follow(self, progress: float) -> None:
        """Move the average towards the network, after a part `progress` of the training."""
        momentum = momentum_at(self.config.momentum, progress)
        follow(self.teacher, self.student, momentum=momentum)
        follow(self.teacher_head, self.head, momentum=momentum)


def encode_view(vit: ViTBackbone, view: Float[Tensor, "B 3 size size"]) -> Float[Tensor, "B width"]:
    """Return the mean token of views of any size; places count from the corner of the view."""
    tokens = vit.embed(view)
    side = view.shape[-1] // vit.patches.kernel_size[0]
    table = frame_grid_sincos(
        num_frames=1, grid=(side, side), num_condition=0, dim=tokens.shape[-1]
    )
    return vit.encode(tokens + table.to(tokens)).mean(1)


def _lightly() -> tuple[ModuleType, ModuleType]:
    """Return lightly's modules of heads and of losses."""
    try:
        return import_module("lightly.models.modules"), import_module("lightly.loss")
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision does not fit torch
        raise missing_extra(
            "self-distillation", error, package="lightly", extra="pretrain"
        ) from error
