"""What the page may ask: plain JSON, read strictly. A message says all; the server remembers nothing."""

import json
import math
from dataclasses import asdict, dataclass
from typing import Literal, NoReturn

from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError

from jepawm.errors import UserError, require_range
from jepawm.strict_json import problems, strict_converter

MOST_BYTES = 65_536
"""Longest message."""
PLANNERS = ("direct", "propose", "fast", "gd", "adam", "cem", "icem", "mppi", "random_shooting")
"""Planners that may be asked for; `gd` is one descent from the mean action, `fast` many."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One question: a task, a planner, and what to do."""

    do: Literal["look", "plan", "execute"]
    """`look`: draw start and goal; `plan`: plan, and show how; `execute`: plan, act, compare."""
    model: str
    """Which model, one of those that the page was given."""
    start: tuple[float, ...]
    """State at the start."""
    goal: tuple[float, ...]
    """State at the goal."""
    planner: str = "fast"
    """Name of the planner."""
    samples: int = 64
    """Candidates of an iteration; of gradient planners, descents."""
    iterations: int = 10
    """Iterations."""
    metric: Literal["l2", "l1"] = "l2"
    """Distance between latents."""
    horizon: int = 6
    """Action blocks of a plan, and of what is executed."""
    replan: bool = False
    """Whether to plan again after every block."""
    noise: float = 0.0
    """Standard deviation of what is added to executed actions, in those of the data."""
    seed: int = 0
    """Seed of planner and noise."""
    budget: float = 0.0
    """Wall seconds of a plan; 0: no limit."""
    landscape: int = 0
    """Points along a side of the slice of the cost; 0: none."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        if self.planner not in PLANNERS:
            raise UserError(f"planner = {self.planner[:40]!r}; known: {', '.join(PLANNERS)}")
        for name in ("start", "goal"):
            values = getattr(self, name)
            if not 1 <= len(values) <= 64 or not all(math.isfinite(one) for one in values):
                raise UserError(f"{name} must have 1 to 64 finite numbers")
        for name, (least, most) in _RANGES.items():
            require_range(self, (name,), where="play", least=least, most=most)


_RANGES: dict[str, tuple[float, float]] = {
    "samples": (2, 512),
    "iterations": (1, 60),
    "horizon": (1, 12),
    "noise": (0, 3),
    "seed": (0, 2**31),
    "budget": (0, 30),
    "landscape": (0, 31),
}


def read_ask(body: bytes) -> Ask:
    """Read a message of the page; anything else than a well-formed one is refused."""
    return _structured(_plain(body))


def read_asks(body: bytes) -> list[Ask]:
    """Read the messages of a play that is to be exported: a list of 1 to 40."""
    content = _plain(body)
    if not isinstance(content, list) or not 1 <= len(content) <= 40:
        raise UserError("give a list of 1 to 40 messages")
    return [_structured(one) for one in content]


def ask_to_json(ask: Ask) -> dict[str, object]:
    """Return a message as plain JSON."""
    return asdict(ask)


def _structured(content: object) -> Ask:
    try:
        return strict_converter().structure(content, Ask)
    except (BaseValidationError, ForbiddenExtraKeysError) as error:
        raise UserError(f"this is no message of the page: {problems(error)}") from error
    except (TypeError, AttributeError, KeyError) as error:
        raise UserError("this is no message of the page") from error


def _plain(body: bytes) -> object:
    if len(body) > MOST_BYTES:
        raise UserError(f"a message has at most {MOST_BYTES} bytes")
    try:
        return json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise UserError("this is no JSON") from error


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
