"""Names resolve on first use, and a wrong name tells the right ones."""

import pytest

from jepawm.envs import ENVIRONMENTS
from jepawm.errors import UserError
from jepawm.planning import PLANNERS
from jepawm.recipes import RECIPES
from jepawm.registry import Registry


def test_a_name_is_imported_when_asked_for():
    registry = Registry("thing", {"pi": "math:pi", "broken": "no_such_module:x"})
    assert registry.names() == ["broken", "pi"]
    assert registry.get("pi") == pytest.approx(3.14159265)
    with pytest.raises(ModuleNotFoundError):
        registry.get("broken")


def test_an_unknown_name_lists_the_known_ones():
    registry = Registry("planner", {"cem": "math:e", "icem": "math:pi"})
    with pytest.raises(UserError, match=r"unknown planner 'cen'; did you mean 'cem'\?") as caught:
        registry.get("cen")
    assert "(known: cem, icem)" in str(caught.value)


def test_plugins_join_by_entry_points(monkeypatch: pytest.MonkeyPatch):
    class Point:
        name = "mine"
        value = "math:tau"

    def entry_points(*, group: str) -> list[Point]:
        return [Point()] if group == "jepawm.thing" else []

    monkeypatch.setattr("jepawm.registry.entry_points", entry_points)
    assert Registry("thing", {}).get("mine") == pytest.approx(6.2831853)
    assert Registry("other", {}).names() == []


@pytest.mark.parametrize("registry", [ENVIRONMENTS, PLANNERS, RECIPES], ids=lambda one: one.kind)
def test_every_built_in_name_resolves(registry: Registry):
    for name in registry.names():
        assert registry.get(name) is not None


def test_a_family_builds_the_member_that_is_asked_for():
    registry = Registry("thing", {"pi": "math:pi", "number:VALUE": "builtins:float"})
    assert registry.get("number:2.5") == pytest.approx(2.5)
    with pytest.raises(UserError, match=r"unknown thing 'number'; did you mean 'number:VALUE'"):
        registry.get("number")
    with pytest.raises(UserError, match="unknown thing 'other:1'"):
        registry.get("other:1")
