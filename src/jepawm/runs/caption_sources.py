"""Which sentences are true of which frames of a store: by simulator states, or by recorded tasks."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import torch

from jepawm.captions import SPLITS, Captions, CaptionSplit
from jepawm.contracts import KnowsCaptions
from jepawm.data.episodes import EpisodeStore
from jepawm.data.windows import Windows
from jepawm.envs import RECORDINGS, build_env
from jepawm.errors import UserError, plain_text
from jepawm.records import JsonValue
from jepawm.training.texts import Captioned

_DONE = 0.8
"""Part of an episode after which the task that it was recorded for counts as done."""


@dataclass(frozen=True, kw_only=True)
class CaptionSource:
    """Where the sentences about a store come from."""

    kind: str
    """`captions` of an environment, or `tasks` of recordings."""
    captions: Captions | None
    """What the environment can say; None for tasks."""

    def of(self, windows: Windows, split: CaptionSplit) -> Captioned | None:
        """Return pieces of experience with the sentences of a split; None where there are none."""
        if self.captions is not None:
            return _from_states(windows, self.captions, split)
        return _from_tasks(windows) if split == "seen" else None

    def describe(self, data: Captioned) -> dict[str, JsonValue]:
        """Return what a record says of it."""
        text = json.dumps(data.sentences, separators=(",", ":"))
        return {
            "kind": self.kind,
            "sentences": len(data.sentences),
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
        }


def find_captions(store: EpisodeStore, env: str, *, image_size: int) -> CaptionSource:
    """Return where captions of a store come from; the environment's states go before tasks."""
    if env != RECORDINGS and store.state is not None:
        built = build_env(env, image_size=image_size)
        if isinstance(built, KnowsCaptions):
            return CaptionSource(kind="captions", captions=built.captions)
    tasks = sorted({task for task in store.tasks if task.strip()})
    if len(tasks) > 1:
        return CaptionSource(kind="tasks", captions=None)
    found = (
        f"its episodes all have the task {plain_text(tasks[0])!r}" if tasks else "it has no tasks"
    )
    raise UserError(
        f"{store.path} has no captions: the environment {plain_text(env)} says nothing of its states, and "
        f"{found}; import recordings with several tasks, or give the environment `captions` "
        "(contracts.KnowsCaptions)"
    )


def known_captions(env: object, *, name: str) -> Captions:
    """Return what an environment can say; one that says nothing is refused."""
    if not isinstance(env, KnowsCaptions):
        raise UserError(
            f"the environment {plain_text(name)} has no captions, so nobody knows what a text means there; "
            "give it `captions` (contracts.KnowsCaptions)"
        )
    return env.captions


def _from_states(windows: Windows, captions: Captions, split: CaptionSplit) -> Captioned | None:
    sentences = captions.sentences(split)
    if not sentences:
        return None
    assert windows.store.state is not None
    states = np.asarray(windows.store.state)
    places = list(dict.fromkeys(one.place for one in sentences))
    holds = np.stack([place.holds(states) for place in places], axis=1)  # [F, M]
    return Captioned(
        windows=windows,
        sentences=tuple(one.text for one in sentences),
        meanings=torch.tensor([places.index(one.place) for one in sentences]),
        holds=torch.from_numpy(holds),
    )


def _from_tasks(windows: Windows) -> Captioned:
    """Say the task of an episode of its last part, where it is done."""
    store = windows.store
    tasks = sorted({task for task in store.tasks if task.strip()})
    holds = np.zeros((int(store.lengths.sum()), len(tasks)), dtype=np.bool_)
    for task, start, length in zip(store.tasks, store.starts, store.lengths, strict=True):
        if task in tasks:
            holds[start + int(_DONE * length) : start + length, tasks.index(task)] = True
    return Captioned(
        windows=windows,
        sentences=tuple(tasks),
        meanings=torch.arange(len(tasks)),
        holds=torch.from_numpy(holds),
    )


__all__ = ["SPLITS", "CaptionSource", "find_captions", "known_captions"]
