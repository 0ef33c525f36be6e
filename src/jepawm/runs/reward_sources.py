"""Where a learned reward learns from: rewards of a store's states, or a file of preferences."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from jepawm.contracts import KnowsRewards
from jepawm.data.episodes import EpisodeStore
from jepawm.data.windows import Windows
from jepawm.envs import RECORDINGS, build_env
from jepawm.errors import UserError, plain_text
from jepawm.files import hash_file
from jepawm.rewards import RewardKind
from jepawm.strict_json import entry, parse_json, read_text
from jepawm.training.rewards import Preferences, RewardData, block_rewards, window_numbers

_NAMES = ("first", "second")


@dataclass(frozen=True, kw_only=True)
class RewardSource:
    """What a reward learns from."""

    rewards: str | None = None
    """Name of a reward, a number of each step."""
    success: str | None = None
    """Name of labels, 0 or 1."""
    preferences: Path | None = None
    """File of preferences, a JSON object a line."""

    @property
    def kind(self) -> RewardKind:
        """Return what it learns from; exactly one must be given."""
        given = {
            "reward": self.rewards,
            "success": self.success,
            "preference": self.preferences,
        }
        kinds: list[RewardKind] = [kind for kind, value in given.items() if value is not None]  # pyright: ignore[reportAssignmentType]
        if len(kinds) != 1:
            raise UserError(
                "say what the reward learns from: one of --rewards NAME, --success NAME and "
                "--preferences FILE"
            )
        return kinds[0]

    @property
    def column(self) -> str | None:
        """Return the name of rewards or labels; None for preferences."""
        return self.rewards or self.success

    def describe(self) -> dict[str, str | None]:
        """Return what a record says of it."""
        if self.preferences is None:
            return {"kind": self.kind, "column": self.column}
        return {"kind": self.kind, "column": None, "sha256": hash_file(self.preferences)}


def known_rewards(store: EpisodeStore, env: str, *, image_size: int) -> dict[str, str]:
    """Return where each reward that there is comes from, by name."""
    found = dict.fromkeys(store.manifest.reward_names or (), "logged")
    if env != RECORDINGS and store.state is not None:
        built = build_env(env, image_size=image_size)
        if isinstance(built, KnowsRewards):
            found = dict.fromkeys(built.reward_names, "states") | found
    return found


def arrival_rewards(
    store: EpisodeStore, env: str, *, name: str, image_size: int
) -> Float[np.ndarray, " F"]:
    """Return the reward `[F]` of arriving at each frame of a store."""
    known = known_rewards(store, env, image_size=image_size)
    if name not in known:
        raise UserError(
            f"{store.path} has no reward {plain_text(name)!r} (there are: {', '.join(known) or 'none'}); "
            "give another name, import data with logged rewards, or an environment that knows some"
        )
    if known[name] == "logged":
        rewards = _logged(store, name)
    else:
        built = build_env(env, image_size=image_size)
        assert isinstance(built, KnowsRewards)
        assert store.state is not None
        rewards = built.reward(name, np.asarray(store.state))
    bad = np.flatnonzero(~np.isfinite(rewards))
    if len(bad):
        episode = int(np.searchsorted(store.starts, bad[0], side="right")) - 1
        raise UserError(
            f"{store.path}: reward {name} is NaN or infinite in episode {episode}, step "
            f"{int(bad[0] - store.starts[episode])} ({len(bad)} in all); repair or leave out these "
            "episodes"
        )
    return rewards


def _logged(store: EpisodeStore, name: str) -> Float[np.ndarray, " F"]:
    """Return logged rewards, those of an action at the frame that it leads to."""
    assert store.rewards is not None
    column = store.rewards[:, (store.manifest.reward_names or []).index(name)]
    arrival = np.roll(column.astype(np.float64), 1)
    arrival[store.starts] = 0.0  # nothing leads to the first frame; no block counts it
    return arrival


def find_targets(windows: Windows, source: RewardSource, *, env: str) -> RewardData:
    """Return what a reward learns from in windows."""
    store = windows.store
    if source.preferences is not None:
        return RewardData(
            windows=windows, preferences=read_preferences(source.preferences, windows=windows)
        )
    assert source.column is not None
    size = store.manifest.image_size
    arrival = arrival_rewards(store, env, name=source.column, image_size=size)
    targets = block_rewards(windows, arrival)
    if source.success is not None and not bool(((targets >= 0) & (targets <= 1)).all()):
        raise UserError(
            f"{source.success} has values from {float(targets.min()):g} to {float(targets.max()):g}, "
            "no labels from 0 to 1; learn from it by --rewards"
        )
    if float(targets.std()) == 0.0:
        raise UserError(
            f"the reward {source.column} is {float(targets[0, 0]):g} everywhere in {store.path}, from "
            "which nothing is learned; collect data in which it varies"
        )
    return RewardData(windows=windows, targets=targets)


def read_preferences(path: Path, *, windows: Windows) -> Preferences:
    """Read preferences between pieces of episodes, one JSON object a line.

    `first` and `second` say where a piece begins, `{"episode": 3, "start": 10}`, and
    `first_is_better` is 1, 0, or 0.5 where neither is.
    """
    places: dict[str, list[tuple[int, int]]] = {name: [] for name in _NAMES}
    better: list[float] = []
    lines = read_text(path, what="file of preferences", remedy="write it again").splitlines()
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        content = parse_json(line, where=where, remedy="write it again")
        if not isinstance(content, dict):
            raise UserError(f"{where} is no JSON object; see docs/goals.md")
        for name in _NAMES:
            piece = entry(content, name, dict, where=where)
            start = entry(piece, "start", int, where=where)
            places[name].append((entry(piece, "episode", int, where=where), start))
        value = entry(content, "first_is_better", float, where=where)
        if not 0.0 <= value <= 1.0:
            raise UserError(f"{where}: first_is_better = {value:g}; give 1, 0, or 0.5")
        better.append(value)
    if not better:
        raise UserError(f"{path} holds no preference; give at least one line")
    return Preferences(
        first=window_numbers(windows, places["first"]),
        second=window_numbers(windows, places["second"]),
        first_is_better=torch.tensor(better),
    )
