"""A recipe that trains a proposer says how far its plans look ahead."""

from typing import cast

import pytest

from jepawm.experiment import Experiment
from jepawm.recipes import RECIPES


@pytest.mark.parametrize("name", RECIPES.names())
def test_a_proposer_is_trained_where_a_protocol_asks_for_plans(name: str):
    recipe = cast(Experiment, RECIPES.get(name))
    assert recipe.proposals.num_steps == 0 or recipe.protocols
    assert name != "robot" or recipe.proposals.num_steps == 0
