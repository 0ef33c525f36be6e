"""Things that are measured in turns, so that a slow minute slows all."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from time import monotonic
from typing import Any

from child import Child, ChildError

MOST_ROUNDS = 7


@dataclass(kw_only=True)
class Turn:
    """One thing that is measured in turns."""

    child: Child
    """The process."""
    request: dict[str, object]
    """What it is asked for."""
    about: dict[str, Any]
    """What its rows say."""
    seconds: list[float] = field(default_factory=list)
    """Measured so far."""
    last: dict[str, Any] = field(default_factory=dict)
    """The last answer."""


def spread(turn: Turn) -> dict[str, object]:
    """Return seconds, and what the last answer says beside them."""
    last = {k: v for k, v in turn.last.items() if k not in ("seconds", "error")}
    return {
        "seconds_per_plan": median(turn.seconds),
        "seconds_from_to": [min(turn.seconds), max(turn.seconds)],
        "plans_measured": len(turn.seconds),
        **last,
    }


def take_turns(turns: Sequence[Turn], *, until: float) -> None:
    """Measure each once, then again in turns as long as there is time for it.

    All of a turn have the same number of iterations: where the first has fewer than asked for, it
    is measured once.
    """
    for number in range(MOST_ROUNDS):
        for turn in turns if number % 2 == 0 else reversed(turns):
            left = until - monotonic()
            if "error" in turn.last or left < 1.2 * max(turn.seconds, default=0.0) + 1.0:
                continue
            try:
                answer = turn.child.ask({**turn.request, "limit_s": left}, until=until + 20.0)
            except ChildError as error:
                turn.last = {**turn.last, "error": str(error)}
                continue
            if turn.last and answer.get("num_iterations") != turn.last.get("num_iterations"):
                continue
            turn.last = answer
            if "seconds" in answer:
                turn.seconds.append(float(str(answer["seconds"])))
