"""What the columns of an action say, and the way between a robot's commands and what a model learns.

A model takes each column in one of three forms. `absolute`: the command as it was recorded.
`relative`: the command, less what the robot's own state shows where the action block begins.
`difference`: the command, less the one before. Of the last two, zero is "hold".
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError
from jaxtyping import Float
from torch import Tensor

from jepawm.errors import UserError
from jepawm.strict_json import problems, strict_converter

Form = Literal["absolute", "relative", "difference"]
"""How a model takes a column of the actions."""
Rest = Literal["repeat", "zero"]
"""What holds a column still: the last command again (a target), or 0 (a motion)."""
_WORDS: Mapping[Form, str] = {
    "absolute": "as recorded",
    "relative": "relative to the proprioception",
    "difference": "as differences from the last command",
}


@dataclass(frozen=True, kw_only=True)
class Commands:
    """The columns of an environment action `[a]`, as the training data show them."""

    forms: tuple[Form, ...]
    """How the model takes each column."""
    follows: tuple[int, ...]
    """Column of the proprioception that shows where each column stands; -1: none does."""
    rest: tuple[Rest, ...]
    """What holds each column still."""
    mean: tuple[float, ...]
    """Mean of the commands themselves."""
    std: tuple[float, ...]
    """Standard deviation of the commands themselves; 0 where they are constant."""
    low: tuple[float, ...]
    """Lowest command."""
    high: tuple[float, ...]
    """Highest command."""
    step: tuple[float, ...]
    """Largest change from one command to the next."""

    def __post_init__(self) -> None:
        """Refuse columns that do not fit together."""
        if len({len(values) for values in vars(self).values()}) != 1:
            raise UserError("the commands have fields of different widths; copy the file again")
        columns = zip(self.forms, self.follows, strict=True)
        if any(form == "relative" and at < 0 for form, at in columns):
            raise UserError("a relative column follows no proprioception; copy the file again")

    @property
    def is_absolute(self) -> bool:
        """Return whether the model takes all columns as they are recorded."""
        return set(self.forms) == {"absolute"}

    def in_words(self) -> str:
        """Return how many columns have which form."""
        counts = Counter(self.forms)
        return ", ".join(
            f"{counts[form]} {words}" for form, words in _WORDS.items() if counts[form]
        )

    def start(
        self, proprio: Float[Tensor, "*b P"] | None, *, otherwise: Float[Tensor, "*b a"] | None
    ) -> Float[Tensor, "*b a"]:
        """Return what counts as the command before the first one.

        Args:
            proprio: the robot's state at the start, environment units; None if there is none.
            otherwise: commands for columns of which the state shows nothing; None refuses those of
                them that are differences.
        """
        shown = self._column(self.follows, proprio)
        if otherwise is None:
            columns = enumerate(zip(self.forms, self.follows, strict=True))
            lost = [
                n for n, (form, at) in columns if form == "difference" and (at < 0 or shown is None)
            ]
            if lost or shown is None:
                raise UserError(
                    f"nothing shows where the robot stands in columns {lost} of its commands; give the "
                    "last command that it followed"
                )
            return shown
        if shown is None:
            return otherwise
        known = torch.tensor([at >= 0 for at in self.follows], device=otherwise.device)
        return torch.where(known, shown.to(otherwise.dtype), otherwise)

    def to_moves(
        self,
        commands: Float[Tensor, "*b R a"],
        *,
        before: Float[Tensor, "*b a"],
        proprio: Float[Tensor, "*b T P"] | None,
    ) -> Float[Tensor, "*b R a"]:
        """Return commands of `T` blocks `[*b, R, a]`, `R = T * frameskip`, as the model takes them.

        Args:
            commands: the commands, environment units.
            before: the command before them.
            proprio: the robot's state where each block begins; None if there is none.
        """
        whole = torch.cat([before[..., None, :], commands], dim=-2)  # [*b, R + 1, a]
        moves = torch.where(self._are("difference", commands), whole.diff(dim=-2), commands)
        shown = self._column(self.follows, proprio)  # [*b, T, a]
        if shown is None:
            return moves
        frameskip = commands.shape[-2] // shown.shape[-2]
        apart = commands - shown.repeat_interleave(frameskip, dim=-2)
        return torch.where(self._are("relative", commands), apart, moves)

    def to_commands(
        self,
        moves: Float[Tensor, "*b R a"],
        *,
        before: Float[Tensor, "*b a"],
        proprio: Float[Tensor, "*b P"] | None,
        frameskip: int,
    ) -> Float[Tensor, "*b R a"]:
        """Return the commands `[*b, R, a]` of moves, environment units.

        After the first block nobody knows the robot's state yet: it counts as standing where the
        block before sent it.

        Args:
            moves: what a model planned, in its own forms and environment units.
            before: the command before them.
            proprio: the robot's state now; None if there is none.
            frameskip: commands of a block.
        """
        carried = before[..., None, :] + moves.cumsum(dim=-2)
        commands = torch.where(self._are("difference", moves), carried, moves)
        shown = self._column(self.follows, proprio)
        if shown is None:
            return commands
        ends = moves[..., frameskip - 1 :: frameskip, :].cumsum(dim=-2)  # [*b, T, a]
        starts = torch.cat([torch.zeros_like(ends[..., :1, :]), ends[..., :-1, :]], dim=-2)
        bases = shown[..., None, :] + starts.repeat_interleave(frameskip, dim=-2)
        return torch.where(self._are("relative", moves), bases + moves, commands)

    def hold(self, last: Float[Tensor, "*b a"]) -> Float[Tensor, "*b a"]:
        """Return the command that holds still after the command `last` `[*b, a]`."""
        moving = torch.tensor([rest == "zero" for rest in self.rest], device=last.device)
        return last.masked_fill(moving, 0.0)

    def to_json(self) -> dict[str, list[str] | list[int] | list[float]]:
        """Return the columns as plain JSON."""
        return {name: list(values) for name, values in asdict(self).items()}

    def _are(self, form: Form, like: Tensor) -> Tensor:
        return torch.tensor([one == form for one in self.forms], device=like.device)

    def _column(self, follows: tuple[int, ...], proprio: Tensor | None) -> Tensor | None:
        """Return the columns of the proprioception that the columns of the action follow."""
        if proprio is None:
            return None
        index = torch.tensor(follows, device=proprio.device).clamp(min=0)
        return proprio.index_select(-1, index)


def plain_commands(
    *, low: Sequence[float], high: Sequence[float], step: Sequence[float], rest: Sequence[Rest]
) -> Commands:
    """Return what is known of commands `[a]` that a model takes as they are, for `Controller`.

    Args:
        low: lowest commands.
        high: highest commands.
        step: largest change from one command to the next.
        rest: what holds each column still: `repeat` a target, or `zero` for a motion.
    """
    if any(least > most for least, most in zip(low, high, strict=False)):
        raise UserError(f"low = {list(low)} is above high = {list(high)}; swap or correct them")
    width = len(low)
    return Commands(
        forms=("absolute",) * width,
        follows=(-1,) * width,
        rest=tuple(rest),
        mean=tuple((least + most) / 2 for least, most in zip(low, high, strict=False)),
        std=(1.0,) * width,
        low=tuple(map(float, low)),
        high=tuple(map(float, high)),
        step=tuple(map(float, step)),
    )


def commands_from_json(data: object, *, source: str) -> Commands:
    """Rebuild what `to_json` returned, read from the file `source`."""
    try:
        return strict_converter().structure(data, Commands)
    except (BaseValidationError, ForbiddenExtraKeysError) as error:
        raise UserError(
            f"{source}: commands are not those of this version: {problems(error)}; copy it again"
        ) from error
    except (TypeError, AttributeError, KeyError) as error:
        raise UserError(f"{source}: commands are no object; copy it again") from error
