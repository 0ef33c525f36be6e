"""Roll many candidate plans out of shared contexts and compute nothing twice."""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from jepawm.engine.config import Precision
from jepawm.engine.fast_block import FastPredictor
from jepawm.engine.frame_cache import (
    Frame,
    Tables,
    Windows,
    read_actions,
    repeat,
    run_alone,
    run_frame,
)
from jepawm.engine.packed_linear import PackedLinear
from jepawm.models.blocks import Block
from jepawm.models.predictor import Predictor
from jepawm.types import Context, Latent, concatenate


@dataclass(frozen=True, kw_only=True)
class CandidateRollout:
    """Contexts `[B]`, projected once, from which any number of candidates is rolled out."""

    predictor: FastPredictor
    """Predicts one step; its weights are packed as long as the contexts last."""
    window: int
    """Latents that each prediction sees."""
    length: int
    """Latents in a context."""
    newest: Latent
    """Last latents `[B, 1]` of the contexts."""
    embedded: Latent
    """The same, projected."""
    past: list[Frame]
    """Keys and values of the frames before, oldest first."""
    tables: Tables
    """Position tables of a window."""
    shortcuts: list[PackedLinear | None]
    """What attention of each layer makes of single tokens that see themselves alone."""

    @property
    def tokens_per_candidate(self) -> int:
        """Return how many tokens one candidate brings into each layer, all windows together."""
        per_frame = self.embedded.tokens.shape[2] + self.predictor.plain.layout.num_condition
        return per_frame * self.window

    @property
    def flop_per_token(self) -> float:
        """Return the FLOP of the largest matrix product for one token."""
        block = self.predictor.plain.blocks[0]
        assert isinstance(block, Block)
        return 2.0 * self.predictor.plain.layout.width * max(block.mlp.hidden, 3 * block.attn.inner)

    def bytes_per_candidate(self, horizon: int) -> int:
        """Return the memory that one candidate needs at most while it is rolled out."""
        predictor = self.predictor.plain
        block = predictor.blocks[0]
        assert isinstance(block, Block)
        activations = 5 * predictor.layout.width + 6 * block.attn.inner + 2 * block.mlp.hidden
        frames = (self.window + 1) / 2  # of a mean window
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
            embedded=self.embedded[problems],
            past=[frame.map(lambda tensor: tensor[:, problems]) for frame in self.past],
        )

    def __call__(self, actions: Float[Tensor, "b K H A"]) -> Latent:
        """Roll candidates out; returns latents `[b, K, H]`, equal to plain rollouts."""
        shape, horizon = actions.shape[:2], actions.shape[2]
        steps = read_actions(self.predictor, actions.flatten(0, 1))
        last_start = max(0, self.length + horizon - 1 - self.window)
        past = [
            frame.map(lambda tensor: repeat(tensor.transpose(0, 1), shape[1]).transpose(0, 1))
            for frame in self.past
        ]
        latent, embedded = (
            part.map(lambda tensor: repeat(tensor, shape[1]))
            for part in (self.newest, self.embedded)
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
                    tables=self.tables,
                    shortcuts=self.shortcuts,
                )
                past.append(seen)
            latent = self.predictor.leave(x, latent)
            predictions.append(latent)
            if step + 1 < horizon:
                embedded = self.predictor.embedded(latent)
        rolled = concatenate(predictions, dim=1)  # [R, H]
        return rolled.map(lambda tensor: tensor.unflatten(0, shape))

    def windows(self, frame: int, *, last_start: int) -> Windows:
        """Return the windows that a frame enters.

        Windows that start after `last_start` will never predict.
        """
        return Windows(newest=min(frame, last_start), oldest=max(0, frame - self.window + 1))


def share_context(
    predictor: Predictor,
    context: Context,
    *,
    window: int,
    precision: Precision = "float32",
) -> CandidateRollout:
    """Project contexts `[B]` and run their past frames through the layers, once for all.

    Args:
        predictor: predicts one step.
        context: latents to start from and the actions between them.
        window: latents that each prediction sees.
        precision: precision of matrix products.
    """
    latents = context.latents[:, -window:]
    fast = FastPredictor(predictor, precision=precision)
    embedded = fast.embedded(latents)  # [B, w]
    shared = CandidateRollout(
        predictor=fast,
        window=window,
        length=latents.tokens.shape[1],
        newest=latents[:, -1:],
        embedded=embedded[:, -1:],
        past=[],
        tables=predictor.positions(window, latents.tokens.device),
        shortcuts=_shortcuts(fast, num_tokens=latents.tokens.shape[2], window=window),
    )
    return replace(shared, past=_read_past(shared, embedded, context.actions))


def _shortcuts(
    predictor: FastPredictor, *, num_tokens: int, window: int
) -> list[PackedLinear | None]:
    """Return the shortcuts of the layers, where frames are single tokens and windows longer."""
    if window == 1 or num_tokens + predictor.plain.layout.num_condition > 1:
        return [None] * len(predictor.blocks)
    return [block.shortcut() for block in predictor.blocks]


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
