"""A model of several cameras that sees some of them alone: fewer tokens, the same weights."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import torch
from torch import Tensor

from jepawm.errors import UserError
from jepawm.models.views import ViewsEncoder
from jepawm.models.world_model import JEPAWorldModel
from jepawm.types import Latent
from jepawm.views import choose_views


def seeing(model: JEPAWorldModel, cameras: Sequence[str]) -> JEPAWorldModel:
    """Return the model as it sees some of its cameras; the weights are those of the whole one.

    Its pictures and latents have these cameras only, in the order in which the model knows them.
    """
    encoder = model.encoder
    if not isinstance(encoder, ViewsEncoder):
        raise UserError(
            f"the model learned from one camera, and {', '.join(cameras)} are to be chosen; leave "
            "the cameras out"
        )
    return _with_views(model, encoder, choose_views(cameras, encoder.cameras, where="the model"))


def see_some(
    model: JEPAWorldModel, latents: Latent, *, part: float, generator: torch.Generator
) -> tuple[JEPAWorldModel, Latent]:
    """Hide cameras in a part of all cases: return the model, and latents `[*b]`, of those that stay.

    How many stay, and which, is drawn evenly; at least one does.
    """
    encoder = model.encoder
    if not isinstance(encoder, ViewsEncoder):
        return model, latents
    count = len(encoder.cameras)
    draws = torch.rand(2, generator=generator, dtype=torch.float64)
    order = torch.randperm(count, generator=generator).tolist()
    if not draws[0] < part:
        return model, latents
    stay = tuple(sorted(order[: 1 + int(draws[1] * (count - 1))]))
    return _with_views(model, encoder, stay), _tokens_of(latents, _places(encoder, stay))


def _with_views(
    model: JEPAWorldModel, encoder: ViewsEncoder, views: Sequence[int]
) -> JEPAWorldModel:
    """Return the model of the cameras at these places."""
    if len(views) == len(encoder.cameras):
        return model
    parts = list(zip(encoder.cameras, encoder.encoders, strict=True))
    predictor = copy(model.predictor)  # the same layers
    predictor.kept = _places(encoder, views)
    seen = ViewsEncoder(dict(parts[at] for at in views))  # pyright: ignore[reportArgumentType]
    part = JEPAWorldModel(
        seen,
        predictor,
        proprio_encoder=model.proprio_encoder,
        step_distance=model.step_distance,
        image_size=model.image_size,
    )
    for new in (part, seen, seen.encoders):  # their parts keep their own
        new.training = model.training
    return part


def _places(encoder: ViewsEncoder, views: Sequence[int]) -> tuple[int, ...]:
    """Return the places of the tokens of some cameras among all tokens."""
    each = encoder.num_tokens // len(encoder.cameras)
    return tuple(at * each + token for at in views for token in range(each))


def _tokens_of(latents: Latent, places: Sequence[int]) -> Latent:
    """Return latents `[*b]` of some tokens; a proprio code for each token goes with them."""
    index = torch.tensor(places, device=latents.tokens.device)

    def chosen(tokens: Tensor) -> Tensor:
        return tokens.index_select(-2, index)

    proprio = latents.proprio
    if proprio is not None and proprio.shape[-2] == latents.tokens.shape[-2]:
        proprio = chosen(proprio)
    return replace(latents, tokens=chosen(latents.tokens), proprio=proprio)
