"""Files and whole models from the Hugging Face hub, by its own library, kept for offline.

What is checked besides is that a file is whole: its checksum comes from the server that sent it.
Archives of torch and checkpoints of this library carry checksums of their own, which are compared when
they are read. `$HF_ENDPOINT`, `$HF_TOKEN`, `$HF_HUB_OFFLINE` and `$HF_HOME` count as they do there.
"""

import hashlib
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from jepawm.errors import UserError, missing_extra, plain_text
from jepawm.files import data_root
from jepawm.hub.heads import FOLDERS
from jepawm.hub.proposers import PROPOSER

_log = logging.getLogger(__name__)

HF = "hf://"
"""What names of models on the hub begin with."""
_SHA256, _GIT = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
BESIDE = (PROPOSER, *FOLDERS.values())
"""Folders beside a checkpoint, for what was trained for its model."""
_PARTS = ("*.json", "*.jsonl", "*.safetensors", *(f"{one}/*" for one in BESIDE), "README.md")
"""What of a repository belongs to a model of this library."""
_Found = TypeVar("_Found")


def fetch(repo: str, name: str, *, by_hand: str) -> Path:
    """Return the path of a file of a repository on the hub; fetch it if it is not in the cache.

    Args:
        repo: repository, `owner/name`.
        name: file in it.
        by_hand: what to do with the file if a person fetches it, for the error message.
    """
    require_hub("fetching released models")
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    earlier = data_root(None) / "weights" / repo.replace("/", "--") / name
    if earlier.is_file():  # where versions before kept files
        return earlier
    cached = try_to_load_from_cache(repo, name)
    if not isinstance(cached, str):
        advice = (
            f"try again, or fetch {name} by hand from {address(repo, name)} where there is a network, "
            f"and {by_hand}"
        )
        cached = _asked(
            lambda: hf_hub_download(repo, name, endpoint=constants.ENDPOINT),
            what=name,
            advice=advice,
        )
    _check(Path(cached))
    return Path(cached)


def fetch_model(source: str) -> Path:
    """Return the folder of a model on the hub, `hf://user/repo` or `hf://user/repo@revision`.

    What is in the cache is used without a network, in the state that was fetched last.
    """
    require_hub("loading models from the hub")
    from huggingface_hub import constants, snapshot_download

    repo, revision = split_name(source)
    where = f"{constants.ENDPOINT}/{repo}"
    advice = (
        f"fetch the files of {where} by hand where there is a network, and give their folder, or "
        f"`hf download {repo}` there and copy the cache ($HF_HOME)"
    )

    found = _asked(
        lambda: snapshot_download(
            repo, revision=revision, allow_patterns=list(_PARTS), endpoint=constants.ENDPOINT
        ),
        what=source,
        advice=advice,
    )
    return Path(found)


def split_name(source: str) -> tuple[str, str | None]:
    """Split `hf://user/repo@revision` into the repository and the revision; None: the newest."""
    name = source.removeprefix(HF)
    if not _REPOSITORY.fullmatch(name) or ".." in name:
        raise UserError(
            f"{plain_text(source)} names no model on the hub; write hf://user/repo, or "
            "hf://user/repo@revision"
        )
    repo, _, revision = name.partition("@")
    return repo, revision or None


def address(repo: str, name: str) -> str:
    """Return the address of a file on the hub, at the configured endpoint."""
    require_hub("fetching released models")
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{repo}/resolve/main/{name}"


def require_hub(what: str) -> None:
    """Refuse to go on without the library of the hub."""
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise missing_extra(what, error, package="huggingface_hub", extra="hub") from error


def _asked(ask: Callable[[], _Found], *, what: str, advice: str) -> _Found:
    """Ask the hub; what it or the network refuses becomes one message."""
    from httpx2 import HTTPError
    from huggingface_hub.constants import is_offline_mode
    from huggingface_hub.errors import (
        EntryNotFoundError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return ask()
    except RepositoryNotFoundError as error:
        raise UserError(
            f"the hub has no {what}, or shows it only to others; check the name, and log in by `hf "
            "auth login` or HF_TOKEN where it is private"
        ) from error
    except LocalEntryNotFoundError as error:
        offline = "HF_HUB_OFFLINE is set" if is_offline_mode() else "the hub cannot be reached"
        raise UserError(f"no {what} in the cache, and {offline}; {advice}") from error
    except (HTTPError, OSError, EntryNotFoundError) as error:
        reason = plain_text(next(iter(str(error).splitlines()), "") or type(error).__name__)
        raise UserError(f"cannot fetch {what} ({reason}); {advice}") from error


def _check(path: Path) -> None:
    """Compare a file of the cache with its name there: the checksum that the hub has of it."""
    blob = path.resolve()
    if _SHA256.fullmatch(blob.name):
        found = _digest(blob, "sha256")
    elif _GIT.fullmatch(blob.name):
        found = _digest(blob, "sha1", f"blob {blob.stat().st_size}\0")
    else:
        _log.warning("The server gave no checksum of %s; only its size was checked.", path.name)
        return
    if found != blob.name:
        for broken in {path, blob}:
            broken.unlink()
        raise UserError(
            f"{path} has the wrong checksum: {found} instead of {blob.name}; it was removed, fetch "
            "it again"
        )


def _digest(path: Path, algorithm: str, head: str = "") -> str:
    digest = hashlib.new(algorithm, head.encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
