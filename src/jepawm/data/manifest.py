"""`manifest.json` of an episode store: counts, statistics, provenance and the hash of each file.

It carries the hash of its own content too (a sealed file), so that an altered one is noticed.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float

from jepawm.errors import UserError
from jepawm.files import content_hash, hash_file

MANIFEST_NAME = "manifest.json"
_REMEDY = "copy the store again or collect it anew"
_HASHED_WHEN_OPENED = 2 * 2**30


@dataclass(frozen=True, kw_only=True)
class FileDigest:
    """What a file of the store must look like."""

    num_bytes: int
    """Size in bytes."""
    sha256: str
    """SHA-256 of the whole file, hexadecimal."""


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Mean and unbiased standard deviation of each column over the whole store, per step."""

    action_mean: list[float]
    """Mean of one environment action `[a]`, padding rows left out."""
    action_std: list[float]
    """Standard deviation of one environment action `[a]`; 0 for a constant column."""
    proprio_mean: list[float] | None
    """Mean of the proprioception `[P]` over all frames; None if there is none."""
    proprio_std: list[float] | None
    """Standard deviation of the proprioception `[P]` over all frames."""


@dataclass(frozen=True, kw_only=True)
class ImportedFrom:
    """Which foreign data set a store was imported from."""

    format: str
    """Name of the format."""
    name: str
    """Name of its folder or file."""
    sha256: str
    """SHA-256 over names and hashes of all its files, hexadecimal."""
    camera: str
    """Camera that was read."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of `manifest.json`."""

    environment: str
    """Name of the environment or robot that the episodes come from."""
    num_episodes: int
    """Number of episodes."""
    num_frames: int
    """Number of frames of all episodes together, `F`."""
    num_actions: int
    """Number of actions of all episodes together, padding left out."""
    image_size: int
    """Height and width of the frames in pixels."""
    pixel_encoding: str
    """How frames are stored: `raw` (uint8 `[F, 3, H, W]` in `pixels.npy`) or `jpeg` (pictures)."""
    action_dim: int
    """Width `a` of one environment action."""
    proprio_dim: int | None
    """Width `P` of the proprioception; None if there is none."""
    state_dim: int | None
    """Width `S` of the simulator state; None if there is none."""
    statistics: Statistics
    """Means and standard deviations."""
    seed: int | None
    """Seed that made the episodes; None if they were recorded."""
    settings: dict[str, object]
    """How the episodes were made, in the words of the program that made them; JSON values."""
    files: dict[str, FileDigest]
    """Size and hash of every other file in the folder."""
    fps: float | None = None
    """Frames per second; None for simulators that have no clock, or where nobody says."""
    source: ImportedFrom | None = None
    """What it was imported from; None for a collection."""

    def to_text(self) -> str:
        """Return the JSON text, closed by the hash of its own content."""
        return sealed_text(asdict(self), kind=_kind())


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
    """Read a sealed file and check it; returns its fields without format, version and hash."""
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


def _kind() -> SealedKind:
    return SealedKind(
        format="jepawm-episodes",
        version=1,
        folder="an episode store",
        names=frozenset(field.name for field in fields(Manifest)),
        later=frozenset({"fps", "source"}),
        remedy=_REMEDY,
    )


def read_manifest(folder: Path) -> Manifest:
    """Read and check `manifest.json` of a store."""
    content = cast(dict, read_sealed(folder / MANIFEST_NAME, kind=_kind()))
    content["statistics"] = Statistics(**content["statistics"])
    if content.get("source") is not None:
        content["source"] = ImportedFrom(**content["source"])
    content["files"] = {name: FileDigest(**digest) for name, digest in content["files"].items()}
    return Manifest(**content)


def digest_file(path: Path) -> FileDigest:
    """Measure and hash a file."""
    return FileDigest(num_bytes=path.stat().st_size, sha256=hash_file(path))


def check_size(path: Path, digest: FileDigest) -> None:
    """Compare the size of a file with its digest."""
    if not path.is_file():
        raise UserError(f"{path} is missing; {_REMEDY}")
    size = path.stat().st_size
    if size != digest.num_bytes:
        word = "truncated" if size < digest.num_bytes else "too long"
        raise UserError(f"{path} is {word}: {size:,} of {digest.num_bytes:,} bytes; {_REMEDY}")


def check_hash(path: Path, digest: FileDigest) -> None:
    """Compare the content of a file with its digest."""
    if hash_file(path) != digest.sha256:
        raise UserError(f"{path} was altered: its SHA-256 is not the recorded one; {_REMEDY}")


def check_opened(path: Path, digest: FileDigest) -> None:
    """Compare a file with its digest when it is opened; above 2 GiB the size alone (1.3 s for 2 GiB)."""
    check_size(path, digest)
    if digest.num_bytes <= _HASHED_WHEN_OPENED:
        check_hash(path, digest)


def column_statistics(rows: Float[np.ndarray, "n d"]) -> tuple[list[float], list[float]]:
    """Return mean `[d]` and unbiased standard deviation `[d]` of rows, computed in float64.

    A single row has standard deviation 0, and so has a constant column, exactly.
    """
    mean = rows.mean(axis=0, dtype=np.float64)
    std = np.zeros_like(mean)
    if len(rows) > 1:
        std = rows.std(axis=0, dtype=np.float64, ddof=1)
    constant = (rows == rows[0]).all(axis=0)  # rounding of the mean would leave about 1e-17
    return mean.tolist(), np.where(constant, 0.0, std).tolist()
