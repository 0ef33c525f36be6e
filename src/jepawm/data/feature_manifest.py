"""`features.json` of a feature cache: which encoder, which frames, how far, hash of the tokens."""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from jepawm.data.manifest import FileRecord, content_hash
from jepawm.errors import UserError

FEATURES_NAME = "features.json"
TOKEN_DTYPE = "<f2"
REMEDY = "delete the folder and compute it anew"
"""What to do about a damaged cache."""
_FORMAT = "jepawm-features"
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class FeatureManifest:
    """The content of `features.json`."""

    encoder: dict[str, object]
    """Identity of the encoder, as plain JSON: name, image size, normalisation, hash of weights."""
    store: str
    """Name of the store's folder, for messages."""
    frames_sha256: str
    """SHA-256 of the pixels of the store."""
    num_frames: int
    """Frames of the store, `F`."""
    num_tokens: int
    """Tokens of a frame, `N`."""
    dim: int
    """Width of a token, `D`."""
    num_done: int
    """Frames encoded so far; all of them once the cache is complete."""
    tokens: FileRecord | None
    """Size and hash of `tokens.npy`; None while it is written."""

    @property
    def bytes_per_frame(self) -> int:
        """Return the bytes that the tokens of one frame take."""
        return self.num_tokens * self.dim * np.dtype(TOKEN_DTYPE).itemsize

    def to_text(self) -> str:
        """Return the JSON text, closed by the hash of its own content."""
        content = {"format": _FORMAT, "version": _VERSION, **asdict(self)}
        content["sha256"] = content_hash(content)
        return json.dumps(content, indent=2, allow_nan=False) + "\n"


def read_feature_manifest(folder: Path) -> FeatureManifest:
    """Read and check `features.json` of a cache, complete or unfinished.

    Raises:
        UserError: if it is missing, truncated, altered, or of another format or version.
    """
    path = folder / FEATURES_NAME
    if not path.is_file():
        raise UserError(f"{folder} is no feature cache: it has no {FEATURES_NAME}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is truncated or altered ({error}); {REMEDY}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise UserError(f"{path} is not the manifest of a feature cache; check the folder")
    if content.get("version") != _VERSION:
        raise UserError(
            f"{path} has format version {content.get('version')!r}, this jepawm reads {_VERSION}; "
            f"use the jepawm that wrote it, or {REMEDY}"
        )
    expected = content.pop("sha256", None)
    names = {field.name for field in fields(FeatureManifest)} | {"format", "version"}
    if content_hash(content) != expected or set(content) != names:
        raise UserError(f"{path} was altered: its own hash does not match; {REMEDY}")
    del content["format"], content["version"]
    if content["tokens"] is not None:
        content["tokens"] = FileRecord(**content["tokens"])
    return FeatureManifest(**content)


def write_feature_manifest(folder: Path, manifest: FeatureManifest) -> None:
    """Replace the manifest in one step."""
    aside = folder / f"{FEATURES_NAME}.new"
    with aside.open("w", encoding="utf-8") as file:
        file.write(manifest.to_text())
        file.flush()
        os.fsync(file.fileno())
    aside.replace(folder / FEATURES_NAME)
