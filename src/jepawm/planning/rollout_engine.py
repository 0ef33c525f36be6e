"""Roll many candidate plans of many problems forward; where the speed of planning lives."""

import itertools
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.protocols import WorldModel
from jepawm.types import Context, Latent, concatenate

DEFAULT_MAX_CANDIDATES = 4096
"""Rollouts that run at once; small models are fastest while their activations stay in cache."""


def rollout_candidates(
    model: WorldModel,
    context: Context,
    actions: Float[Tensor, "B K H A"],
    *,
    window: int | None = None,
    max_candidates: int = DEFAULT_MAX_CANDIDATES,
) -> Latent:
    """Roll contexts `[B]` forward under candidate actions `[B, K, H, A]` into latents `[B, K, H]`.

    The result equals `model.rollout` on contexts that are repeated `K` times, with the same
    `window` (None: the model's own). At most
    `max_candidates` rollouts run at once: whole problems while several fit, else parts of one
    problem, whose context is then shared without a copy.
    """
    num_problems, num_candidates = actions.shape[:2]
    pieces = [
        _rollout_part(model, context[problems], actions[problems, candidates], window=window)
        for problems, candidates in chunks(
            num_problems, num_candidates, max_candidates=max_candidates
        )
    ]
    joined = pieces[0] if len(pieces) == 1 else concatenate(pieces, dim=0)  # [B * K, H]
    return joined.map(lambda tensor: tensor.unflatten(0, (num_problems, num_candidates)))


def chunks(
    num_problems: int, num_candidates: int, *, max_candidates: int
) -> Iterator[tuple[slice, slice]]:
    """Yield slices of problems and candidates that cover all in order, evenly and within the cap.

    Raises:
        ValueError: if `max_candidates` is below 1.
    """
    if max_candidates < 1:
        raise ValueError(f"max_candidates = {max_candidates}; give at least 1")
    if num_candidates <= max_candidates:
        for problems in _even_slices(num_problems, max_candidates // num_candidates):
            yield problems, slice(0, num_candidates)
        return
    for problem in range(num_problems):
        for candidates in _even_slices(num_candidates, max_candidates):
            yield slice(problem, problem + 1), candidates


def _even_slices(length: int, most: int) -> list[slice]:
    """Cut `length` into the fewest slices of at most `most`, as even as possible."""
    count = -(-length // most)
    edges = [index * length // count for index in range(count + 1)]
    return [slice(start, end) for start, end in itertools.pairwise(edges)]


def _rollout_part(
    model: WorldModel, context: Context, actions: Tensor, *, window: int | None
) -> Latent:
    """Roll contexts `[b]` under `[b, k, H, A]` into latents `[b * k, H]`."""
    num_candidates = actions.shape[1]
    repeated = _repeat(context, num_candidates)
    return model.rollout(repeated, actions.flatten(0, 1), window=window)


def _repeat(context: Context, times: int) -> Context:
    """Repeat `[b]` entries to `[b * times]`; a view without a copy if `b` is 1."""

    def expand(tensor: Tensor) -> Tensor:
        wide = tensor[:, None].expand(-1, times, *tensor.shape[1:])
        return torch.flatten(wide, 0, 1)

    return context.map(expand)
