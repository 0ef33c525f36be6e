"""Time frame-causal attention without a mask beside dense attention under a materialised mask.

    python benchmarks/attention.py --device cpu

The two sides alternate in one process; medians and the spread from the lower to the upper quartile
are printed, for the forward pass (planning) and for forward and backward (training).
"""

import argparse
import json
from collections.abc import Callable
from statistics import quantiles
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor

from jepawm.models.blocks import attend_frames, block_causal_mask


def main() -> None:
    """Print one JSON line per case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--head-dim", type=int, default=25)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--windows", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--repeats", type=int, default=21)
    options = parser.parse_args()
    for window in options.windows:
        for backward in (False, True):
            print(json.dumps(measure(window, backward=backward, options=options)))


def measure(window: int, *, backward: bool, options: argparse.Namespace) -> dict[str, object]:
    """Time one window length, both sides in turns."""
    shape = (options.batch, window, options.tokens, options.heads, options.head_dim)
    inputs = [torch.randn(shape, device=options.device) for _ in range(3)]
    mask = block_causal_mask(window, options.tokens).to(options.device)

    def dense(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        flat = [part.flatten(1, 2).transpose(1, 2) for part in (query, key, value)]
        out = F.scaled_dot_product_attention(flat[0], flat[1], flat[2], attn_mask=mask)
        return out.transpose(1, 2).unflatten(1, (window, -1))

    ours, masked = alternate(
        lambda: run(attend_frames, inputs, backward=backward),
        lambda: run(dense, inputs, backward=backward),
        repeats=options.repeats,
    )
    return {
        "window": window,
        "pass": "forward and backward" if backward else "forward",
        "ms": ours[1],
        "ms_quartiles": [ours[0], ours[2]],
        "masked_ms": masked[1],
        "masked_ms_quartiles": [masked[0], masked[2]],
        "speedup": masked[1] / ours[1],
        "largest_difference": float((attend_frames(*inputs) - dense(*inputs)).abs().max()),
        "threads": torch.get_num_threads(),
        "device": options.device,
    }


def run(attention: Callable[..., Tensor], inputs: list[Tensor], *, backward: bool) -> None:
    """Attend once; reading one number waits for an asynchronous device."""
    if not backward:
        with torch.no_grad():
            float(attention(*inputs).flatten()[0])
        return
    leaves = [part.detach().requires_grad_() for part in inputs]
    attention(*leaves).sum().backward()
    assert leaves[0].grad is not None
    float(leaves[0].grad.flatten()[0])


def alternate(
    first: Callable[[], None], second: Callable[[], None], *, repeats: int
) -> tuple[list[float], list[float]]:
    """Return the quartiles of both sides in milliseconds, run in turns after one warm-up."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for side, function in enumerate((first, second)):
            start = perf_counter()
            function()
            if repeat:
                times[side].append(1e3 * (perf_counter() - start))
    return quantiles(times[0], n=4), quantiles(times[1], n=4)


if __name__ == "__main__":
    main()
