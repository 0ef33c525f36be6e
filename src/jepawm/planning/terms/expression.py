"""Objectives written down: `goal + 0.2 * reward`, as the command line takes them."""

import ast
import re
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import cast, get_type_hints

from cattrs.errors import BaseValidationError, CattrsError

from jepawm.contracts import Objective
from jepawm.errors import UserError, plain_text
from jepawm.planning import OBJECTIVES
from jepawm.planning.terms.composition import WeightedSum, weighted_sum
from jepawm.strict_json import problems, strict_converter

_FOREIGN = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?:\.\w+)*:[A-Za-z_]\w*(?:\.\w+)*")
_MOST_CHARACTERS = 4096
_HELP = (
    "write names of objectives with weights, as goal + 0.2 * reward, settings in brackets, as "
    "smoothness() or reward(discount=0.9), your own as my_module:MyClass"
)


def parse_objective(text: str) -> Objective:
    """Build the objective that a text describes.

    Names are those of `OBJECTIVES`, added, subtracted and multiplied by numbers; a call gives
    settings, `discounted(goal, factor=0.9)`.
    """
    if len(text) > _MOST_CHARACTERS:
        raise UserError(f"the objective is a text of {len(text):,} characters; write it in Python")
    names: dict[str, str] = {}

    def stand_in(found: re.Match[str]) -> str:
        name = f"__part{len(names)}"
        names[name] = found.group()
        return name

    try:
        tree = ast.parse(_FOREIGN.sub(stand_in, text.strip()), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"the objective {plain_text(text)!r} cannot be read; {_HELP}") from error
    built = _Reader(text, names).read(tree.body)
    if isinstance(built, int | float):
        raise UserError(f"the objective {plain_text(text)!r} is a number; {_HELP}")
    return built


class _Reader:
    """Build what the nodes of a text say; everything but sums, numbers and calls is refused."""

    def __init__(self, text: str, names: dict[str, str]) -> None:
        self._text, self._names = text, names

    def read(self, node: ast.expr) -> Objective | float:
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return float(cast(float, node.value))
        if isinstance(node, ast.Name):
            return self._build(node, [], [])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self._build(node.func, node.args, node.keywords)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            return _scale(self.read(node.operand), -1.0 if isinstance(node.op, ast.USub) else 1.0)
        if isinstance(node, ast.BinOp):
            return self._combine(node)
        raise self._refusal(node)

    def _combine(self, node: ast.BinOp) -> Objective | float:
        left, right = self.read(node.left), self.read(node.right)
        if isinstance(node.op, ast.Add | ast.Sub):
            sign = 1.0 if isinstance(node.op, ast.Add) else -1.0
            if isinstance(left, float) and isinstance(right, float):
                return left + sign * right
            if not isinstance(left, float) and not isinstance(right, float):
                return weighted_sum((1.0, left), (sign, right))
        elif isinstance(node.op, ast.Mult) and isinstance(left, float):
            return _scale(right, left)
        elif isinstance(node.op, ast.Mult | ast.Div) and isinstance(right, float):
            if isinstance(node.op, ast.Mult):
                return _scale(left, right)
            if right:
                return _scale(left, 1.0 / right)
        raise self._refusal(node)

    def _build(
        self, name: ast.Name, args: list[ast.expr], keywords: list[ast.keyword]
    ) -> Objective:
        known = self._names.get(name.id, name.id)
        kind = OBJECTIVES.get(known)
        assert isinstance(kind, type)
        assert is_dataclass(kind)
        given: dict[str, object] = {}
        if args:
            inner = self.read(args[0])
            if len(args) > 1 or "of" not in get_type_hints(kind) or isinstance(inner, float):
                raise UserError(
                    f"{known} takes settings by name, as {known}(name=value); only discounted and "
                    "terminal take an objective first"
                )
            given["of"] = inner
        for one in keywords:
            given[str(one.arg)] = self._setting(kind, known, one)
        missing = [
            one.name
            for one in fields(kind)
            if one.default is MISSING and one.default_factory is MISSING and one.name not in given
        ]
        if missing:
            raise UserError(f"{known} needs {', '.join(missing)}; write {known}({missing[0]}=...)")
        return cast(Callable[..., Objective], kind)(**given)

    def _setting(self, kind: type, name: str, keyword: ast.keyword) -> object:
        settings = {one.name: one for one in fields(kind) if not one.metadata.get("of_model")}
        if keyword.arg not in settings or keyword.arg == "of":
            known = ", ".join(sorted(settings)) or "none"
            raise UserError(f"{name} has no setting {keyword.arg!r} (known: {known})")
        try:
            value = ast.literal_eval(keyword.value)
            return strict_converter().structure(value, get_type_hints(kind)[keyword.arg])
        except (ValueError, TypeError, CattrsError, BaseValidationError) as error:
            reason = problems(error) if isinstance(error, BaseValidationError) else str(error)
            raise UserError(f"{name}({keyword.arg}=...): {plain_text(reason)}") from error

    def _refusal(self, node: ast.expr) -> UserError:
        part = plain_text(ast.unparse(node))
        return UserError(f"{part!r} in the objective {plain_text(self._text)!r}; {_HELP}")


def _scale(value: Objective | float, weight: float) -> Objective | float:
    if isinstance(value, float):
        return weight * value
    return (
        value
        if weight == 1.0 and not isinstance(value, WeightedSum)
        else weighted_sum((weight, value))
    )
