"""Keys and values of frames, window by window, and how a frame passes the layers.

A prediction sees a window of frames, and positions count from the window's first frame. So what a
frame looks like inside the predictor depends on where its window starts, and on nothing after it:
keys and values of a frame are computed once for each window that holds it, when the frame appears,
and used by all later frames of this window. A window that grows reuses everything. When windows
slide, each new frame enters all windows that are still needed in one call; only the oldest of them
predicts, so only it goes through the last layer. This is exact for every position code.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.models.attention import attend
from jepawm.models.blocks import Attention, Block
from jepawm.models.positions import Rotation
from jepawm.models.predictor import Predictor
from jepawm.types import Latent

Tables = tuple[Float[Tensor, "T n width"] | None, Rotation | None]
"""What is added to the tokens of each frame of a window, and what turns queries and keys."""


@dataclass(kw_only=True)
class Window:
    """Keys and values of the frames of one window, layer by layer."""

    start: int
    """The first frame; the context begins with frame 0."""
    keys: list[Float[Tensor, "R S heads h"]] = field(default_factory=list)
    """Turned keys of each layer, frame after frame."""
    values: list[Float[Tensor, "R S heads h"]] = field(default_factory=list)
    """Values of each layer."""

    def append(
        self, layer: int, *, key: Float[Tensor, "R n heads h"], value: Float[Tensor, "R n heads h"]
    ) -> None:
        """Add a frame to a layer."""
        if layer == len(self.keys):
            self.keys.append(key)
            self.values.append(value)
        else:
            self.keys[layer] = torch.cat([self.keys[layer], key], dim=1)
            self.values[layer] = torch.cat([self.values[layer], value], dim=1)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Window":
        """Apply a function to the keys and values of every layer."""
        keys, values = ([function(part) for part in parts] for parts in (self.keys, self.values))
        return Window(start=self.start, keys=keys, values=values)

    def last(self, num_tokens: int) -> "Window":
        """Return a window of the last tokens only, or of all if there are not so many."""
        return self.map(lambda part: part[:, max(0, part.shape[1] - num_tokens) :])

    def of(self, problems: slice) -> "Window":
        """Return the window of some problems."""
        return self.map(lambda part: part[problems])

    def repeated(self, times: int) -> "Window":
        """Return a window for `times` candidates of each problem."""
        return self.map(lambda part: repeat(part, times))


def run_frame(
    predictor: Predictor,
    windows: list[Window],
    *,
    frame: int,
    embedded: Latent,
    code: Float[Tensor, "R 1 code"],
    tables: tuple[Tensor | None, Rotation | None],
    predict: bool = True,
    alone: bool = False,
) -> Float[Tensor, "R 1 n width"]:
    """Run one frame through all its windows; returns what the oldest one makes of it.

    With `alone` windows hold one frame each: nothing is remembered. Windows lie along the first
    axis `V`, of size 1 as long as they do not differ.
    """
    x = predictor.enter(embedded, action=code).transpose(0, 1)  # [1, R, n, width]
    positions = slice(frame - windows[0].start, frame - windows[-1].start + 1)
    added, rotation = tables
    if added is not None:
        x = x + added[positions, None].to(x.dtype)  # [V, R, n, width]
    if rotation is not None:
        rotation = Rotation(*(part[positions, None] for part in rotation))  # [V, 1, n, 1, ..]
    condition = predictor.condition(code[:, 0])  # [R, width]
    final = len(predictor.blocks) - 1
    for layer, block in enumerate(predictor.blocks):
        assert isinstance(block, Block)
        codes = block.modulate(condition)
        seen = block.enter(x, codes)
        if alone:
            attended = _attend_self(block.attn, seen, rotation=rotation)
            x = block.leave(x, attended, codes=codes)
            continue
        if layer < final:
            attended = _attend_all(block.attn, seen, windows, layer=layer, rotation=rotation)
            x = block.leave(x, attended, codes=codes)
            continue
        _remember(block.attn, seen, windows, layer=layer, rotation=rotation)
        if predict:
            attended = _attend_oldest(block.attn, seen[-1:], windows[-1], rotation=rotation)
            x = block.leave(x[-1:], attended, codes=codes)
    return x[-1:].transpose(0, 1)  # [R, 1, n, width]


def repeat(tensor: Float[Tensor, "B *rest"], times: int) -> Float[Tensor, "R *rest"]:
    """Repeat entries `[B]` to `[B * times]`; a view without a copy if `B` is 1."""
    return tensor[:, None].expand(-1, times, *tensor.shape[1:]).flatten(0, 1)


def _attend_self(
    attn: Attention, seen: Float[Tensor, "1 R n width"], *, rotation: Rotation | None
) -> Float[Tensor, "1 R n width"]:
    """Attend within a frame; one token needs no queries and keys for that."""
    if rotation is not None:
        rotation = Rotation(*(part[0] for part in rotation))
    return attn(seen[0], rotation=rotation).unsqueeze(0)


def _attend_all(
    attn: Attention,
    seen: Float[Tensor, "V R n width"],
    windows: list[Window],
    *,
    layer: int,
    rotation: Rotation | None,
) -> Float[Tensor, "W R n width"]:
    """Attend in every window to its earlier frames and to the frame itself."""
    projected = attn.project(seen, first=0, count=3)
    query, key = attn.turned(projected[..., : 2 * attn.inner], rotation).unbind(-3)
    value = attn.heads(projected[..., 2 * attn.inner :])
    out = []
    for index, window in enumerate(windows):
        own = (part[min(index, len(part) - 1)] for part in (query, key, value))
        asking, key_, value_ = own
        window.append(layer, key=key_, value=value_)
        out.append(attend(asking, window.keys[layer], window.values[layer]).flatten(-2))
    return attn.mix(torch.stack(out) if len(out) > 1 else out[0].unsqueeze(0))


def _remember(
    attn: Attention,
    seen: Float[Tensor, "V R n width"],
    windows: list[Window],
    *,
    layer: int,
    rotation: Rotation | None,
) -> None:
    """Add keys and values of a frame to every window, without asking for anything."""
    projected = attn.project(seen, first=1, count=2)
    keys = attn.turned(projected[..., : attn.inner], rotation).squeeze(-3)
    values = attn.heads(projected[..., attn.inner :])
    for index, window in enumerate(windows):
        key, value = (part[min(index, len(part) - 1)] for part in (keys, values))
        window.append(layer, key=key, value=value)


def _attend_oldest(
    attn: Attention,
    seen: Float[Tensor, "1 R n width"],
    window: Window,
    *,
    rotation: Rotation | None,
) -> Float[Tensor, "1 R n width"]:
    """Attend in the window that predicts, whose last layer holds the frame already."""
    if rotation is not None:
        rotation = Rotation(*(part[-1:] for part in rotation))
    query = attn.turned(attn.project(seen, first=0, count=1), rotation).squeeze(-3)[0]
    out = attend(query, window.keys[-1], window.values[-1]).flatten(-2)
    return attn.mix(out.unsqueeze(0))
