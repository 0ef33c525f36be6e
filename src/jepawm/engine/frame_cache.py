"""Keys and values of frames, window by window, and how a frame passes the layers.

A prediction sees a window of frames, and positions count from the window's first frame. So what a
frame looks like inside the predictor depends on where its window starts, and on nothing after it:
keys and values of a frame are computed once for each window that holds it, when the frame appears,
and used by all later frames of this window. A window that grows reuses everything. When windows
slide, each new frame enters all windows that are still needed in one call; only the oldest of them
predicts, so only it goes through the last layer. This is exact for every position code.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.engine.attention import attend_parts, attend_to_few
from jepawm.engine.fast_block import FastBlock, FastPredictor, Modulation
from jepawm.engine.packed_linear import PackedLinear
from jepawm.models.positions import Rotation
from jepawm.types import Latent

Tables = tuple[Float[Tensor, "T n width"] | None, Rotation | None]
"""What is added to the tokens of each frame of a window, and what turns queries and keys."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The windows that a frame enters; their axis `V` has the newest first."""

    newest: int
    """The first frame of the newest one; the context begins with frame 0."""
    oldest: int
    """The first frame of the oldest one, which predicts."""

    def __len__(self) -> int:
        """Return how many there are."""
        return self.newest - self.oldest + 1


KeysValues = tuple[Float[Tensor, "_ R n heads h"], Float[Tensor, "_ R n heads h"]]
"""Turned keys and values of one frame in one layer."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Keys and values of one frame in each of its windows."""

    windows: Windows
    """The windows that it entered."""
    layers: list[KeysValues]
    """What later frames see of it."""

    def seen_from(self, windows: Windows, *, layer: int) -> KeysValues:
        """Return keys and values for those of the windows that hold the frame: the oldest ones."""
        ours = self.windows.newest
        held = slice(max(0, ours - windows.newest), max(0, ours - windows.oldest + 1))
        key, value = self.layers[layer]
        return key[held], value[held]

    def map(self, function: Callable[[Tensor], Tensor]) -> "Frame":
        """Apply a function to the keys and values of every layer."""
        layers = [(function(key), function(value)) for key, value in self.layers]
        return Frame(windows=self.windows, layers=layers)


@dataclass(frozen=True, kw_only=True)
class Action:
    """What the predictor sees of the actions of one step."""

    code: Float[Tensor, "R 1 code"]
    """Encoded actions."""
    modulations: list[Modulation | None]
    """What AdaLN makes of them in each layer, `[R, 1, width]` each."""


def read_actions(predictor: FastPredictor, actions: Float[Tensor, "R T A"]) -> list[Action]:
    """Encode the actions of all steps at once; returns them step by step."""
    codes = predictor.plain.action_encoder(actions)  # [R, T, code]
    condition = predictor.plain.condition(codes)
    layers = [
        _by_step(block.modulate(condition), num_steps=actions.shape[1])
        for block in predictor.blocks
    ]
    return [
        Action(code=codes[:, step : step + 1], modulations=[layer[step] for layer in layers])
        for step in range(actions.shape[1])
    ]


def _by_step(modulation: Modulation | None, *, num_steps: int) -> Sequence[Modulation | None]:
    """Return a modulation `[R, T, 1, width]` step by step, `[R, 1, width]` each."""
    if modulation is None:
        return [None] * num_steps
    return list(zip(*(part.unbind(1) for part in modulation), strict=True))


def run_frame(
    predictor: FastPredictor,
    past: Sequence[Frame],
    *,
    windows: Windows,
    frame: int,
    embedded: Latent,
    action: Action,
    tables: Tables,
    shortcuts: Sequence[PackedLinear | None],
    predict: bool = True,
) -> tuple[Float[Tensor, "R 1 n width"], Frame]:
    """Run one frame through all its windows, which hold some of the past frames, oldest first.

    Returns what the oldest window makes of it, and its keys and values. Windows are along the first
    axis `V`, of size 1 as long as they do not differ. `shortcuts` are those of the layers.
    """
    x = predictor.plain.enter(embedded, action=action.code).transpose(0, 1)  # [1, R, n, width]
    positions = slice(frame - windows.newest, frame - windows.oldest + 1)
    added, rotation = tables
    if added is not None:
        x = x + added[positions, None].to(x.dtype)  # [V, R, n, width]
    if rotation is not None:
        rotation = Rotation(*(part[positions, None] for part in rotation))  # [V, 1, n, 1, ..]
    final = len(predictor.blocks) - 1
    own = Frame(windows=windows, layers=[])
    for layer, (block, codes) in enumerate(zip(predictor.blocks, action.modulations, strict=True)):
        asking = (
            Windows(newest=windows.oldest, oldest=windows.oldest) if layer == final else windows
        )
        alone = asking.newest == frame and x.shape[2] == 1  # nobody asks who sees itself alone
        unused = layer == final and not predict
        seen = block.enter(x, codes)
        query, key, value = _project(
            block,
            seen,
            num_windows=len(windows),
            num_asking=0 if unused else len(asking) - alone,
            rotation=rotation,
        )
        own.layers.append((key, value))
        if not unused:
            parts = [part.seen_from(asking, layer=layer) for part in (*past, own)]
            attended = (
                []
                if query is None
                else [block.mix(_attend(query, parts, split=block.splits).flatten(-2))]
            )
            if alone:
                attended.insert(0, _see_oneself(block, seen, value, shortcuts[layer]))
            x = block.leave(x[-len(asking) :], _join(attended), codes=codes)
    return x[-1:].transpose(0, 1), own  # [R, 1, n, width]


def repeat(tensor: Float[Tensor, "B *rest"], times: int) -> Float[Tensor, "R *rest"]:
    """Repeat entries `[B]` to `[B * times]`; a view without a copy if `B` is 1."""
    return tensor[:, None].expand(-1, times, *tensor.shape[1:]).flatten(0, 1)


def run_alone(
    predictor: FastPredictor,
    *,
    embedded: Latent,
    action: Action,
    tables: Tables,
) -> Float[Tensor, "R 1 n width"]:
    """Run one frame that sees itself alone, in windows of one frame; nothing is kept."""
    x = predictor.plain.enter(embedded, action=action.code)  # [R, 1, n, width]
    added, rotation = tables
    x = x if added is None else x + added.to(x.dtype)
    for block, codes in zip(predictor.blocks, action.modulations, strict=True):
        one = None if codes is None else _per_frame(codes)
        x = block.leave(x, block.attend_within(block.enter(x, one), rotation=rotation), codes=one)
    return x


def _per_frame(modulation: Modulation) -> Modulation:
    shift1, scale1, gate1, shift2, scale2, gate2 = (part.unsqueeze(1) for part in modulation)
    return shift1, scale1, gate1, shift2, scale2, gate2


def _project(
    block: FastBlock,
    seen: Float[Tensor, "_ R n width"],
    *,
    num_windows: int,
    num_asking: int,
    rotation: Rotation | None,
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return queries of the oldest windows that ask, keys and values of all, `[.., R, n, heads, h]`."""
    if num_asking == num_windows:
        projected = block.project(seen, first=0, count=3)
        query, key = block.turned(projected[..., : 2 * block.inner], rotation).unbind(-3)
    else:
        projected = block.project(seen, first=1, count=2)
        key = block.turned(projected[..., : block.inner], rotation).squeeze(-3)
        query = None
        if num_asking:
            turns = (
                None if rotation is None else Rotation(*(part[-num_asking:] for part in rotation))
            )
            asked = block.project(seen[-num_asking:], first=0, count=1)
            query = block.turned(asked, turns).squeeze(-3)
    if query is not None:
        query = query.expand(num_asking, *query.shape[1:])
    value = block.heads(projected[..., -block.inner :])
    return (
        query,
        key.expand(num_windows, *key.shape[1:]),
        value.expand(num_windows, *value.shape[1:]),
    )


def _see_oneself(
    block: FastBlock,
    seen: Float[Tensor, "_ R 1 width"],
    value: Float[Tensor, "V R 1 heads h"],
    shortcut: PackedLinear | None,
) -> Float[Tensor, "1 R 1 width"]:
    """Return what attention finds where a token sees itself alone, in the newest window."""
    if shortcut is None:
        return block.mix(value[:1].flatten(-2))
    return shortcut(seen[:1])


def _attend(
    query: Float[Tensor, "Q R n heads h"], parts: Sequence[KeysValues], *, split: bool
) -> Float[Tensor, "Q R n heads h"]:
    """Attend to frames that are seen by all windows that ask, the oldest ones, or by some of them."""
    parts = [(key[-len(query) :], value[-len(query) :]) for key, value in parts]
    if query.shape[2] == 1:
        return attend_to_few(query, *zip(*parts, strict=True), split=split)
    out = []
    for back in range(len(query), 0, -1):  # windows, the newest first, counted from the oldest
        seen = [(key[-back], value[-back]) for key, value in parts if len(key) >= back]
        out.append(attend_parts(query[-back], *zip(*seen, strict=True), split=split))
    return _join([part.unsqueeze(0) for part in out])


def _join(parts: Sequence[Float[Tensor, "_ *rest"]]) -> Float[Tensor, "V *rest"]:
    return parts[0] if len(parts) == 1 else torch.cat([*parts])
