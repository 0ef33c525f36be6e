"""Plain JSON, every field checked: nothing is converted, nothing is ignored.

Files come in by `read_json`, their values by `expect`; configurations by `strict_converter`.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import NoReturn, TypeVar, cast, get_type_hints

import cattrs
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError
from cattrs.v import format_exception

from jepawm.border import foreign, require_regular
from jepawm.errors import UserError, plain_text, show
from jepawm.registry import Registry

Kind = TypeVar("Kind", bool, int, float, str, list, dict)
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "a text",
    list: "a list",
    dict: "an object",
}
_MOST_BYTES = 2**28
_MOST_CHARACTERS = 2**26
_MOST_DIGITS = 40
_DEEPEST = 100
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
_LATER = "copy it again"


def read_json(path: Path, *, what: str, remedy: str = _LATER) -> object:
    """Read a file of JSON.

    Args:
        path: the file.
        what: what it should be, in words: `configuration`.
        remedy: what to do about a damaged one.
    """
    return parse_json(read_text(path, what=what, remedy=remedy), where=str(path), remedy=remedy)


def read_text(path: Path, *, what: str, remedy: str = _LATER) -> str:
    """Read a file of text in UTF-8, up to 256 MiB; a mark of the byte order is left out."""
    require_regular(path, remedy)
    name = plain_text(str(path))
    if path.stat().st_size > _MOST_BYTES:
        raise UserError(f"{name} is larger than {_MOST_BYTES:,} bytes, no {what}; {remedy}")
    with foreign(path, what), path.open("rb") as file:
        content = file.read(_MOST_BYTES)  # what is no file of a disk has no honest size
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is no {what}: not UTF-8 ({error.reason}); {remedy}") from error


def parse_json(text: str, *, where: str, remedy: str = _LATER) -> object:
    """Return the value of a text of JSON.

    Refused are doubled names, NaN and infinity, numbers of more than 40 digits before the point,
    more than 100 levels, and halves of characters, which no file could hold again.

    Args:
        text: the text.
        where: file (and line) for messages.
        remedy: what to do about a damaged one.
    """
    try:
        if len(text) > _MOST_CHARACTERS:
            raise ValueError(f"{len(text):,} characters are too many")
        value = json.loads(
            text,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
        _check_depth(value, text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else plain_text(str(error))
        raise UserError(
            f"{plain_text(where)} is truncated or altered ({reason}); {remedy}"
        ) from error
    return value


def expect(
    value: object, kind: type[Kind], *, where: Path | str, field: str, remedy: str = _LATER
) -> Kind:
    """Return a value of JSON if it is of one kind; a whole number may serve as a float.

    Args:
        value: the value.
        kind: bool, int, float (a finite one), str, list or dict.
        where: the file, for messages.
        field: name of the value.
        remedy: what to do about another kind.
    """
    if kind is float and type(value) is int:
        value = float(value)  # of 40 digits at most
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        raise UserError(
            f"{plain_text(str(where))}: {plain_text(field)} is {show(value)}, not {_WORDS[kind]}; "
            f"{remedy}"
        )
    return cast(Kind, value)


def entry(
    content: Mapping[str, object],
    name: str,
    kind: type[Kind],
    *,
    where: Path | str,
    remedy: str = _LATER,
) -> Kind:
    """Return an entry of an object that must be there, of one kind."""
    if name not in content:
        raise UserError(f"{plain_text(str(where))} lacks {plain_text(name)}; {remedy}")
    return expect(content[name], kind, where=where, field=name, remedy=remedy)


def optional_entry(
    content: Mapping[str, object],
    name: str,
    kind: type[Kind],
    *,
    where: Path | str,
    remedy: str = _LATER,
) -> Kind | None:
    """Return an entry of an object, of one kind; None if it is null or not there."""
    if content.get(name) is None:
        return None
    return expect(content[name], kind, where=where, field=name, remedy=remedy)


def strict_converter() -> cattrs.Converter:
    """Return a converter that takes plain values as they are and refuses unknown fields."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (bool, int, float, str):
        converter.register_structure_hook(kind, _plain)
    return converter


@dataclass(frozen=True, kw_only=True)
class Unnamed:
    """Built-in classes that are written without a name."""

    kinds: tuple[type, ...]
    """The classes."""
    choose: Callable[[Mapping[str, object]], type]
    """Which of them some JSON is."""


def register_named(
    converter: cattrs.Converter,
    protocol: type,
    *,
    registry: Registry,
    trust: bool,
    unnamed: Unnamed | None = None,
) -> None:
    """Write parts that satisfy a protocol as their name and settings, and back.

    Args:
        converter: gets the rules.
        protocol: the type of the fields that hold such parts.
        registry: knows the names; `module:Class` is the name of a class without one.
        trust: import a module that only the JSON names.
        unnamed: built-in classes that are written without a name; None: there are none.
    """

    def to_json(part: object) -> dict[str, object]:
        assert is_dataclass(part)
        hints = get_type_hints(type(part))
        settings = {}
        for one in fields(part):
            value = getattr(part, one.name)
            if not one.metadata.get("of_model"):  # parts inside a part carry their names too
                settings[one.name] = converter.unstructure(value, unstructure_as=hints[one.name])
            elif value != one.default:
                raise UserError(
                    f"{type(part).__name__}.{one.name} is part of a model, which no file holds; "
                    "leave it out, so that the model beside the file gives it"
                )
        if unnamed is not None and type(part) in unnamed.kinds:
            return settings
        return {"name": registry.name_of(part), **settings}

    def from_json(data: object, _kind: type) -> object:
        if isinstance(data, dict) and "name" not in data and unnamed is not None:
            return converter.structure(data, unnamed.choose(data))
        if not isinstance(data, dict) or not isinstance(data.get("name"), str):
            raise ValueError(f"{registry.title} needs a name")
        name = data["name"]
        if not trust:
            registry.require_named(name)
        settings = {key: value for key, value in data.items() if key != "name"}
        found = cast(type, registry.get(name))
        if is_dataclass(found):
            held = {one.name for one in fields(found) if one.metadata.get("of_model")}
            if held & settings.keys():
                raise ValueError(f"{name} has a {min(held & settings.keys())}, which no file holds")
        return converter.structure(settings, found)

    converter.register_unstructure_hook_func(lambda kind: kind is protocol, to_json)
    converter.register_structure_hook_func(lambda kind: kind is protocol, from_json)


def problems(error: BaseValidationError | ForbiddenExtraKeysError) -> str:
    """Say which fields are wrong, and how."""
    return "; ".join(cattrs.transform_error(error, format_exception=_problem))


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:_MOST_DIGITS]} is too large")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is there twice")
    return content


def _check_depth(value: object, text: str) -> None:
    """Refuse deep values and texts with half a character; most texts show at once that they are fine."""
    has_halves = _HALF_CHARACTER.search(text) is not None
    if not has_halves and text.count("[") + text.count("{") <= _DEEPEST:
        return
    level = [value]
    for _ in range(_DEEPEST + 1):
        if has_halves:
            for one in level:
                _require_whole_characters(one)
        level = [
            item
            for one in level
            for item in _items(one)
            if has_halves or isinstance(item, dict | list)
        ]
        if not level:
            return
    raise ValueError("nested too deep")


def _items(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _require_whole_characters(value: object) -> None:
    texts = value if isinstance(value, dict) else [value]
    for text in texts:
        if isinstance(text, str):
            text.encode()  # raises a ValueError


def _plain(value: object, kind: type) -> object:
    """Take a plain value as it is: no text becomes a number, no text becomes true."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{value!r} is no {kind.__name__}")
    return value


def _problem(error: BaseException, kind: object) -> str:
    """Say what is wrong with one field."""
    if isinstance(error, UserError | ValueError) or " not in literal " in str(error):
        return str(error)
    return format_exception(error, cast(type, kind))
