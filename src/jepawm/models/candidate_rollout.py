"""Roll many candidate plans out of shared contexts and compute nothing twice."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from jepawm.errors import UserError
from jepawm.models.blocks import Block, Shortcut
from jepawm.models.frame_cache import (
    Frame,
    Tables,
    Windows,
    read_actions,
    repeat,
    run_alone,
    run_frame,
)
from jepawm.models.linear import PackedWeights
from jepawm.models.positions import Rotation
from jepawm.models.predictor import Predictor
from jepawm.types import Context, Latent, concatenate


@dataclass(frozen=True, kw_only=True)
class CandidateRollout:
    """Contexts `[B]`, projected once, from which any number of candidates is rolled out."""

    predictor: Predictor
    """Predicts one step."""
    window: int
    """Latents that each prediction sees."""
    streaming: bool
    """Whether frames pass the layers once and positions count on."""
    kept: Int[Tensor, " kept"] | None
    """Indices of the tokens that are imagined; None: all."""
    length: int
    """Latents in a context."""
    newest: Latent
    """Last latents `[B, 1]` of the contexts."""
    start: Latent
    """The same, kept tokens only."""
    embedded: Latent
    """The same, projected."""
    past: list[Frame]
    """Keys and values of the frames before, oldest first."""
    tables: Tables
    """Position tables of a window; not used if positions count on."""
    shortcuts: list[Shortcut | None]
    """What attention of each layer makes of single tokens that see themselves alone."""
    packed: PackedWeights
    """Weights arranged for the processor, as long as the contexts last."""

    @property
    def tokens_per_candidate(self) -> int:
        """Return how many tokens one candidate brings into each layer, all windows together."""
        per_frame = self.embedded.tokens.shape[2] + self.predictor.layout.num_condition
        return per_frame * (1 if self.streaming else self.window)

    @property
    def flop_per_token(self) -> float:
        """Return the FLOP of the largest matrix product for one token."""
        block = self.predictor.blocks[0]
        assert isinstance(block, Block)
        return 2.0 * self.predictor.layout.width * max(block.mlp.hidden, 3 * block.attn.inner)

    def bytes_per_candidate(self, horizon: int) -> int:
        """Return the memory that one candidate needs at most while it is rolled out."""
        predictor = self.predictor
        block = predictor.blocks[0]
        assert isinstance(block, Block)
        activations = 5 * predictor.layout.width + 6 * block.attn.inner + 2 * block.mlp.hidden
        frames = self.window if self.streaming else (self.window + 1) / 2  # of a mean window
        cached = 5 * block.attn.inner * frames * len(predictor.blocks)  # keys and values are views
        parts = [part for part in (self.newest.tokens, self.newest.proprio) if part is not None]
        latent = sum(part[0, 0].numel() for part in parts)
        modulated = 6 * predictor.layout.width * len(predictor.blocks) * (horizon + 1)
        numbers = self.tokens_per_candidate * (activations + cached)
        numbers += (4 * horizon + 4) * latent + modulated
        return int(numbers * self.newest.tokens.element_size())

    def part(self, problems: slice) -> "CandidateRollout":
        """Return what rolls out some of the problems."""
        return replace(
            self,
            newest=self.newest[problems],
            start=self.start[problems],
            embedded=self.embedded[problems],
            past=[frame.map(lambda tensor: tensor[:, problems]) for frame in self.past],
        )

    def __call__(self, actions: Float[Tensor, "b K H A"]) -> Latent:
        """Roll candidates out; returns latents `[b, K, H]`, equal to plain rollouts if exact."""
        with self.packed.used():
            return self._roll(actions)

    def _roll(self, actions: Float[Tensor, "b K H A"]) -> Latent:
        shape, horizon = actions.shape[:2], actions.shape[2]
        steps = read_actions(self.predictor, actions.flatten(0, 1))
        last_start = 0 if self.streaming else max(0, self.length + horizon - 1 - self.window)
        tables = self._tables(self.length - 1 + horizon)
        past = [
            frame.map(lambda tensor: repeat(tensor.transpose(0, 1), shape[1]).transpose(0, 1))
            for frame in self.past
        ]
        newest, latent, embedded = (
            part.map(lambda tensor: repeat(tensor, shape[1]))
            for part in (self.newest, self.start, self.embedded)
        )  # [R, 1] each
        predictions: list[Latent] = []
        for step, action in enumerate(steps):
            frame = self.length - 1 + step
            if self.window == 1:
                x = run_alone(self.predictor, embedded=embedded, action=action, tables=self.tables)
            else:
                past = past[max(0, len(past) - self.window + 1) :]
                x, seen = run_frame(
                    self.predictor,
                    past,
                    windows=self.windows(frame, last_start=last_start),
                    frame=frame,
                    embedded=embedded,
                    action=action,
                    tables=tables,
                    shortcuts=self.shortcuts,
                )
                past.append(seen)
            latent = self.predictor.leave(x, latent)
            predictions.append(self._fill(latent, newest))
            if step + 1 < horizon:
                embedded = self.predictor.embedded(latent)
        rolled = concatenate(predictions, dim=1)  # [R, H]
        return rolled.map(lambda tensor: tensor.unflatten(0, shape))

    def windows(self, frame: int, *, last_start: int) -> Windows:
        """Return the windows that a frame enters.

        Windows that start after `last_start` will never predict.
        """
        if self.streaming:
            return Windows(newest=0, oldest=0)
        return Windows(newest=min(frame, last_start), oldest=max(0, frame - self.window + 1))

    def _tables(self, num_frames: int) -> Tables:
        if not self.streaming:
            return self.tables
        return position_tables(self.predictor, num_frames, kept=self.kept, like=self.newest.tokens)

    def _fill(self, latent: Latent, newest: Latent) -> Latent:
        """Put predictions of the kept tokens over the last latents of the context."""
        if self.kept is None:
            return latent
        tokens = newest.tokens.index_copy(-2, self.kept, latent.tokens)
        if latent.proprio is None or newest.proprio is None or latent.proprio.shape[-2] == 1:
            return Latent(tokens=tokens, proprio=latent.proprio)
        proprio = newest.proprio.index_copy(-2, self.kept, latent.proprio)
        return Latent(tokens=tokens, proprio=proprio)


def share_context(
    predictor: Predictor,
    context: Context,
    *,
    window: int,
    streaming: bool = False,
    keep_tokens: float = 1.0,
) -> CandidateRollout:
    """Project contexts `[B]` and run their past frames through the layers, once for all.

    Args:
        predictor: predicts one step.
        context: latents to start from and the actions between them.
        window: latents that each prediction sees.
        streaming: keep what slid frames left in the keys and values of later ones, and let
            positions count on. Not exact beyond the window, and one pass per step.
        keep_tokens: part of the tokens that are imagined, evenly spaced; the others stay as in
            the last latent of the context. Not exact below 1.

    Raises:
        UserError: if the positions do not allow streaming, or no token would be kept.
    """
    if streaming and not predictor.config.positions.startswith("rope"):
        raise UserError(
            "engine.streaming lets positions count on, which only rotary positions can; this "
            f"model has predictor.positions = {predictor.config.positions!r}: switch it off"
        )
    kept = _evenly_spaced(context.latents.tokens, part=keep_tokens)
    latents = context.latents[:, -window:]
    start = latents if kept is None else _select(latents, kept)
    embedded = predictor.embedded(start)  # [B, w]
    shared = CandidateRollout(
        predictor=predictor,
        window=window,
        streaming=streaming,
        kept=kept,
        length=latents.tokens.shape[1],
        newest=latents[:, -1:],
        start=start[:, -1:],
        embedded=embedded[:, -1:],
        past=[],
        tables=position_tables(predictor, window, kept=kept, like=latents.tokens),
        shortcuts=_shortcuts(predictor, num_tokens=start.tokens.shape[2], window=window),
        packed=PackedWeights(),
    )
    return replace(shared, past=_read_past(shared, embedded, context.actions))


def position_tables(
    predictor: Predictor,
    num_frames: int,
    *,
    kept: Int[Tensor, " kept"] | None,
    like: Float[Tensor, "*b N D"],
) -> Tables:
    """Return the position tables of the kept tokens of some frames, on the device of `like`."""
    added, rotation = predictor.positions(num_frames, like.device)
    if kept is None:
        return added, rotation
    before = predictor.layout.num_condition
    index = torch.cat([torch.arange(before, device=like.device), before + kept])
    return (
        None if added is None else added[:, index],
        None if rotation is None else Rotation(*(part[:, index] for part in rotation)),
    )


def _shortcuts(predictor: Predictor, *, num_tokens: int, window: int) -> list[Shortcut | None]:
    """Return the shortcuts of the layers, where frames are single tokens and windows longer."""
    if window == 1 or num_tokens + predictor.layout.num_condition > 1:
        return [None] * len(predictor.blocks)
    return [block.attn.shortcut() for block in predictor.blocks if isinstance(block, Block)]


def _read_past(
    shared: CandidateRollout, embedded: Latent, actions: Float[Tensor, "B w A"]
) -> list[Frame]:
    """Run all but the last frame of the contexts, whose actions are past, through the layers."""
    past: list[Frame] = []
    num_past = shared.length - 1
    if num_past == 0:
        return past
    for frame, action in enumerate(read_actions(shared.predictor, actions[:, -num_past:])):
        now = slice(frame, frame + 1)
        _, seen = run_frame(
            shared.predictor,
            past,
            windows=shared.windows(frame, last_start=frame),
            frame=frame,
            embedded=embedded[:, now],
            action=action,
            tables=shared.tables,
            shortcuts=shared.shortcuts,
            predict=False,
        )
        past.append(seen)
    return past


def _evenly_spaced(tokens: Float[Tensor, "B w N D"], *, part: float) -> Int[Tensor, " kept"] | None:
    """Return the indices of evenly spaced tokens; None: all."""
    num_tokens = tokens.shape[-2]
    count = round(part * num_tokens)
    if not 1 <= count <= num_tokens:
        raise UserError(
            f"engine.keep_tokens = {part} keeps {count} of {num_tokens} tokens; give more than 0, "
            "at most 1"
        )
    if count == num_tokens:
        return None
    places = (torch.arange(count, device=tokens.device) + 0.5) * num_tokens / count
    return places.long()


def _select(latents: Latent, kept: Int[Tensor, " kept"]) -> Latent:
    """Take the kept tokens, and their proprio codes where each token has one."""
    tokens, proprio = latents.tokens, latents.proprio
    if proprio is not None and proprio.shape[-2] == tokens.shape[-2]:
        proprio = proprio[..., kept, :]
    return Latent(tokens=tokens[..., kept, :], proprio=proprio)
