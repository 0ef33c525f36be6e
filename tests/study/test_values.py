"""What the values of an axis set."""

import pytest

from jepawm.study.values import efficientnet_on


@pytest.mark.parametrize(
    ("grid", "image_size", "reduction"), [(1, 32, 32), (4, 64, 16), (8, 128, 16)]
)
def test_efficientnet_gives_as_many_tokens_as_the_base_has(
    grid: int, image_size: int, reduction: int
):
    config = efficientnet_on(grid)
    assert (config.image_size, config.reduction) == (image_size, reduction)
    assert config.weights == "package"
