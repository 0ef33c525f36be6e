"""Where episodes end in a file that holds many of them, one row after the other.

OGBench and D4RL mark the last step of each (`terminals`, `timeouts`), Diffusion Policy keeps the
ends (`episode_ends`), others a number of the episode in each row. Windows must not cross these.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from jepawm.errors import UserError

_LAST = (
    "terminals",
    "terminal",
    "timeouts",
    "timeout",
    "dones",
    "done",
    "terminations",
    "terminated",
    "truncations",
    "truncated",
    "is_last",
    "is_terminal",
)
_FIRST = ("is_first", "episode_starts")
_ENDS = ("episode_ends", "episode_end", "traj_ends")
_LENGTHS = ("episode_lengths", "traj_lengths", "trajectory_lengths", "seq_lengths", "ep_len")
_LABELS = ("episode_index", "episode_id", "episode", "traj_id", "trajectory_id", "ep_idx")
BORDERS = (*_LAST, *_FIRST, *_ENDS, *_LENGTHS, *_LABELS)
"""Names of arrays that say where episodes begin or end."""


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """The episodes of a file."""

    rows: tuple[slice, ...]
    """Rows of each."""
    names: tuple[str, ...]
    """Arrays that say so."""


def find_pieces(arrays: Mapping[str, np.ndarray], *, file: Path) -> Pieces | None:
    """Return the episodes that the arrays named in `BORDERS` tell of; None if there are none.

    What two arrays say is joined: an episode ends where either says so.
    """
    found: dict[str, tuple[int, set[int]]] = {}
    for name, array in arrays.items():
        values = np.asarray(array).reshape(-1)
        if name in BORDERS and (values.size > 1 or name in (*_ENDS, *_LENGTHS)):
            found[name] = _borders(name, values, file=file)
    if not found:
        return None
    counts = {name: count for name, (count, _) in found.items()}
    num_rows = max(counts.values())
    for name, count in counts.items():
        if count != num_rows:
            others = ", ".join(one for one in counts if one != name)
            raise UserError(
                f"{file}: {name} counts {count} rows, {others} {num_rows}; repair one of them"
            )
    borders = sorted({0, num_rows}.union(*(places for _, places in found.values())))
    rows = tuple(slice(start, end) for start, end in pairwise(borders))
    return Pieces(rows=rows, names=tuple(found))


def _borders(name: str, values: np.ndarray, *, file: Path) -> tuple[int, set[int]]:
    """Return the number of rows that an array counts, and the rows at which episodes begin."""
    where = f"{file}: {name}"
    if name in _LABELS:
        return len(values), set((np.flatnonzero(values[1:] != values[:-1]) + 1).tolist())
    if values.dtype.kind not in "biuf" or not np.isfinite(values.astype(float)).all():
        raise UserError(f"{where} holds {values.dtype}, it does not say where episodes end")
    if name in (*_LAST, *_FIRST):
        if not np.isin(values, (0, 1)).all():
            raise UserError(f"{where} holds more than 0 and 1; it has to mark ends of episodes")
        marked = np.flatnonzero(values) + (name in _LAST)
        return len(values), set(marked.tolist()) - {0, len(values)}
    whole = values.astype(np.int64)
    ends = np.cumsum(whole) if name in _LENGTHS else whole[1:] if whole[:1] == 0 else whole
    if (whole != values).any() or not len(ends) or np.diff(ends, prepend=0).min() < 1:
        raise UserError(f"{where} does not rise row by row; it has to say where episodes end")
    return int(ends[-1]), set(ends[:-1].tolist())
