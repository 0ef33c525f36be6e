import pytest

from jepawm.envs import ENVIRONMENTS
from jepawm.experiment import Experiment
from jepawm.recipes import RECIPES
from jepawm.report.paper import PAPER, paper_row


def test_wall_row_is_the_papers():
    row = paper_row("wall")
    assert row is not None
    assert row.jepa_wm.success == pytest.approx(0.788)
    assert row.jepa_wm.std == pytest.approx(0.039)
    assert row.dino_wm.success == pytest.approx(0.641)
    assert row.num_episodes == 96


def test_rows_are_found_by_the_names_of_environments():
    for name in PAPER.keys() - {"droid"}:
        family = name.partition(":")[0]
        assert family in {known.partition(":")[0] for known in ENVIRONMENTS.names()}
    for recipe in ("wall", "pointmaze", "pusht", "metaworld_reach"):
        experiment = RECIPES.get(recipe)
        assert isinstance(experiment, Experiment)
        assert paper_row(experiment.env) is not None, recipe
    assert paper_row("robocasa:reach@demonstrations.hdf5") is PAPER["robocasa:reach"]


def test_unknown_environment_has_no_row():
    assert paper_row("own-environment") is None


def test_all_numbers_are_rates():
    for row in PAPER.values():
        for number in (row.jepa_wm, row.dino_wm, row.vjepa2_ac):
            assert number is None or (0 < number.success < 1 and 0 < number.std < number.success)
