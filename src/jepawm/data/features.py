"""A feature cache: the tokens of a frozen encoder for every frame of a store, computed once.

    features.json    which encoder, which frames, how far, and the hash of the tokens
    tokens.npy       float16 [F, N, D], row i for frame i of the store

Row i belongs to frame i, so one cache serves windows of any length and frameskip. While it is
computed the folder is called `<path>.partial`; a computation that was stopped continues there.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from rich.console import Console
from rich.progress import track
from torch import Tensor

from jepawm.border import foreign, require_regular
from jepawm.contracts import Encoder
from jepawm.data.episodes import EpisodeStore
from jepawm.data.manifest import (
    FileDigest,
    SealedKind,
    check_hash,
    check_opened,
    check_size,
    digest_file,
    read_digest,
    read_sealed,
    sealed_text,
)
from jepawm.data.writer import HEADER_BYTES, ArrayFile
from jepawm.errors import UserError
from jepawm.files import (
    partial_path,
    publish_folder,
    require_free,
    require_free_bytes,
    telling_full_disk,
    write_whole,
)
from jepawm.strict_json import entry, optional_entry

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
    tokens: FileDigest | None
    """Size and hash of `tokens.npy`; None while it is written."""
    done_sha256: str | None = None
    """SHA-256 of the rows that are done; None once the cache is complete."""

    @property
    def bytes_per_frame(self) -> int:
        """Return the bytes that the tokens of one frame take."""
        return self.num_tokens * self.dim * np.dtype(TOKEN_DTYPE).itemsize

    def to_text(self) -> str:
        """Return the JSON text, closed by the hash of its own content."""
        content = asdict(self)
        if self.done_sha256 is None:
            del content["done_sha256"]
        return sealed_text(content, kind=_kind())


def _kind() -> SealedKind:
    return SealedKind(
        format="jepawm-features",
        version=1,
        folder="a feature cache",
        names=frozenset(field.name for field in fields(FeatureManifest)),
        later=frozenset({"done_sha256"}),
        remedy=REMEDY,
    )


def read_feature_manifest(folder: Path) -> FeatureManifest:
    """Read and check `features.json` of a cache, complete or unfinished."""
    path = folder / FEATURES_NAME
    content = read_sealed(path, kind=_kind())
    at = {"where": path, "remedy": REMEDY}
    tokens = optional_entry(content, "tokens", dict, **at)
    manifest = FeatureManifest(
        encoder=entry(content, "encoder", dict, **at),
        store=entry(content, "store", str, **at),
        frames_sha256=entry(content, "frames_sha256", str, **at),
        num_frames=entry(content, "num_frames", int, **at),
        num_tokens=entry(content, "num_tokens", int, **at),
        dim=entry(content, "dim", int, **at),
        num_done=entry(content, "num_done", int, **at),
        tokens=None if tokens is None else read_digest(tokens, path, remedy=REMEDY),
        done_sha256=optional_entry(content, "done_sha256", str, **at),
    )
    sizes = (manifest.num_frames, manifest.num_tokens, manifest.dim)
    if min(sizes) < 1 or not 0 <= manifest.num_done <= manifest.num_frames:
        raise UserError(f"{path} was altered: {sizes} is no shape of tokens; {REMEDY}")
    return manifest


def write_feature_manifest(folder: Path, manifest: FeatureManifest) -> None:
    """Replace the manifest in one step."""
    write_whole(folder / FEATURES_NAME, manifest.to_text())


_TOKENS_NAME = "tokens.npy"
_BATCH = 32
"""Frames encoded at a time."""
_PIECE = 2**24
_FLUSH_EVERY = 256
"""Frames between two notes of the progress of the computation; a multiple of the batch."""
_LOG = logging.getLogger(__name__)


@runtime_checkable
class TokenSource(Protocol):
    """What gives the tokens of frames without looking at pixels."""

    def tokens(self, rows: Int64[np.ndarray, "*b"]) -> Float[Tensor, "*b N D"]:
        """Return the tokens `[*b, N, D]` of the frames at rows `[*b]` of the whole store."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptTokens:
    """Tokens of all frames of a store, in memory."""

    array: Float[Tensor, "F N D"]
    """Row i for frame i."""

    def tokens(self, rows: Int64[np.ndarray, "*b"]) -> Float[Tensor, "*b N D"]:
        """Return the tokens `[*b, N, D]` of the frames at rows `[*b]` of the whole store."""
        return self.array[torch.from_numpy(rows)]


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureStore:
    """A complete feature cache, opened for reading."""

    path: Path
    """The folder."""
    manifest: FeatureManifest
    """What it was computed from."""
    array: Float[np.ndarray, "F N D"]
    """Tokens of all frames, float16, memory-mapped and read-only."""

    def tokens(self, rows: Int64[np.ndarray, "*b"]) -> Float[Tensor, "*b N D"]:
        """Read the tokens `[*b, N, D]`, float16, of the frames at rows `[*b]` of the whole store."""
        return torch.from_numpy(np.take(self.array, rows, axis=0))

    def require_frames_of(self, store: EpisodeStore) -> None:
        """Check that the cache was computed from the frames of `store`."""
        _require_same_frames(self.path, self.manifest, frames_hash(store), store=store.path)

    def verify(self) -> None:
        """Compare the tokens with their recorded size and hash (about 1 s per GB)."""
        assert self.manifest.tokens is not None
        check_size(self.path / _TOKENS_NAME, self.manifest.tokens)
        check_hash(self.path / _TOKENS_NAME, self.manifest.tokens)


def open_features(path: Path) -> FeatureStore:
    """Open a complete cache and check size and hash; above 2 GiB the size alone."""
    if not path.is_dir():
        unfinished = (
            f"; {partial_path(path).name} is unfinished" if partial_path(path).exists() else ""
        )
        raise UserError(f"there is no feature cache at {path}{unfinished}; compute it")
    manifest = read_feature_manifest(path)
    file = path / _TOKENS_NAME
    if manifest.tokens is None:
        raise UserError(f"{path} is an unfinished feature cache; {REMEDY}")
    check_opened(file, manifest.tokens)
    with foreign(file, "array of features"):
        array = np.lib.format.open_memmap(file, mode="r")
    shape = (manifest.num_frames, manifest.num_tokens, manifest.dim)
    if array.shape != shape or array.dtype.str != TOKEN_DTYPE:
        raise UserError(
            f"{file} holds {array.dtype} {array.shape}, its manifest says float16 {shape}; {REMEDY}"
        )
    return FeatureStore(path=path, manifest=manifest, array=array.view(np.ndarray))


def compute_features(
    store: EpisodeStore,
    encoder: Encoder,
    *,
    identity: Mapping[str, object],
    path: Path,
    device: torch.device,
    require_same: Callable[[object, str], None],
    console: Console | None = None,
) -> FeatureStore:
    """Encode every frame of a store into a new cache at `path`, or continue where it was stopped.

    Args:
        store: the frames.
        encoder: a frozen encoder, on `device`.
        identity: what distinguishes it from others, as plain JSON.
        path: folder to create.
        device: where the encoder is.
        require_same: takes the identity in an unfinished cache and its path, and raises a UserError
            if it is another encoder's.
        console: where progress is shown; None means stderr.
    """
    require_free(path)
    manifest = FeatureManifest(
        encoder=dict(identity),
        store=store.path.name,
        frames_sha256=frames_hash(store),
        num_frames=store.manifest.num_frames,
        num_tokens=encoder.num_tokens,
        dim=encoder.dim,
        num_done=0,
        tokens=None,
    )
    folder = partial_path(path)
    if (folder / FEATURES_NAME).exists():
        found = _found_unfinished(folder, store=store, require_same=require_same)
        if (found.num_frames, found.num_tokens, found.dim) != (
            manifest.num_frames,
            manifest.num_tokens,
            manifest.dim,
        ):
            raise UserError(f"{folder} holds tokens of another shape; {REMEDY}")
        manifest = found
        _LOG.warning("continuing %s: %d frames are there", folder, manifest.num_done)
    missing = manifest.bytes_per_frame * (manifest.num_frames - manifest.num_done)
    require_free_bytes(path, num_bytes=missing)
    _LOG.info("%s: %d frames x %d bytes", path, manifest.num_frames, manifest.bytes_per_frame)
    with telling_full_disk(path, num_bytes=missing):
        folder.mkdir(parents=True, exist_ok=True)
        if manifest.num_done == 0:
            (folder / _TOKENS_NAME).unlink(missing_ok=True)
        for part in track(
            _encode_all(store, encoder, folder, manifest=manifest, device=device),
            description=f"features of {store.path.name}",
            total=-(-(manifest.num_frames - manifest.num_done) // _FLUSH_EVERY),
            console=console or Console(stderr=True),
        ):
            write_feature_manifest(folder, part)
        digest = digest_file(folder / _TOKENS_NAME)
        write_feature_manifest(
            folder,
            replace(manifest, num_done=manifest.num_frames, tokens=digest, done_sha256=None),
        )
        publish_folder(folder, path)
    return open_features(path)


def frames_hash(store: EpisodeStore) -> str:
    """Return the recorded SHA-256 of the pixels of a store."""
    return store.manifest.files["pixels.npy"].sha256


@torch.no_grad()
def _encode_all(
    store: EpisodeStore,
    encoder: Encoder,
    folder: Path,
    *,
    manifest: FeatureManifest,
    device: torch.device,
) -> Iterator[FeatureManifest]:
    """Append the tokens that are missing; gives the manifest whenever a piece is on the disk."""
    done = manifest.num_done
    rows_hash = _hash_of_done(folder, manifest)
    file = ArrayFile(
        folder / _TOKENS_NAME,
        row_shape=(manifest.num_tokens, manifest.dim),
        dtype=TOKEN_DTYPE,
        keep_rows=done or None,
    )
    with closing(file):  # the length in its header is right even if this stops half-way
        for start in range(done, manifest.num_frames, _BATCH):
            rows = np.arange(start, min(start + _BATCH, manifest.num_frames))
            pixels = torch.from_numpy(store.frames(rows)).to(device)
            tokens = encoder(pixels).half().cpu()
            if not bool(tokens.isfinite().all()):
                raise UserError(
                    f"{store.path}: tokens of frames {rows[0]} to {rows[-1]} are beyond float16; "
                    "train without a feature cache (data.feature_cache None)"
                )
            file.append(tokens.numpy())
            rows_hash.update(tokens.numpy().tobytes())
            if file.num_rows % _FLUSH_EVERY == 0 or file.num_rows == manifest.num_frames:
                file.flush()
                yield replace(manifest, num_done=file.num_rows, done_sha256=rows_hash.hexdigest())


def _hash_of_done(folder: Path, manifest: FeatureManifest) -> "hashlib._Hash":
    """Hash the rows that are there, and compare them with what was noted of them."""
    found = hashlib.sha256()
    file = folder / _TOKENS_NAME
    if manifest.num_done == 0:
        return found
    require_regular(file, REMEDY)
    left = manifest.num_done * manifest.bytes_per_frame
    with file.open("rb") as stream:
        stream.seek(HEADER_BYTES)
        while left and (piece := stream.read(min(left, _PIECE))):
            found.update(piece)
            left -= len(piece)
    if left == 0 and found.hexdigest() != manifest.done_sha256:
        raise UserError(f"{file} was altered while the cache was unfinished; {REMEDY}")
    return found


def _found_unfinished(
    folder: Path, *, store: EpisodeStore, require_same: Callable[[object, str], None]
) -> FeatureManifest:
    """Return the progress of an unfinished cache of the same encoder and frames."""
    manifest = read_feature_manifest(folder)
    if manifest.num_done and manifest.done_sha256 is None:
        _LOG.warning(
            "%s was begun by an older version, which noted no hash; it begins anew", folder
        )
        manifest = replace(manifest, num_done=0)
    require_same(manifest.encoder, f"the unfinished feature cache {folder}")
    _require_same_frames(folder, manifest, frames_hash(store), store=store.path)
    return manifest


def _require_same_frames(
    path: Path, manifest: FeatureManifest, frames_sha256: str, *, store: Path
) -> None:
    if manifest.frames_sha256 != frames_sha256:
        raise UserError(
            f"feature cache {path} was computed from the frames of the store {manifest.store!r} "
            f"(pixels {manifest.frames_sha256[:12]}), not of {store} (pixels "
            f"{frames_sha256[:12]}); give the cache of this store, or another folder to compute it in"
        )
