"""A recipe's fields, and those of the planner that it holds, are options of the command line."""

from dataclasses import dataclass, replace
from typing import Literal, Protocol

import pytest

from jepawm.cli.parsing import close_choices, first_name, open_choices, parse, take_option
from jepawm.errors import UserError


class Search(Protocol):
    def search(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Shooting:
    num_samples: int = 300
    """Candidates."""

    def search(self) -> int:
        return self.num_samples


@dataclass(frozen=True, kw_only=True)
class Loss:
    rollout_steps: int = 2
    """Steps."""
    metric: Literal["mse", "l1"] = "mse"
    """Distance."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    seed: int = 0
    """Seed."""
    loss: Loss = Loss()
    """Loss."""
    planner: Search = Shooting()
    """Planner."""
    window: int | None = None
    """Window."""

    def __post_init__(self) -> None:
        if self.loss.rollout_steps > 6:
            raise UserError(f"loss.rollout_steps = {self.loss.rollout_steps} is above 6")


@dataclass(frozen=True, kw_only=True)
class Switches:
    json: bool = False
    """One object."""


RECIPE = Recipe(seed=7, loss=Loss(rollout_steps=3))


def parse_recipe(*argv: str) -> tuple[Switches, Recipe]:
    parts = {"": open_choices(RECIPE)}
    switches, parsed = parse(Switches, argv, verb="train x", description="Train.", parts=parts)
    recipe = parsed[""]
    assert isinstance(recipe, Recipe)
    return switches, close_choices(recipe, Recipe)


def test_without_options_the_recipe_stays_as_it_is():
    assert parse_recipe() == (Switches(), RECIPE)


def test_options_set_nested_fields_and_the_fields_of_the_planner():
    switches, recipe = parse_recipe(
        "--loss.metric", "l1", "--planner.num-samples", "8", "--json", "--window", "2"
    )
    expected = replace(
        RECIPE,
        loss=Loss(rollout_steps=3, metric="l1"),
        planner=Shooting(num_samples=8),
        window=2,
    )
    assert (switches, recipe) == (Switches(json=True), expected)


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["--loss.rolout-steps", "3"], ["--loss.rolout-steps", "--loss.rollout-steps"]),
        (["--loss.metric", "l3"], ["l3", "mse", "l1"]),
        (["--loss.rollout-steps", "many"], ["--loss.rollout-steps", "many"]),
    ],
)
def test_a_wrong_option_ends_with_code_2_and_the_known_names(
    argv: list[str], names: list[str], capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as caught:
        parse_recipe(*argv)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    for name in names:
        assert name in captured.err


def test_the_recipes_own_rules_hold_on_the_command_line():
    with pytest.raises(UserError, match="above 6"):
        parse_recipe("--loss.rollout-steps", "7")


def test_help_shows_defaults_of_the_recipe(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        parse_recipe("--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for piece in ("jepawm train x", "--loss.rollout-steps", "(default: 3)", "Candidates."):
        assert piece in text


def test_an_option_can_be_taken_out_first():
    assert take_option("--planner", ["a", "--planner", "cem", "--planner.x", "1"]) == (
        "cem",
        ["a", "--planner.x", "1"],
    )
    assert take_option("--planner", ["--planner=cem"]) == ("cem", [])
    assert take_option("--planner", ["a"]) == (None, ["a"])
    for argv in (["--planner"], ["--planner", "--json"]):
        with pytest.raises(UserError, match="--planner needs a name"):
            take_option("--planner", argv)


def test_the_name_comes_first_or_is_known():
    assert first_name(["wall", "--seed", "1"], known=[]) == "wall"
    assert first_name(["--seed", "1", "wall"], known=["wall"]) == "wall"
    assert first_name(["--seed", "1"], known=["wall"]) is None
