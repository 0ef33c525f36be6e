"""Names resolve on first use, and a wrong name tells the right ones."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from jepawm.api import register
from jepawm.data.exporting import EXPORTERS
from jepawm.data.formats import FORMATS, recognise
from jepawm.envs import ENVIRONMENTS, POLICIES
from jepawm.errors import UserError
from jepawm.models import ENCODERS
from jepawm.planning import OBJECTIVES, PLANNERS
from jepawm.recipes import RECIPES
from jepawm.registry import Registry, UntrustedModuleError, configuration, function, value

EVERY = (ENCODERS, ENVIRONMENTS, EXPORTERS, FORMATS, OBJECTIVES, PLANNERS, POLICIES, RECIPES)


def anything(_: object) -> None:
    """Accept any object."""


def test_a_name_is_imported_when_asked_for():
    registry = Registry("thing", {"pi": "math:pi", "broken": "no_such_module:x"}, rule=anything)
    assert registry.names() == ["broken", "pi"]
    assert registry.get("pi") == pytest.approx(3.14159265)
    with pytest.raises(UserError, match="thing 'broken': there is no module 'no_such_module'"):
        registry.get("broken")


def test_an_unknown_name_lists_the_known_ones():
    registry = Registry("planner", {"cem": "math:e", "icem": "math:pi"}, rule=anything)
    with pytest.raises(UserError, match=r"unknown planner 'cen'; did you mean 'cem'\?") as caught:
        registry.get("cen")
    assert "(known: cem, icem; your own: my_module:MyThing)" in str(caught.value)


@pytest.mark.parametrize("registry", EVERY, ids=lambda one: one.kind)
def test_every_built_in_name_resolves_and_keeps_the_rule(registry: Registry):
    for name in registry.names():
        if ":" not in name:
            assert registry.get(name) is not None


@pytest.mark.parametrize("registry", EVERY, ids=lambda one: one.kind)
def test_every_kind_can_be_the_group_of_an_entry_point(registry: Registry):
    assert registry.kind.isidentifier()


def test_a_family_builds_the_member_that_is_asked_for():
    targets = {"pi": "math:pi", "number:VALUE": "builtins:float"}
    registry = Registry("thing", targets, rule=anything)
    assert registry.get("number:2.5") == pytest.approx(2.5)
    with pytest.raises(UserError, match=r"unknown thing 'number'; did you mean 'number:VALUE'"):
        registry.get("number")
    with pytest.raises(UserError, match="unknown thing 'other:1'"):
        registry.get("other:1")


def test_a_module_and_an_attribute_are_a_name():
    registry = Registry("thing", {}, rule=anything)
    assert registry.get("math:tau") == pytest.approx(6.2831853)
    with pytest.raises(UserError, match="thing 'math:tao': module math has no tao"):
        registry.get("math:tao")
    with pytest.raises(UserError, match="there is no module 'no_such'"):
        registry.get("no_such.module:tau")


@dataclass(frozen=True, kw_only=True)
class Good:
    """A planner by its attributes."""

    needs_gradients: ClassVar[bool] = False
    depth: int = 1
    """A setting."""

    def plan(self):
        """Plan."""


@dataclass(kw_only=True)
class Changeable:
    """Not frozen."""


@dataclass(frozen=True, kw_only=True)
class Named:
    """A field that the JSON needs for itself."""

    name: str = "mine"
    """A setting."""


def test_a_registered_part_has_a_name_and_can_be_replaced():
    registry = Registry("planner", {"cem": "math:e"}, rule=configuration("plan"))
    registry.register("mine", "test_registry_none:X")
    registry.register("mine", Good)
    assert registry.get("mine") is Good
    assert registry.name_of(Good()) == "mine"
    assert registry.names() == ["cem", "mine"]
    with pytest.raises(UserError, match="planner 'cem' is built in; choose another name"):
        registry.register("cem", Good)
    with pytest.raises(UserError, match="'a:b' is not a name"):
        registry.register("a:b", Good)
    with pytest.raises(UserError, match="write the target as my_module:MyThing"):
        registry.register("other", "my_module.MyThing")


def test_a_class_without_a_name_is_named_by_its_module():
    registry = Registry("planner", {}, rule=anything)
    assert registry.name_of(Good()).endswith("test_registry:Good")

    class Local:
        pass

    with pytest.raises(UserError, match="Local is defined inside a function"):
        registry.name_of(Local())


@pytest.mark.parametrize(
    ("rule", "target", "message"),
    [
        (configuration("plan"), 5, "5 is not a dataclass"),
        (configuration("plan"), Changeable, r"Changeable can be changed; .*frozen=True"),
        (configuration("plan"), Named, "Named has a field called name"),
        (configuration("build", "plan"), Good, "Good has no build"),
        (function, 5, "5 cannot be called"),
        (value("open"), Good, "Good is a class; name an object of it"),
        (value("open"), 5, "5 has no open"),
    ],
)
def test_the_wrong_kind_of_object_is_refused_with_the_rule(rule, target: object, message: str):
    registry = Registry("thing", {}, rule=rule)
    with pytest.raises(UserError, match=rf"thing 'mine' is not usable: .*{message}"):
        registry.register("mine", target)


def test_register_takes_the_kind_by_name():
    register("planner", "test_registry_planner", Good)
    assert PLANNERS.get("test_registry_planner") is Good
    with pytest.raises(UserError, match=r"there is no kind 'planers' \(known: collection_policy"):
        register("planers", "mine", Good)


def test_a_recipe_is_an_experiment():
    with pytest.raises(UserError, match="recipe 'mine' is not usable: it is a float"):
        register("recipe", "mine", 2.5)


@pytest.mark.parametrize("name", ["marker_a:Thing", "gym:marker_a:Env-v0"])
def test_a_file_may_not_name_a_module_that_the_user_did_not(name: str):
    with pytest.raises(UntrustedModuleError, match="code of the module 'marker_a'"):
        ENVIRONMENTS.require_named(name)


def test_a_file_may_name_a_package_that_the_user_named():
    with pytest.raises(UserError, match="no module 'marker_b'"):
        PLANNERS.get("marker_b:Thing")
    PLANNERS.require_named("marker_b.inner:Other")
    ENVIRONMENTS.require_named("gym:marker_b:Env-v0")
    with pytest.raises(UntrustedModuleError):
        PLANNERS.require_named("marker_bc:Thing")
    ENVIRONMENTS.require_named("gym:CartPole-v1")  # no module
    PLANNERS.require_named("cem")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "raise RuntimeError('no licence')",
            "RuntimeError: no licence, in line 1 of .*broken_part.py",
        ),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
        ("def f(:", "SyntaxError"),
        ("from math import no_such_name", "ImportError: cannot import name 'no_such_name'"),
        ("def __getattr__(name): raise OSError(name)", "OSError: PART"),
    ],
)
def test_a_part_that_does_not_import_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
):
    (tmp_path / "broken_part.py").write_text(text.replace("broken", "broken_part"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_part", raising=False)
    registry = Registry("thing", {"mine": "broken_part:PART"}, rule=anything)
    with pytest.raises(UserError, match=f"thing 'mine': broken_part does not work here .{reason}"):
        registry.get("mine")


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *, entry: str, code: str = "") -> None:
    """Install a package `bad` with one entry point and one module."""
    about = folder / "bad-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[jepawm.data_format]\nbroken = {entry}\n")
    (folder / "bad_module.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "bad_module", raising=False)


FORMAT = """
from jepawm.data.recording import Format
def recognises(path): raise KeyError(path)
FORMAT = Format(summary="a format", recognises=recognises, open=recognises)
"""


@pytest.mark.parametrize(
    ("entry", "code", "reason"),
    [
        ("bad_module:FORMAT", "raise RuntimeError()", "of the package 'bad': bad_module does not"),
        ("bad_module:FORMAT", "", "bad_module has no FORMAT"),
        ("bad_module", "", "leads to 'bad_module', which is not module:attribute"),
        ("no_such_module:x", "", "there is no module 'no_such_module'"),
        ("bad_module:FORMAT", FORMAT, "does not work here .KeyError"),
    ],
)
def test_a_plug_in_that_does_not_work_is_left_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    entry: str,
    code: str,
    reason: str,
):
    (tmp_path / "site").mkdir()
    install(tmp_path / "site", monkeypatch, entry=entry, code=code)
    source = tmp_path / "source"
    source.mkdir()
    arrays = {"frames": np.zeros((5, 8, 8, 3), np.uint8), "actions": np.zeros((5, 2), np.float32)}
    np.savez(source / "episode.npz", **arrays)
    assert recognise(source) == "npz"
    assert re.search(f"left out: data format 'broken'.*{reason}", caplog.text)
    if code != FORMAT:
        with pytest.raises(UserError, match=reason):
            FORMATS.get("broken")
    ENVIRONMENTS.require_named("wall")  # what asks for all entry points goes on
    with pytest.raises(UntrustedModuleError):
        ENVIRONMENTS.require_named("gym:module_of_others:Thing-v0")
