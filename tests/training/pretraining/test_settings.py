"""Settings of pretrainings: what is refused, and what a method is called."""

import pytest

from jepawm.errors import UserError
from jepawm.training.optim import OptimConfig
from jepawm.training.pretraining.settings import (
    METHODS,
    DinoConfig,
    ViTConfig,
    VJepaConfig,
    method_name,
)


def test_methods_have_names():
    assert {name: method_name(config) for name, config in METHODS.items()} == {
        "dino": "dino",
        "vjepa": "vjepa",
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ViTConfig(patch_size=7), r"vit\.image_size = 64 is not at least two patches of 7"),
        (lambda: ViTConfig(patch_size=64), "not at least two patches of 64 pixels"),
        (lambda: ViTConfig(image_size=0), r"vit\.image_size = 0; give a number from 1"),
        (
            lambda: DinoConfig(vit=ViTConfig(image_size=24)),
            "gives 3 patches a side.*make the number",
        ),
        (lambda: DinoConfig(large=0.0), "large = 0.0; give more than 0, at most 1"),
        (lambda: DinoConfig(momentum=1.5), "momentum = 1.5; give more than 0, at most 1"),
        (lambda: DinoConfig(num_crops=-1), r"pretraining\.num_crops = -1"),
        (
            lambda: VJepaConfig(optim=OptimConfig(num_epochs=2)),
            r"optim\.num_epochs = 2 has no meaning",
        ),
        (lambda: VJepaConfig(width=6), "width = 6; give a multiple of 4"),
        (lambda: VJepaConfig(num_frames=0), r"pretraining\.num_frames = 0"),
        (lambda: VJepaConfig(momentum=float("nan")), "momentum = nan"),
    ],
)
def test_what_cannot_be_is_refused(make, message: str):
    with pytest.raises(UserError, match=message):
        make()
