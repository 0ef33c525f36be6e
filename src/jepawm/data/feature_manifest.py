"""`features.json` of a feature cache: which encoder, which frames, how far, hash of the tokens."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import cast

import numpy as np

from jepawm.data.manifest import FileRecord
from jepawm.data.sealed_json import SealedKind, read_sealed, sealed_text
from jepawm.files import write_whole

FEATURES_NAME = "features.json"
TOKEN_DTYPE = "<f2"
REMEDY = "delete the folder and compute it anew"
"""What to do about a damaged cache."""


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
        return sealed_text(asdict(self), kind=_kind())


def _kind() -> SealedKind:
    return SealedKind(
        format="jepawm-features",
        version=1,
        folder="a feature cache",
        names=frozenset(field.name for field in fields(FeatureManifest)),
        remedy=REMEDY,
    )


def read_feature_manifest(folder: Path) -> FeatureManifest:
    """Read and check `features.json` of a cache, complete or unfinished.

    Raises:
        UserError: if it is missing, truncated, altered, or of another format or version.
    """
    content = cast(dict, read_sealed(folder / FEATURES_NAME, kind=_kind()))
    if content["tokens"] is not None:
        content["tokens"] = FileRecord(**content["tokens"])
    return FeatureManifest(**content)


def write_feature_manifest(folder: Path, manifest: FeatureManifest) -> None:
    """Replace the manifest in one step."""
    write_whole(folder / FEATURES_NAME, manifest.to_text())
