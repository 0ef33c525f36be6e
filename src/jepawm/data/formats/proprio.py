"""What a format without names of its own may take as proprioception: said, never guessed."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

from jepawm.errors import plain_text

_LOG = logging.getLogger(__name__)
_WIDEST = 64
"""Most numbers of a column that may be proprioception."""
_VECTOR = re.compile(r"float\d+ \[\d+(?:, (\d+))?\]")
_OTHERS = ("action", "reward", "goal", "done", "terminal", "timeout", "discount")
"""What a column whose name begins so holds is no proprioception."""


def note_candidates(columns: Mapping[str, str], *, where: Path) -> None:
    """Say which columns could be proprioception, where no column has the usual name.

    Args:
        columns: type and shape of each column in words: `float32 [100, 7]`.
        where: the data set, for the message.
    """
    rows = {name: _VECTOR.fullmatch(what) for name, what in columns.items()}
    found = [
        name
        for name, one in rows.items()
        if one and int(one[1] or 1) <= _WIDEST and not name.rpartition("/")[2].startswith(_OTHERS)
    ]
    if found:
        listed = plain_text(",".join(found))
        _LOG.warning("%s: no proprioception; --proprio-key takes some of: %s", where, listed)
