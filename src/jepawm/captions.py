"""Sentences about simulator states: places with names, what is said of them, and what is held out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from jepawm.errors import UserError

CaptionSplit = Literal["seen", "paraphrases", "compositions"]
"""`seen`: sentences to learn from; `paraphrases`: the same places in other words; `compositions`:
places whose words were learned, but never together."""
SPLITS: tuple[CaptionSplit, ...] = ("seen", "paraphrases", "compositions")
_INSIDE = 0.1  # part of a box that a plan's aim stays away from each side


@dataclass(frozen=True, kw_only=True)
class Place:
    """A box of states, and what it is called."""

    name: str
    """Its name in tables."""
    low: tuple[float, ...]
    """Lowest value of each number, in the state's units."""
    high: tuple[float, ...]
    """Highest value of each number."""
    dims: tuple[int, ...] = (0, 1)
    """Which numbers of a state these are; the others are free."""
    phrases: tuple[str, ...]
    """What it is called in sentences to learn from."""
    paraphrases: tuple[str, ...]
    """What else it is called; never learned from."""
    held_out: bool = False
    """Whether no sentence about it is learned from, because its words come together nowhere else."""

    def holds(self, states: Float[np.ndarray, "*b S"]) -> Bool[np.ndarray, "*b"]:
        """Return which states `[*b, S]` are in the place."""
        seen = states[..., self.dims]
        inside = (seen >= np.array(self.low)) & (seen <= np.array(self.high))
        return np.asarray(inside.all(-1))

    def distance(self, states: Float[np.ndarray, "*b S"]) -> Float[np.ndarray, "*b"]:
        """Return the squared distance of states `[*b, S]` to the inner part of the place."""
        low, high = np.array(self.low), np.array(self.high)
        margin = _INSIDE * (high - low)
        seen = states[..., self.dims]
        away = np.maximum(low + margin - seen, seen - (high - margin)).clip(0.0)
        return np.asarray((away**2).sum(-1))

    def middle_from(self, start: Sequence[float]) -> tuple[float, ...]:
        """Return the state in the middle of the place whose free numbers are those of `start`."""
        state = list(start)
        for dim, low, high in zip(self.dims, self.low, self.high, strict=True):
            state[dim] = (low + high) / 2
        return tuple(state)


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """A sentence and what it means."""

    text: str
    """The sentence."""
    place: Place
    """Where it is true."""


@dataclass(frozen=True, kw_only=True)
class Captions:
    """All that an environment can say of its states."""

    places: tuple[Place, ...]
    """The places `[M]`."""
    templates: tuple[str, ...]
    """Sentences to learn from, with `{}` for the name of a place."""
    other_templates: tuple[str, ...]
    """Sentences that are never learned from."""

    def sentences(self, split: CaptionSplit) -> list[Instruction]:
        """Return all sentences of a split."""
        unseen = split == "paraphrases"
        return [
            Instruction(text=template.format(phrase), place=place)
            for place in self.places
            if place.held_out == (split == "compositions")
            for phrase in (place.paraphrases if unseen else place.phrases)
            for template in (self.other_templates if unseen else self.templates)
        ]

    def of(
        self,
        states: Float[np.ndarray, "n S"],
        split: CaptionSplit,
        *,
        generator: np.random.Generator,
    ) -> list[str | None]:
        """Draw a true sentence for each state `[n, S]`; None where nothing can be said."""
        known = self.sentences(split)
        drawn: list[str | None] = []
        for state in states:
            true = [one.text for one in known if one.place.holds(state)]
            drawn.append(true[int(generator.integers(len(true)))] if true else None)
        return drawn

    def instructions(
        self,
        starts: Float[np.ndarray, "n S"],
        split: CaptionSplit,
        *,
        generator: np.random.Generator,
    ) -> list[Instruction]:
        """Draw an instruction for each start `[n, S]`, about a place where it is not yet.

        All places are equally likely, then all sentences about the place.
        """
        sentences = self.sentences(split)
        places = list(dict.fromkeys(one.place for one in sentences))
        drawn = []
        for number, start in enumerate(starts):
            free = [place for place in places if not place.holds(start)]
            if not free:
                raise UserError(f"start {number} is in all places that the sentences {split} name")
            place = free[int(generator.integers(len(free)))]
            said = [one for one in sentences if one.place == place]
            drawn.append(said[int(generator.integers(len(said)))])
        return drawn

    def find(self, text: str) -> Instruction | None:
        """Return what a text means, if it is one of the sentences; capital letters do not count."""
        wanted = " ".join(text.lower().split())
        for split in SPLITS:
            for one in self.sentences(split):
                if one.text.lower() == wanted:
                    return one
        return None
