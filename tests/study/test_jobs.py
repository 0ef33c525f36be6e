"""Jobs of a sweep: each model and each evaluation once, whatever asks for it."""

from collections import Counter

from jepawm.study.jobs import Plan, plan_sweep
from jepawm.study.known_axes import find_axis
from jepawm.study.setup import Rules, Setup


def plan(axis: str, base: Setup, *, seeds: int = 3, values: tuple[str, ...] = ()) -> Plan:
    return plan_sweep(
        find_axis(axis), base, recipe="base", values=values, seeds=range(seeds), rules=Rules()
    )


def counts(found: Plan) -> Counter[str]:
    return Counter(job.kind for job in found.jobs)


def test_a_training_axis_trains_a_model_for_each_value_and_seed(base: Setup):
    found = plan("window", base)
    assert counts(found) == {"train": 15, "evaluate": 15, "references": 1}
    assert [(cell.value, cell.seed) for cell in found.cells[:6]] == [
        *(("1", 0), ("2", 0), ("3", 0), ("5", 0), ("7", 0)),
        ("1", 1),
    ]
    assert found.cells[0].settings == {"predictor.window": 1, "agent.window": 1}
    assert [cell.value for cell in found.cells if cell.own] == ["3"] * 3


def test_a_planning_axis_trains_one_model_for_each_seed(base: Setup):
    found = plan("planner_cost", base)
    assert counts(found) == {"train": 3, "evaluate": 42, "references": 1}
    assert {job.model for job in found.jobs if job.kind == "evaluate"} == {
        job.id for job in found.jobs if job.kind == "train"
    }
    cell = next(cell for cell in found.cells if cell.value == "gd+l1")
    assert cell.settings["objective.metric"] == "l1"
    planner = cell.settings["planner"]
    assert isinstance(planner, dict)
    assert planner["name"] == "gd"


def test_axes_share_what_is_the_same(base: Setup):
    """The recipe's own value is trained and evaluated once for all axes of a folder."""
    depth, proprio = (plan(axis, base, seeds=1) for axis in ("depth", "proprio"))
    own = [next(cell.job for cell in one.cells if cell.own) for one in (depth, proprio)]
    assert own[0] == own[1]
    models = [{job.id for job in one.jobs if job.kind == "train"} for one in (depth, proprio)]
    assert len(models[0] & models[1]) == 1


def test_pretrained_encoders_come_before_the_models_that_use_them(base: Setup):
    found = plan("encoder", base, seeds=1, values=("conv", "dino"))
    assert counts(found) == {"pretrain": 1, "train": 2, "evaluate": 2, "references": 1}
    pretrain = next(job for job in found.jobs if job.kind == "pretrain")
    needing = [job.kind for job in found.jobs if job.needs == pretrain.file_name]
    assert needing == ["train"]


def test_references_are_those_of_the_base_whatever_the_axis_varies(base: Setup):
    ids = {
        next(job.id for job in plan(axis, base, seeds=1).jobs if job.kind == "references")
        for axis in ("depth", "planner", "window", "proprio")
    }
    assert len(ids) == 1


def test_models_are_trained_with_the_planning_of_the_recipe(base: Setup):
    found = plan("planner", base, seeds=1, values=("gd",))
    train = next(job for job in found.jobs if job.kind == "train")
    assert train.setup.experiment.planner == base.experiment.planner
