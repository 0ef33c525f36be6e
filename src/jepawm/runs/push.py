"""`jepawm push`: a run becomes a repository on the hub, with a model card."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from jepawm.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from jepawm.errors import UserError, plain_text
from jepawm.hub.card import render_card
from jepawm.hub.download import BESIDE, require_hub, split_name
from jepawm.hub.load import bundled_folder
from jepawm.records import require_model

_COPIED = ("experiment.json", "metrics.jsonl", "proposer.jsonl", "results.json")
_Done = TypeVar("_Done")


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What was uploaded."""

    repository: str
    """Repository, `user/name`."""
    address: str
    """Where it is."""
    files: list[str]
    """Its files."""
    load: str
    """What loads it."""


def push_run(
    source: str,
    name: str,
    *,
    private: bool = False,
    license_name: str | None = None,
    overwrite: bool = False,
) -> Pushed:
    """Upload the model of a run, what tells how it was trained, and a model card.

    Args:
        source: run folder, checkpoint folder or bundled name.
        name: repository, `user/name`; it must not exist unless `overwrite`.
        private: show a new repository to nobody else.
        license_name: licence of the weights, as the hub names them (`apache-2.0`, `cc-by-4.0`).
        overwrite: add a commit to a repository that exists.
    """
    require_hub("pushing to the hub")
    from huggingface_hub import HfApi, constants, get_token

    repo, revision = split_name(name)
    if revision is not None:
        raise UserError(f"{name} names a revision; push to user/repo")
    if constants.is_offline_mode():
        raise UserError("HF_HUB_OFFLINE is set; unset it to push")
    if get_token() is None:
        raise UserError(
            "no token of the hub: log in by `hf auth login`, or set HF_TOKEN (one with the right to write)"
        )
    with tempfile.TemporaryDirectory(prefix="jepawm-push-") as place:
        folder = Path(place)
        files = _gather(source, folder, repo=repo, license_name=license_name)
        api = HfApi(endpoint=constants.ENDPOINT)
        _ask(
            lambda: api.create_repo(repo, private=private, exist_ok=overwrite),
            repo=repo,
        )
        _ask(
            lambda: api.upload_folder(
                repo_id=repo, folder_path=folder, commit_message=f"Model of {Path(source).name}"
            ),
            repo=repo,
        )
    return Pushed(
        repository=repo,
        address=f"{constants.ENDPOINT}/{repo}",
        files=files,
        load=f'jepawm.load("hf://{repo}")',
    )


def _gather(source: str, folder: Path, *, repo: str, license_name: str | None) -> list[str]:
    """Write what is uploaded into `folder`; returns the names of the files."""
    run, found = _find(source)
    checkpoint = load_checkpoint(found)
    record = require_model(checkpoint.record, source=found)
    save_checkpoint(folder / "model", replace(checkpoint, training=None))
    for file in (folder / "model").iterdir():
        file.rename(folder / file.name)
    (folder / "model").rmdir()
    for name in BESIDE:
        if find_checkpoint(run / name) is not None:
            save_checkpoint(folder / name, replace(load_checkpoint(run / name), training=None))
    for name in _COPIED:
        if (run / name).is_file():
            shutil.copyfile(run / name, folder / name)
    results = run / "results.json"
    card = render_card(
        record,
        repo=repo,
        results=results if results.is_file() else None,
        license_name=license_name,
        source=str(found),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def _find(source: str) -> tuple[Path, Path]:
    """Return the run and the folder of its checkpoint."""
    for folder in (Path(source) / "checkpoint", Path(source), bundled_folder(source)):
        if folder is not None and find_checkpoint(folder) is not None:
            return (folder.parent if folder.name == "checkpoint" else folder), folder
    raise UserError(
        f"{plain_text(source)} holds no checkpoint to push; give a run, a checkpoint folder or a bundled "
        "name"
    )


def _ask(ask: Callable[[], _Done], *, repo: str) -> _Done:
    """Ask the hub; what it refuses becomes one message."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return ask()
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 409:
            raise UserError(
                f"{repo} exists on the hub; choose another name, or add to it by --overwrite"
            ) from error
        if status in (401, 403):
            raise UserError(
                f"the hub does not let you write to {repo}; check its owner, and that your token may write "
                "(`hf auth login`, HF_TOKEN)"
            ) from error
        raise UserError(
            f"the hub refuses {repo} ({_first_line(error)}); try again later"
        ) from error
    except (HTTPError, OSError) as error:
        raise UserError(
            f"cannot reach the hub ({_first_line(error)}); nothing of the run was changed: push it "
            "again where there is a network"
        ) from error


def _first_line(error: Exception) -> str:
    return plain_text(next(iter(str(error).splitlines()), "") or type(error).__name__)
