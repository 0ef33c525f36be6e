"""Fetch files from the Hugging Face hub: resumed where they were cut, checked, kept for offline.

What is checked is that a file is whole: its checksum comes from the server that sent it. Archives of
torch carry checksums of their own, which are compared when they are read.

`$HF_ENDPOINT`, `$HF_TOKEN`, `$HF_HUB_OFFLINE` and `$HF_HOME` count as in huggingface_hub, and a
file that it has in its cache is taken from there. Ours are stored below the data root, in `weights`.
"""

import hashlib
import logging
import re
from pathlib import Path
from urllib.parse import urlparse

from jepawm.errors import UserError, missing_extra
from jepawm.files import data_root, write_whole

_log = logging.getLogger(__name__)

_SHA256, _GIT = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


def fetch(repo: str, name: str, *, by_hand: str) -> Path:
    """Return the path of a file of a repository on the hub; fetch it if it is not in the cache.

    Args:
        repo: repository, `owner/name`.
        name: file in it.
        by_hand: what to do with the file if a person fetches it, for the error message.
    """
    _require_hub()
    from huggingface_hub import try_to_load_from_cache

    path = data_root(None) / "weights" / repo.replace("/", "--") / name
    if path.is_file():
        etag = _etag_file(path)
        _check(path, etag.read_text(encoding="utf-8") if etag.is_file() else "")
        return path
    cached = try_to_load_from_cache(repo, name)
    if isinstance(cached, str):
        _check(Path(cached), Path(cached).resolve().name)  # its cache names files by their hash
        return Path(cached)
    _download(address(repo, name), path, by_hand=by_hand)
    return path


def address(repo: str, name: str) -> str:
    """Return the address of a file on the hub, at the configured endpoint."""
    _require_hub()
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{repo}/resolve/main/{name}"


def _download(url: str, path: Path, *, by_hand: str) -> None:
    from httpx2 import HTTPError
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.constants import is_offline_mode
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import WeakFileLock, build_hf_headers

    advice = f"fetch {path.name} by hand from {url} where there is a network, and {by_hand}"
    if is_offline_mode():
        raise UserError(f"no {path.name} in the cache, and HF_HUB_OFFLINE is set; {advice}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = get_hf_file_metadata(url)
        headers = build_hf_headers()
        if urlparse(metadata.location).netloc != urlparse(url).netloc:
            headers.pop("authorization", None)  # a token is for the hub, not for its file server
        etag = re.sub(r"\W", "", metadata.etag or "")
        part = path.with_name(f"{path.name}.{etag}.part")
        with WeakFileLock(path.with_name(f"{path.name}.lock")), part.open("ab") as file:
            http_get(
                metadata.location,
                file,
                resume_size=file.tell(),
                headers=headers,
                expected_size=metadata.size,
                displayed_filename=path.name,
            )
    except (HTTPError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"cannot fetch {path.name} ({reason}); try again (it continues where it stopped), or "
            f"{advice}"
        ) from error
    _check(part, etag)
    if not _SHA256.fullmatch(etag) and not _GIT.fullmatch(etag):
        etag = _digest(part, "sha256")  # of what came: later damage is noticed
        _log.warning("Its SHA-256 is %s; compare it with one from another source.", etag)
    write_whole(_etag_file(path), etag)
    part.replace(path)


def _check(path: Path, etag: str) -> None:
    """Compare a file with the checksum that the hub calls its entity tag."""
    if _SHA256.fullmatch(etag):
        found = _digest(path, "sha256")
    elif _GIT.fullmatch(etag):
        found = _digest(path, "sha1", f"blob {path.stat().st_size}\0")
    else:
        _log.warning("The server gave no checksum of %s; only its size was checked.", path.name)
        return
    if found != etag:
        path.unlink()
        raise UserError(
            f"{path} has the wrong checksum: {found} instead of {etag}; it was removed, fetch it "
            "again"
        )


def _digest(path: Path, algorithm: str, head: str = "") -> str:
    digest = hashlib.new(algorithm, head.encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _etag_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.etag")


def _require_hub() -> None:
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise missing_extra(
            "fetching released models", error, package="huggingface_hub", extra="hub"
        ) from error
