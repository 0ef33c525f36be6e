"""Paths of LeRobot's `meta/info.json`, such as `data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from jepawm.border import inside
from jepawm.errors import UserError, plain_text, show

_NUMBERS = ("chunk_index", "file_index", "episode_chunk", "episode_index")
_TEXTS = ("video_key",)
_DIGITS = re.compile(r"(0?(\d*)d)?")
_WIDEST = 20


@dataclass(frozen=True, kw_only=True)
class Template:
    """The paths of one kind of file."""

    text: str
    """The path, with fields in braces."""
    name: str
    """Name of the entry that says it."""
    file: Path
    """File that says it."""
    root: Path
    """Folder of the data set."""

    def __post_init__(self) -> None:
        """Check the fields: names that are known, and numbers of a sane width."""
        where = f"{self.file}: {self.name}"
        try:
            parts = list(Formatter().parse(self.text))
        except ValueError as error:
            raise UserError(f"{where} is {show(self.text)} ({error}); copy it again") from error
        for _, field, form, conversion in parts:
            if field is None:
                continue
            width = _DIGITS.fullmatch(form or "") if field in _NUMBERS else None
            plain = field in _TEXTS and not form
            if conversion or not (width or plain):
                known = ", ".join((*_NUMBERS, *_TEXTS))
                raise UserError(
                    f"{where} has the field {show(field)} in the form {show(form)}; known are "
                    f"{known}, numbers as :03d"
                )
            digits = (width and width[2]) or "0"
            if len(digits) > len(str(_WIDEST)) or int(digits) > _WIDEST:
                raise UserError(
                    f"{where} claims {plain_text(digits[:40])} bytes for the field {field}, a path "
                    f"has {_WIDEST} at most; copy it again"
                )

    def path(self, fields: Mapping[str, int | str]) -> Path:
        """Return the path that the fields give; refuses one that leads out of the data set."""
        try:
            relative = self.text.format(**fields)
        except KeyError as error:
            raise UserError(
                f"{self.file}: {self.name} has the field {error}, which this version of LeRobot "
                f"does not know, but {', '.join(fields)}; copy it again"
            ) from error
        return inside(self.root, relative, field=self.name, file=self.file)
