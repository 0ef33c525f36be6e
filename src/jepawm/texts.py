"""Goals in words, and the settings of what is trained for them; free of torch, so that help is quick."""

from collections.abc import Sequence
from dataclasses import dataclass

from jepawm.errors import UserError, require_range


@dataclass(frozen=True)
class Text:
    """A goal in words: one text for all tasks of a batch, or one for each."""

    text: str | Sequence[str]
    """What is wanted, as "the lower left corner"."""

    def __post_init__(self) -> None:
        """Refuse what says nothing."""
        require_words(self.texts)

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the texts; one stands for all tasks."""
        return (self.text,) if isinstance(self.text, str) else tuple(self.text)


def require_words(texts: Sequence[str]) -> None:
    """Refuse texts that are none, or empty."""
    if not texts:
        raise UserError("there is no text; give one for all tasks, or one for each")
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(f"text {number} is a {type(text).__name__}; give a text")
        if not text.strip():
            raise UserError(f"text {number} is empty; say in words what is to be reached")


@dataclass(frozen=True, kw_only=True)
class TextHeadConfig:
    """Sizes of the map from latents to texts."""

    width: int = 256
    """Width of its layers."""
    depth: int = 2
    """Hidden layers."""
    num_queries: int = 4
    """Places that it looks at where latents have more than one token."""

    def __post_init__(self) -> None:
        """Refuse sizes that are out of range."""
        for name, most in _MOST.items():
            if not 1 <= getattr(self, name) <= most:
                raise UserError(f"head.{name} = {getattr(self, name)}; give 1 to {most}")


_MOST = {"width": 8192, "depth": 16, "num_queries": 256}


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """How the map from latents to texts is trained."""

    text: str = "minilm"
    """What turns texts into numbers: `minilm`, `words` (knows no synonyms), `clip:NAME`, `siglip:NAME`."""
    head: TextHeadConfig = TextHeadConfig()
    """The network."""
    num_steps: int = 1000
    """Optimiser steps."""
    batch_size: int = 64
    """Pieces of experience in a step."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    predicted_weight: float = 0.5
    """Part of the loss that is about latents which the world model predicts, as plans do; the rest is
    about those of real frames."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        require_range(self, ("num_steps", "batch_size"), where="train-text", least=1)
        require_range(self, ("learning_rate",), where="train-text", least=1e-9, most=1e3)
        require_range(self, ("predicted_weight",), where="train-text", least=0, most=1)
