"""Golden checks of predictors and of their autoregressive unroll."""

from typing import cast, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.golden.case import Comparison, GoldenCase, GoldenError, compare
from jepawm.hub.reference import Family, convert_predictor, convert_proprio, predictor_config
from jepawm.models.predictor import Predictor
from jepawm.models.proprio import ProprioConfig, ProprioEncoder
from jepawm.models.world_model import JEPAWorldModel
from jepawm.types import Context, Latent, concatenate


class GivenTokens(nn.Module):
    """Stand in the encoder's place where a case gives encoded frames."""

    def __init__(self, *, dim: int, grid: tuple[int, int]) -> None:
        """Take the width and the grid of the tokens."""
        super().__init__()
        self.dim = dim
        self.grid = grid
        self.num_tokens = grid[0] * grid[1]


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
        predicted = model.predict(latents, actions)
        got = {"pred_visual": predicted.tokens.reshape(case.array(f"{prefix}/pred_visual").shape)}
        if predicted.proprio is not None:
            got["pred_proprio"] = predicted.proprio
        if f"{prefix}/action_code" in case.arrays:
            got["action_code"] = model.predictor.action_encoder(actions)
        if f"{prefix}/proprio_code" in case.arrays and latents.proprio is not None:
            got["proprio_code"] = latents.proprio[:, :, 0]
        results += [_compare(case, f"{prefix}/{name}", value) for name, value in got.items()]
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
        if both.proprio is not None:
            results.append(_compare(case, f"{prefix}/pred_proprio", both.proprio))
    return results


def build_model(case: GoldenCase) -> JEPAWorldModel:
    """Build the reference predictor of a case with the case's weights, in evaluation mode."""
    family = case.option("family", str)
    if family not in get_args(Family):
        raise GoldenError(f"{case.name}: unknown family {family!r}")
    family = cast(Family, family)
    weights = case.state("predictor")
    proprio = _proprio_config(case)
    latent_dim, grid = case.option("embed_dim", int), case.option("grid", int)
    config = predictor_config(
        family,
        depth=case.option("depth", int),
        num_heads=case.option("num_heads", int),
        head_dim=case.option("head_dim", int),
        visual_dim=latent_dim if family == "dino_wm" else case.option("pred_embed_dim", int),
        window=case.option("num_frames_pred", int),
        action_code_dim=case.optional("action_emb_dim", int) or 0,
        hidden_dim=case.optional("mlp_dim", int),
    )
    predictor = Predictor(
        config,
        proprio,
        latent_dim=latent_dim,
        grid=(grid, grid),
        action_dim=case.option("action_dim", int),
    )
    predictor.load_state_dict(
        convert_predictor(family, weights, action_encoder=case.state("action_encoder"))
    )
    encoder = None
    if proprio.mode != "none":
        code = proprio.dim if proprio.mode == "feature" else predictor.layout.width
        encoder = ProprioEncoder(case.option("proprio_dim", int), code)
        encoder.load_state_dict(
            convert_proprio(weights, proprio_encoder=case.state("proprio_encoder"))
        )
    given = GivenTokens(dim=latent_dim, grid=(grid, grid))
    return JEPAWorldModel(given, predictor, proprio_encoder=encoder).eval()


def _proprio_config(case: GoldenCase) -> ProprioConfig:
    if case.optional("proprio_tokens", int):
        return ProprioConfig(mode="token")
    width = case.optional("proprio_emb_dim", int) or 0
    return ProprioConfig(mode="feature", dim=width) if width else ProprioConfig(mode="none")


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
