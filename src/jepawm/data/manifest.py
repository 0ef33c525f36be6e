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

from jepawm.border import inside, require_inside
from jepawm.errors import UserError, show
from jepawm.files import content_hash, hash_file
from jepawm.strict_json import entry, expect, optional_entry, read_json

MANIFEST_NAME = "manifest.json"
_REMEDY = "copy the store again or collect it anew"
_HASHED_WHEN_OPENED = 2 * 2**30
_MOST = 2**48


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
    reward_names: list[str] | None = None
    """Names of the logged rewards, the columns of `rewards.npy`; None if there are none."""
    cameras: list[str] | None = None
    """Names of the cameras, where a frame has a picture of each of several."""

    def to_text(self) -> str:
        """Return the JSON text, closed by the hash of its own content."""
        content = asdict(self)
        if self.cameras is None:  # so that earlier versions read the store
            del content["cameras"]
        return sealed_text(content, kind=_kind())


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
    sealed = cast(dict, _whole({"format": kind.format, "version": kind.version, **content}))
    sealed["sha256"] = content_hash(sealed)
    return json.dumps(sealed, indent=2, allow_nan=False) + "\n"


def _whole(value: object) -> object:
    """Return JSON values whose texts can be read again: half a character becomes its code."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list | tuple) else value


def read_sealed(path: Path, *, kind: SealedKind) -> dict[str, object]:
    """Read a sealed file and check it; returns its fields without format, version and hash."""
    if not path.is_file():
        raise UserError(f"{path.parent} is not {kind.folder}: it has no {path.name}")
    require_inside(path.parent, path, kind="folder")
    content = read_json(path, what="manifest", remedy=kind.remedy)
    if not isinstance(content, dict) or content.get("format") != kind.format:
        raise UserError(f"{path} is not the manifest of {kind.folder}; check the folder")
    if content.get("version") != kind.version:
        raise UserError(
            f"{path} has format version {show(content.get('version'))}, this jepawm reads "
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
        later=frozenset({"fps", "source", "reward_names", "cameras"}),
        remedy=_REMEDY,
    )


def read_manifest(folder: Path) -> Manifest:
    """Read and check `manifest.json` of a store."""
    path = folder / MANIFEST_NAME
    content = read_sealed(path, kind=_kind())
    at = {"where": path, "remedy": _REMEDY}
    action_dim = _count(content, "action_dim", path)
    proprio_dim = _optional_count(content, "proprio_dim", path)
    return Manifest(
        environment=entry(content, "environment", str, **at),
        num_episodes=_count(content, "num_episodes", path),
        num_frames=_count(content, "num_frames", path),
        num_actions=_count(content, "num_actions", path),
        image_size=_count(content, "image_size", path),
        pixel_encoding=entry(content, "pixel_encoding", str, **at),
        action_dim=action_dim,
        proprio_dim=proprio_dim,
        state_dim=_optional_count(content, "state_dim", path),
        statistics=_statistics(
            entry(content, "statistics", dict, **at),
            path,
            action_dim=action_dim,
            proprio_dim=proprio_dim,
        ),
        seed=optional_entry(content, "seed", int, **at),
        settings=entry(content, "settings", dict, **at),
        files=_digests(entry(content, "files", dict, **at), folder),
        fps=_rate(content, path),
        source=_source(optional_entry(content, "source", dict, **at), path),
        reward_names=_names(content, "reward_names", path),
        cameras=_names(content, "cameras", path),
    )


def _count(content: Mapping[str, object], name: str, path: Path) -> int:
    count = entry(content, name, int, where=path, remedy=_REMEDY)
    if not 0 < count < _MOST:
        raise UserError(f"{path}: {name} is {count}; {_REMEDY}")
    return count


def _optional_count(content: Mapping[str, object], name: str, path: Path) -> int | None:
    return None if content.get(name) is None else _count(content, name, path)


def _names(content: Mapping[str, object], field: str, path: Path) -> list[str] | None:
    found = optional_entry(content, field, list, where=path, remedy=_REMEDY)
    if found is None:
        return None
    names = [expect(one, str, where=path, field=field, remedy=_REMEDY) for one in found]
    if not names or len(set(names)) < len(names):
        raise UserError(f"{path}: {field} are not different names; {_REMEDY}")
    return names


def _rate(content: Mapping[str, object], path: Path) -> float | None:
    fps = optional_entry(content, "fps", float, where=path, remedy=_REMEDY)
    if fps is not None and fps < 0:
        raise UserError(f"{path}: fps is {fps:g}, no rate; {_REMEDY}")
    return fps or None  # the first versions wrote 0 where a video does not say


def _statistics(
    content: Mapping[str, object], path: Path, *, action_dim: int, proprio_dim: int | None
) -> Statistics:
    widths = {"action_mean": action_dim, "action_std": action_dim}
    widths |= (
        {} if proprio_dim is None else {"proprio_mean": proprio_dim, "proprio_std": proprio_dim}
    )
    columns = {name: _numbers(content, name, path, width=width) for name, width in widths.items()}
    return Statistics(
        action_mean=columns["action_mean"],
        action_std=columns["action_std"],
        proprio_mean=columns.get("proprio_mean"),
        proprio_std=columns.get("proprio_std"),
    )


def _numbers(content: Mapping[str, object], name: str, path: Path, *, width: int) -> list[float]:
    rows = entry(content, name, list, where=path, remedy=_REMEDY)
    numbers = [expect(one, float, where=path, field=name, remedy=_REMEDY) for one in rows]
    if len(numbers) != width or (name.endswith("_std") and min(numbers, default=0) < 0):
        raise UserError(f"{path}: {name} is not {width} numbers, 0 or more for _std; {_REMEDY}")
    return numbers


def _source(content: Mapping[str, object] | None, path: Path) -> ImportedFrom | None:
    if content is None:
        return None
    names = [field.name for field in fields(ImportedFrom)]
    texts = {name: entry(content, name, str, where=path, remedy=_REMEDY) for name in names}
    return ImportedFrom(**texts)


def _digests(content: Mapping[str, object], folder: Path) -> dict[str, FileDigest]:
    """Check names and digests of files; a name leads nowhere else."""
    path = folder / MANIFEST_NAME
    digests = {}
    for name, value in content.items():
        inside(folder, name, field="files", file=path)
        digests[name] = read_digest(
            expect(value, dict, where=path, field=name, remedy=_REMEDY), path, remedy=_REMEDY
        )
    return digests


def read_digest(content: Mapping[str, object], path: Path, *, remedy: str) -> FileDigest:
    """Read size and hash of a file, as another file says them."""
    return FileDigest(
        num_bytes=entry(content, "num_bytes", int, where=path, remedy=remedy),
        sha256=entry(content, "sha256", str, where=path, remedy=remedy),
    )


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
