"""Golden checks of predictors and of their autoregressive unroll."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import cast, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.build import build_world_model
from jepawm.golden.case import Comparison, GoldenCase, GoldenError, compare, exact
from jepawm.hub.reference import (
    GROUPS,
    Family,
    convert_world_model,
    flat_names,
    predictor_config,
)
from jepawm.models.blocks import attend, attend_frames, block_causal_mask
from jepawm.models.encoders import GivenTokens
from jepawm.models.positions import rotary_angles, rotate, rotation_by
from jepawm.models.proprio import ProprioConfig
from jepawm.models.weight_files import load_weights
from jepawm.models.world_model import JEPAWorldModel
from jepawm.types import Context, Latent, concatenate


@torch.no_grad()
def check_predictor(case: GoldenCase) -> list[Comparison]:
    """Compare codes and predictions for every window length of the file."""
    model = build_model(case)
    prefixes = sorted({name.split("/")[0] for name in case.arrays if "/z_in" in name})
    if not prefixes:
        raise GoldenError(f"{case.name}: there is no array named T<k>/z_in")
    results: list[Comparison] = []
    for prefix in prefixes:
        tokens = _flat(case.tensor(f"{prefix}/z_in"))
        actions = case.tensor(f"{prefix}/action_in")
        latents = Latent(
            tokens=tokens, proprio=_encode_proprio(model, case, f"{prefix}/proprio_in")
        )
        with _unfinished_outputs(model) as unfinished:
            predicted = model.predict(latents, actions)
        shape = case.array(f"{prefix}/pred_visual").shape
        got = {"pred_visual": predicted.tokens.reshape(shape)}
        if "visual" in unfinished:
            got["pred_visual_unnormalised"] = unfinished["visual"].reshape(shape)
        if model.predictor.layout.action_token:
            got["pred_action_token"] = unfinished["sequence"][:, :, :1]
        if predicted.proprio is not None:
            got["pred_proprio"] = predicted.proprio
        if f"{prefix}/action_code" in case.arrays:
            got["action_code"] = model.predictor.action_encoder(actions)
        if f"{prefix}/proprio_code" in case.arrays and latents.proprio is not None:
            got["proprio_code"] = latents.proprio[:, :, 0]
        stored = [name for name in got if f"{prefix}/{name}" in case.arrays]
        results += [_compare(case, f"{prefix}/{name}", got[name]) for name in stored]
    return results


@torch.no_grad()
def check_unroll(case: GoldenCase) -> list[Comparison]:
    """Compare the autoregressive unroll for every context window of the file."""
    model = build_model(case)
    actions = case.tensor("actions").transpose(0, 1)  # [B, H, A]
    batch = actions.shape[0]
    start = Latent(
        tokens=_flat(case.tensor("z_start")),
        proprio=_encode_proprio(model, case, "proprio_start"),
    ).map(lambda tensor: tensor.expand(batch, *tensor.shape[1:]))
    context = Context(latents=start, actions=actions[:, :0])
    results: list[Comparison] = []
    prefixes = sorted({name.split("/")[0] for name in case.arrays if name.endswith("/pred_visual")})
    for prefix in prefixes:
        rolled = model.rollout(context, actions, window=int(prefix.removeprefix("W")))
        both = concatenate([start, rolled], dim=1).map(lambda tensor: tensor.transpose(0, 1))
        expected = case.array(f"{prefix}/pred_visual")
        results.append(_compare(case, f"{prefix}/pred_visual", both.tokens.reshape(expected.shape)))
        if both.proprio is not None and f"{prefix}/pred_proprio" in case.arrays:
            results.append(_compare(case, f"{prefix}/pred_proprio", both.proprio))
    return results


def build_model(case: GoldenCase) -> JEPAWorldModel:
    """Build the reference predictor of a case with the case's weights, in evaluation mode.

    What widths the parts have, and whether a code is a token or joins the channels, is read from
    the weights.
    """
    family = case_family(case)
    tensors = case_tensors(case)
    weights = convert_world_model(family, tensors)
    latent_dim, grid = case.option("embed_dim", int), case.option("grid", int)
    visual_dim = latent_dim if family == "dino_wm" else case.option("pred_embed_dim", int)
    width = _size(case, weights, "predictor.norm.weight")
    code = weights.get("proprio_encoder.proj.weight")
    proprio = _proprio_config(code, extra=width - visual_dim)
    feature_dim = proprio.dim if proprio.mode == "feature" else 0
    config = predictor_config(
        family,
        depth=case.option("depth", int),
        num_heads=case.option("num_heads", int),
        head_dim=case.option("head_dim", int),
        visual_dim=visual_dim,
        window=case.option("num_frames_pred", int),
        action_code_dim=width - visual_dim - feature_dim,
        hidden_dim=_size(case, weights, "predictor.blocks.0.mlp.fc1.weight"),
    )
    if case.optional("normalize_reps", bool) is not None:
        config = replace(config, normalize_output=case.option("normalize_reps", bool))
    given = GivenTokens(dim=latent_dim, grid=(grid, grid))
    model = build_world_model(
        given,
        config,
        proprio=proprio,
        action_dim=case.option("action_dim", int),
        proprio_dim=0 if code is None else code.shape[1],
    )
    load_weights(model, weights, source=case.name)
    return model.eval()


def case_family(case: GoldenCase) -> Family:
    """Return the family of predictors that a case is about."""
    family = case.option("family", str)
    if family not in get_args(Family):
        raise GoldenError(f"{case.name}: unknown family {family!r}")
    return cast(Family, family)


def case_tensors(case: GoldenCase) -> dict[str, Tensor]:
    """Return the weights of a case by `<group>.<tensor>`."""
    return flat_names({group: case.state(group) for group in GROUPS})


def _size(case: GoldenCase, weights: dict[str, Tensor], name: str) -> int:
    if name not in weights:
        raise GoldenError(f"{case.name}: the weights have no {name}")
    return weights[name].shape[0]


def _proprio_config(code: Tensor | None, *, extra: int) -> ProprioConfig:
    """Tell a token from features; `extra` channels of a token are not visual."""
    if code is None:
        return ProprioConfig(mode="none")
    if code.shape[0] > extra:
        return ProprioConfig(mode="token")
    return ProprioConfig(mode="feature", dim=code.shape[0])


@contextmanager
def _unfinished_outputs(model: JEPAWorldModel) -> Iterator[dict[str, Tensor]]:
    """Keep the whole sequence after the last norm, and the projected tokens, of a prediction."""
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _module, _inputs, output: kept.update({name: output})

    handles = [model.predictor.norm.register_forward_hook(keep("sequence"))]
    if model.predictor.proj is not None:
        handles.append(model.predictor.proj.register_forward_hook(keep("visual")))
    yield kept
    for handle in handles:
        handle.remove()


def _encode_proprio(model: JEPAWorldModel, case: GoldenCase, name: str) -> Tensor | None:
    if model.proprio_encoder is None:
        return None
    code = model.proprio_encoder(case.tensor(name))  # [B, T, 1, Dp]
    if model.predictor.layout.proprio_feature_dim:
        code = code.expand(-1, -1, model.encoder.num_tokens, -1)
    return code


def _flat(tokens: Float[Tensor, "B T G G D"]) -> Float[Tensor, "B T N D"]:
    return tokens.flatten(2, 3)


def _compare(case: GoldenCase, name: str, got: Tensor) -> Comparison:
    return compare(name, got, case.tensor(name), atol=case.atol, rtol=case.rtol)


def check_rope_attention(case: GoldenCase) -> list[Comparison]:
    """Compare rotated queries and keys, the mask, and attention with and without it."""
    grid, num_frames = case.option("grid", int), case.option("T", int)
    num_condition = case.optional("cond_tokens_per_frame", int) or 0
    num_heads, head_dim = case.tensor("q").shape[1], case.option("head_dim", int)
    angles = rotary_angles(
        num_frames=num_frames,
        grid=(grid, grid),
        num_condition=num_condition,
        head_dim=head_dim,
        tiled=True,
        scale=case.optional("position_scale", float) or 1.0,
    )
    rotation = rotation_by(
        angles, num_frames=num_frames, num_heads=num_heads, device=torch.device("cpu")
    )

    def frames(name: str) -> Tensor:
        flat = case.tensor(name).transpose(1, 2).flatten(-2)  # [B, L, inner]
        return flat.unflatten(1, (num_frames, -1))  # [B, T, n, inner]

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (num_heads, head_dim))  # [B, T, n, heads, h]

    def plain(x: Tensor) -> Tensor:
        return x.flatten(1, -3).transpose(1, 2)  # [B, heads, L, h]

    query, key = (heads(rotate(frames(name)[..., None, :], rotation)[..., 0, :]) for name in "qk")
    value = heads(frames("v"))
    got = {
        "q_rotated": plain(query),
        "k_rotated": plain(key),
        "out_block_causal": plain(attend_frames(query, key, value)),
        "out_full": plain(attend(*(part.flatten(1, 2) for part in (query, key, value)))),
    }
    results = [
        compare(name, tensor, case.tensor(name), atol=case.atol, rtol=case.rtol)
        for name, tensor in got.items()
    ]
    mask = block_causal_mask(num_frames, num_condition + grid * grid)
    expected = case.tensor("block_causal_mask")
    return [*results, exact("block_causal_mask", mask.to(torch.uint8), expected.to(torch.uint8))]
