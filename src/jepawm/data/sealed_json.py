"""JSON files that carry the hash of their own content, so that an altered one is noticed."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jepawm.errors import UserError


@dataclass(frozen=True, kw_only=True)
class SealedKind:
    """One kind of sealed file, and what messages say about it."""

    format: str
    """Name of the format, the field `format`."""
    version: int
    """Version of the format, the field `version`."""
    folder: str
    """What the folder of the file is, with its article: `an episode store`."""
    names: frozenset[str]
    """Names of the other fields."""
    later: frozenset[str] = frozenset()
    """Those of them that the first files did not have."""
    remedy: str
    """What to do about a damaged file."""


def sealed_text(content: Mapping[str, object], *, kind: SealedKind) -> str:
    """Return the JSON text of a file, closed by the hash of its own content."""
    sealed = {"format": kind.format, "version": kind.version, **content}
    sealed["sha256"] = content_hash(sealed)
    return json.dumps(sealed, indent=2, allow_nan=False) + "\n"


def read_sealed(path: Path, *, kind: SealedKind) -> dict[str, object]:
    """Read a sealed file and check it; returns its fields without format, version and hash.

    Raises:
        UserError: if it is missing, truncated, altered, or of another format or version.
    """
    if not path.is_file():
        raise UserError(f"{path.parent} is not {kind.folder}: it has no {path.name}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is truncated or altered ({error}); {kind.remedy}") from error
    if not isinstance(content, dict) or content.get("format") != kind.format:
        raise UserError(f"{path} is not the manifest of {kind.folder}; check the folder")
    if content.get("version") != kind.version:
        raise UserError(
            f"{path} has format version {content.get('version')!r}, this jepawm reads "
            f"{kind.version}; use the jepawm that wrote it, or {kind.remedy}"
        )
    expected = content.pop("sha256", None)
    found = set(content) - {"format", "version"}
    if content_hash(content) != expected or not kind.names - kind.later <= found <= kind.names:
        raise UserError(f"{path} was altered: its own hash does not match; {kind.remedy}")
    del content["format"], content["version"]
    return content


def content_hash(content: Mapping[str, object]) -> str:
    """Return the SHA-256 of JSON values, whatever the order of their names."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
