"""A batch in parts, with the statistics and gradients of the whole (`compute.accumulate_statistics`).

The tokens of all parts are computed first, without activations; what the loss computes over the batch
sees them together. Their gradient is then handed to the encoder, which runs a second time, part by part
(GradCache, arXiv 2101.06983).
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import cast

import torch
from torch import Tensor, nn

from jepawm.errors import UserError
from jepawm.models.encoders import ImageEncoder, PositionNorm
from jepawm.models.frozen.encoder import FrozenEncoder
from jepawm.processes import average_gradients, process_rank
from jepawm.training.losses import Learner, draw_prefixes
from jepawm.types import EncodedObservation, Trajectory

_OVER_THE_BATCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, PositionNorm)


def backward_of_whole(
    learner: Learner,
    parts: Sequence[Trajectory],
    *,
    generator: torch.Generator,
    autocast: Callable[[], AbstractContextManager[object]],
) -> dict[str, Tensor]:
    """Add up the gradients of a batch as if it were not cut; returns its terms, without gradients.

    With several processes all call this, each with its slices of the parts; gradients are averaged.

    Args:
        learner: model and loss.
        parts: windows `[b, T+1]`, each as many.
        generator: draws for the whole batch.
        autocast: returns the context of forward passes, which sets the precision.
    """
    encode = _EncoderInParts(learner, generator, autocast)
    learns = encode.learns and not isinstance(parts[0].obs, EncodedObservation)
    with torch.no_grad():
        raw = torch.cat([encode(part, number) for number, part in enumerate(parts)])
    raw.requires_grad_(learns)
    with autocast():
        tokens = encode.normalized(raw, parts[0])  # [B, T+1, N, D]
    leaf = tokens.detach().float().requires_grad_(learns)
    seen = [
        Trajectory(
            obs=EncodedObservation(tokens=own, proprio=part.obs.proprio), actions=part.actions
        )
        for own, part in zip(leaf.split(len(parts[0].actions)), parts, strict=True)
    ]
    terms = _predictions(learner, seen, generator=generator, autocast=autocast)
    for name, weight, term in _over_the_batch(
        learner, leaf, parts, generator=generator, autocast=autocast
    ):
        terms[name] = term
        terms["loss"] = terms["loss"] + weight * term
    if leaf.grad is not None:
        tokens.backward(leaf.grad.to(tokens.dtype))
        assert raw.grad is not None
        gradients = raw.grad.split(len(parts[0].actions))
        for number, (part, gradient) in enumerate(zip(parts, gradients, strict=True)):
            encode(part, number).backward(gradient)
    average_gradients(learner.parameters())
    return terms


def require_batch_free(learner: Learner) -> None:
    """Refuse models that normalise over the batch in places where parts cannot share it."""
    encoder = learner.model.encoder
    last = encoder.norm if isinstance(encoder, ImageEncoder) else None
    frozen = [part for part in learner.modules() if isinstance(part, FrozenEncoder)]
    apart = {id(one) for part in frozen for one in part.modules()} | {id(last)}
    for name, module in learner.named_modules():
        if isinstance(module, _OVER_THE_BATCH) and id(module) not in apart:
            raise UserError(
                f"compute.accumulate_statistics = batch: {name} normalises over the batch inside the "
                "model, where parts cannot share it; set it to parts, or compute.accumulate to 1"
            )


class _EncoderInParts:
    """The encoder up to its norm over the batch, the same for the same part each time."""

    def __init__(
        self,
        learner: Learner,
        generator: torch.Generator,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._learner, self._autocast = learner, autocast
        self._seed = generator.initial_seed() + process_rank()
        encoder = cast(nn.Module, learner.model.encoder)
        self.learns = any(parameter.requires_grad for parameter in encoder.parameters())

    def __call__(self, part: Trajectory, number: int) -> Tensor:
        """Return tokens `[b, T+1, N, D]` before the norm over the batch, if the encoder ends in one."""
        obs = part.obs
        if isinstance(obs, EncodedObservation):
            return obs.tokens
        torch.manual_seed(self._seed + number)  # dropout takes no generator
        encoder = self._learner.model.encoder
        read = encoder.project if isinstance(encoder, ImageEncoder) else encoder
        with self._autocast():
            return read(obs.pixels)

    def normalized(self, raw: Tensor, first: Trajectory) -> Tensor:
        """Return the tokens `[B, T+1, N, D]` of the whole batch."""
        encoder = self._learner.model.encoder
        if isinstance(first.obs, EncodedObservation) or not isinstance(encoder, ImageEncoder):
            return raw
        return encoder.normalize(raw)


def _predictions(
    learner: Learner,
    parts: Sequence[Trajectory],
    *,
    generator: torch.Generator,
    autocast: Callable[[], AbstractContextManager[object]],
) -> dict[str, Tensor]:
    """Descend from the prediction losses of all parts; returns their means."""
    prefixes = draw_prefixes(learner.loss, parts[0].actions.shape[1], generator=generator)
    sums: dict[str, Tensor] = {}
    for part in parts:
        with autocast():
            latents = learner.encode(part.obs)
            terms = learner.predictions(latents, part.actions, prefixes=prefixes)
        (terms["loss"] / len(parts)).backward()
        sums = {k: v.detach() + sums[k] if sums else v.detach() for k, v in terms.items()}
    return {name: total / len(parts) for name, total in sums.items()}


def _over_the_batch(
    learner: Learner,
    tokens: Tensor,
    parts: Sequence[Trajectory],
    *,
    generator: torch.Generator,
    autocast: Callable[[], AbstractContextManager[object]],
) -> list[tuple[str, float, Tensor]]:
    """Descend from the terms beside the prediction, which see the whole batch; returns them."""
    proprio = [part.obs.proprio for part in parts if part.obs.proprio is not None]
    obs = EncodedObservation(tokens=tokens, proprio=torch.cat(proprio) if proprio else None)
    with autocast():
        found = learner.regularizers(
            learner.encode(obs), torch.cat([part.actions for part in parts]), generator=generator
        )
    if found:
        torch.stack([weight * term for _, weight, term in found]).sum().backward()
    return [(name, weight, term.detach()) for name, weight, term in found]
