"""Find what the columns of recorded actions say: targets or motions, and the form that makes them smallest."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64

from jepawm.commands import Commands, Form, Rest
from jepawm.data.episodes import EpisodeStore
from jepawm.data.manifest import Statistics
from jepawm.errors import UserError
from jepawm.normalizer import Normalizer

Asked = Literal["auto", Form]
"""A form, or the one that the data makes smallest."""
_FOLLOWS = 0.5
"""A column follows the state that it is nearer to than this part of its own standard deviation."""
_MOVES, _SURELY_MOVES = 0.5, 0.8
"""Correlation with a change of the state from which a column that follows none, or any column, is a motion."""
_MOST_ROWS = 200_000
"""Rows that are looked at, evenly spaced."""
_FEW_ROWS = 20_000
"""Rows on which every column is compared with every column of the state."""


def with_forms(
    statistics: Normalizer,
    store: EpisodeStore,
    *,
    asked: Sequence[Asked],
    num_episodes: int,
    frameskip: int,
) -> Normalizer:
    """Return the statistics of the actions in the forms that the model takes them in.

    In a form other than `absolute` the mean is 0, which is "hold", and the standard deviation the
    root mean square. With `auto`, motions and choices stay as they are recorded.

    Args:
        statistics: those of the actions as they are recorded.
        store: the recordings.
        asked: the form of all columns, or of each; `auto` takes the one that is smallest.
        num_episodes: episodes that count, from the first.
        frameskip: actions of a block.
    """
    width = store.actions.shape[1]
    if len(asked) not in (1, width):
        raise UserError(
            f"data.actions has {len(asked)} forms, and the actions of {store.path} {width} columns; "
            "give one for all, or one for each"
        )
    if store.proprio is None and "relative" in asked:
        raise UserError(
            f"data.actions asks for actions relative to the proprioception, and {store.path} has none; "
            "choose difference or absolute"
        )
    plain = store.statistics(num_episodes=num_episodes)
    looked = _Look(store, num_episodes=num_episodes, frameskip=frameskip)
    commands, sizes = _find(looked, plain, wanted=list(asked) * (width // len(asked)))
    found = replace(statistics, commands=commands)
    if commands.is_absolute:
        return found
    means = zip(commands.forms, plain.action_mean, strict=True)
    own = Normalizer.from_statistics(
        action_mean=[mean if form == "absolute" else 0.0 for form, mean in means],
        action_std=[float(sizes[form][column]) for column, form in enumerate(commands.forms)],
    )
    return replace(found, action_mean=own.action_mean, action_std=own.action_std)


def _find(
    looked: "_Look", plain: Statistics, *, wanted: Sequence[Asked]
) -> tuple[Commands, dict[Form, np.ndarray]]:
    """Return what the columns say, and how large each would be in each form."""
    std = np.array(plain.action_std)
    nearest, apart = looked.nearest()
    motion = looked.correlation_with_changes()
    follows = np.where((apart < _FOLLOWS * std) & (motion <= _SURELY_MOVES), nearest, -1)
    moves = (motion > _SURELY_MOVES) | ((follows < 0) & (motion > _MOVES))
    sizes: dict[Form, np.ndarray] = {
        "difference": looked.size_of_differences(),  # first: what never changes is held
        "absolute": std,
        "relative": looked.size_from(nearest),
    }
    as_they_are = moves | looked.is_discrete
    forms: list[Form] = [
        one if one != "auto" else _smallest(sizes, column) if not kept else "absolute"
        for column, (one, kept) in enumerate(zip(wanted, as_they_are.tolist(), strict=True))
    ]
    relative = np.array([form == "relative" for form in forms])
    rest: list[Rest] = ["zero" if one else "repeat" for one in moves.tolist()]
    commands = Commands(
        forms=tuple(forms),
        follows=tuple(np.where(relative, nearest, follows).tolist()),
        rest=tuple(rest),
        mean=tuple(plain.action_mean),
        std=tuple(plain.action_std),
        low=tuple(looked.commands.min(axis=0).astype(np.float64).tolist()),
        high=tuple(looked.commands.max(axis=0).astype(np.float64).tolist()),
        step=tuple(looked.largest_change().tolist()),
    )
    return commands, sizes


def _smallest(sizes: dict[Form, np.ndarray], column: int) -> Form:
    return min(sizes, key=lambda form: sizes[form][column])


class _Look:
    """Recorded commands beside the states that they were given in, evenly spaced rows of them."""

    def __init__(self, store: EpisodeStore, *, num_episodes: int, frameskip: int) -> None:
        lengths = store.num_actions[:num_episodes]
        starts = store.starts[:num_episodes]
        rows = np.concatenate(
            [np.arange(at, at + count) for at, count in zip(starts, lengths, strict=True)]
        )
        self._left = np.concatenate([np.arange(count, 0, -1) for count in lengths])
        later = np.concatenate([np.arange(count) > 0 for count in lengths])
        self._rows, self._frameskip = rows, frameskip
        self._later: Int64[np.ndarray, " n"] = rows[later]
        self._store = store
        self.is_discrete = bool(store.manifest.settings.get("discrete_actions"))
        self.commands: Float[np.ndarray, "n a"] = np.take(store.actions, rows, axis=0)

    def nearest(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest column of the state of each column `[a]`, and how far it is."""
        width = self.commands.shape[1]
        if self._store.proprio is None:
            return np.full(width, -1), np.full(width, np.inf)
        rows = _spaced(self._rows, _FEW_ROWS)
        actions, states = self._at(rows), np.take(self._store.proprio, rows, axis=0)
        apart = np.stack([_size(actions - state[:, None]) for state in states.T])  # [P, a]
        return apart.argmin(axis=0), apart.min(axis=0)

    def correlation_with_changes(self) -> np.ndarray:
        """Return the largest correlation of each column `[a]` with what a state does next."""
        states = self._store.proprio
        rows = _spaced(self._rows[self._left > 1], _FEW_ROWS)
        if states is None or len(rows) < 2:
            return np.zeros(self.commands.shape[1])
        changes = np.take(states, rows + 1, axis=0) - np.take(states, rows, axis=0)
        return (_standard(changes).T @ _standard(self._at(rows)) / len(rows)).max(axis=0)

    def size_of_differences(self) -> np.ndarray:
        """Return the root mean square `[a]` of the change from one command to the next."""
        return _size(self._changes(_spaced(self._later, _MOST_ROWS)))

    def largest_change(self) -> np.ndarray:
        """Return the largest change `[a]` from one command to the next."""
        return np.abs(self._changes(self._later)).max(axis=0, initial=0.0)

    def size_from(self, columns: np.ndarray) -> np.ndarray:
        """Return the root mean square `[a]` of commands less the state where their block begins."""
        states = self._store.proprio
        if states is None:
            return np.full(self.commands.shape[1], np.inf)
        whole = _spaced(self._rows[self._left >= self._frameskip], _MOST_ROWS // self._frameskip)
        if len(whole) == 0:
            return np.full(self.commands.shape[1], np.inf)
        shown = np.take(states, whole, axis=0)[:, columns]
        apart = [self._at(whole + later) - shown for later in range(self._frameskip)]
        return _size(np.concatenate(apart))

    def _changes(self, rows: np.ndarray) -> np.ndarray:
        return self._at(rows) - self._at(rows - 1)

    def _at(self, rows: np.ndarray) -> np.ndarray:
        return np.take(self._store.actions, rows, axis=0).astype(np.float64)


def _spaced(rows: np.ndarray, most: int) -> np.ndarray:
    if len(rows) <= most:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, most, dtype=torch.float64).long().numpy()]


def _size(values: np.ndarray) -> np.ndarray:
    """Return the root mean square of each column; infinite where there are no rows."""
    if len(values) == 0:
        return np.full(values.shape[1], np.inf)
    return np.sqrt(np.square(values).mean(axis=0))


def _standard(values: np.ndarray) -> np.ndarray:
    """Return columns of mean 0 and standard deviation 1; constant ones become 0."""
    values = values.astype(np.float64)
    std = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(std > 0, std, 1.0)
