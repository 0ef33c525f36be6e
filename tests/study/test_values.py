"""What the values of an axis set."""

import pytest

from jepawm.planning.ask_tell import Nevergrad
from jepawm.planning.cem import CEM
from jepawm.study.setup import Setup
from jepawm.study.values import efficientnet_on, set_planner


@pytest.mark.parametrize(
    ("grid", "image_size", "reduction"), [(1, 32, 32), (4, 64, 16), (8, 128, 16)]
)
def test_efficientnet_gives_as_many_tokens_as_the_base_has(
    grid: int, image_size: int, reduction: int
):
    config = efficientnet_on(grid)
    assert (config.image_size, config.reduction) == (image_size, reduction)
    assert config.weights == "package"


def test_both_searches_evaluate_as_many_candidates(base: Setup):
    base = base.with_settings({"planner": CEM(num_samples=64, num_iterations=6)})
    planner = set_planner("nevergrad")(base)["planner"]
    assert isinstance(planner, Nevergrad)
    assert (planner.num_samples, planner.num_iterations) == (64, 6)
