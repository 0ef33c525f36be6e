"""Golden check of the training loss and its gradients."""

import re
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from jepawm.golden.case import Comparison, GoldenCase, GoldenError, compare
from jepawm.golden.predictors import build_model, case_family
from jepawm.hub.reference import convert_world_model
from jepawm.models.world_model import JEPAWorldModel
from jepawm.training.losses import LossConfig, Metric, PredictionLoss, prediction_loss
from jepawm.types import Latent

_PREFIX = re.compile(r"^K(\d+)(?:_W(\d+)_(stopgrad|fullgrad))?/total$")
_METRICS: dict[str, Metric] = {"l2": "mse", "l1": "l1", "smooth_l1": "smooth_l1", "cos": "cos"}
_ROLLOUT_PROPRIO: dict[str, Literal["predicted", "true"]] = {
    "None": "predicted",
    "predict_proprio": "predicted",
    "use_ground_truth": "true",
}


def check_training_loss(case: GoldenCase) -> list[Comparison]:
    """Compare totals, parts and gradients for every number of steps, window and gradient mode."""
    model = build_model(case)
    matches = [match for name in sorted(case.arrays) if (match := _PREFIX.match(name))]
    if not matches:
        raise GoldenError(f"{case.name}: there is no array named K<k>.../total")
    results: list[Comparison] = []
    for match in matches:
        steps, window, mode = match.groups()
        config = LossConfig(
            rollout_steps=int(steps),
            rollout_gradient="all" if mode == "fullgrad" else "last",
            rollout_window=int(window) if window else None,
            rollout_proprio=_ROLLOUT_PROPRIO[str(case.meta.get("proprio_rollout_mode"))],
        )
        results += _check_setting(case, model, config, match.group().removesuffix("total"))
    return results


def _check_setting(
    case: GoldenCase, model: JEPAWorldModel, config: LossConfig, prefix: str
) -> list[Comparison]:
    rtol = case.allowance("loss_rtol")
    chosen = int(case.array(f"{prefix}prefix"))
    results: list[Comparison] = []

    def check(name: str, got: Tensor) -> None:
        key = prefix + name
        if key in case.arrays:
            results.append(
                compare(key, got.detach().double(), case.tensor(key), atol=1e-7, rtol=rtol)
            )

    model.zero_grad()
    loss = _weighted(case, model, config, chosen)
    loss.total.backward()
    check("total", loss.total)
    check("teacher_forcing/loss", loss.teacher_forcing)
    if len(loss.steps):
        check("rollout/loss", loss.steps)
        check("rollout_total", loss.steps.sum() / config.rollout_steps)
    norms = [p.grad.norm() for p in model.parameters() if p.grad is not None]
    check("grad_norm", torch.stack(norms).norm())
    results += _check_gradients(case, model, prefix)
    with torch.no_grad():
        for name, metric in _METRICS.items():
            for part in ("visual", "proprio"):
                loss = _part_loss(case, model, config, chosen, metric, part)
                check(f"teacher_forcing/{part}_{name}_loss", loss.teacher_forcing)
                if len(loss.steps):
                    check(f"rollout/{part}_{name}_loss", loss.steps)
        count = case.array(f"{prefix}total_per_prefix").size
        totals = [_weighted(case, model, config, start).total for start in range(count)]
        check("total_per_prefix", torch.stack(totals))
    return results


def _weighted(
    case: GoldenCase, model: JEPAWorldModel, config: LossConfig, start: int
) -> PredictionLoss:
    """Return the loss with the file's weights of the distances."""
    weights = case.meta.get("loss_weights", {"l2": 1.0})
    if not isinstance(weights, dict) or not any(weights.values()):
        raise GoldenError(f"{case.name}: loss_weights {weights!r} has no positive weight")
    losses = [
        (float(weight), _loss(case, model, config, start, _METRICS[name]))
        for name, weight in weights.items()
        if weight
    ]
    return PredictionLoss(
        total=torch.stack([w * loss.total for w, loss in losses]).sum(),
        teacher_forcing=torch.stack([w * loss.teacher_forcing for w, loss in losses]).sum(),
        steps=torch.stack([w * loss.steps for w, loss in losses]).sum(0),
    )


def _loss(
    case: GoldenCase,
    model: JEPAWorldModel,
    config: LossConfig,
    start: int,
    metric: Metric,
    *,
    proprio: bool = True,
) -> PredictionLoss:
    tokens = case.tensor("z_in").flatten(2, 3)  # [B, n, N, D]
    code = None
    if model.proprio_encoder is not None:
        code = model.proprio_encoder(case.tensor("proprio_in"))
        if model.predictor.layout.proprio_feature_dim:
            code = code.expand(-1, -1, tokens.shape[2], -1)
    # The last action leads beyond the last frame: its prediction has no target.
    actions = case.tensor("action_in")[:, :-1]
    return prediction_loss(
        model,
        Latent(tokens=tokens, proprio=code),
        actions=actions,
        config=replace(config, metric=metric, proprio=proprio),
        prefixes=[min(start, actions.shape[1] - config.rollout_steps)],
    )


def _part_loss(
    case: GoldenCase,
    model: JEPAWorldModel,
    config: LossConfig,
    start: int,
    metric: Metric,
    part: str,
) -> PredictionLoss:
    visual = _loss(case, model, config, start, metric, proprio=False)
    if part == "visual":
        return visual
    both = _loss(case, model, config, start, metric)
    return PredictionLoss(
        total=both.total - visual.total,
        teacher_forcing=both.teacher_forcing - visual.teacher_forcing,
        steps=both.steps - visual.steps,
    )


def _check_gradients(case: GoldenCase, model: JEPAWorldModel, prefix: str) -> list[Comparison]:
    """Compare the gradients that the file holds, whole or every so many rows."""
    parameters = dict(model.named_parameters())
    results: list[Comparison] = []
    for key in sorted(case.arrays):
        if not key.startswith(f"{prefix}grad/"):
            continue
        expected = case.tensor(key)
        name = _our_name(case, key.removeprefix(f"{prefix}grad/"))
        if name not in parameters:
            raise GoldenError(f"{case.name}: {key} is not a parameter of the model ({name})")
        gradient = parameters[name].grad
        if gradient is None:
            raise GoldenError(f"{case.name}: no gradient reaches {name}")
        if gradient.shape[0] != expected.shape[0]:
            gradient = gradient[:: -(-gradient.shape[0] // expected.shape[0])]  # every 5th row
        atol = case.allowance("grad_atol_relative_to_grad_max") * float(expected.abs().max())
        got = gradient.reshape(expected.shape)
        results.append(compare(key, got, expected, atol=atol, rtol=case.allowance("grad_rtol")))
    return results


def _our_name(case: GoldenCase, name: str) -> str:
    """Return what the parameter `<group>.<tensor>` of the reference is called here."""
    (ours,) = convert_world_model(case_family(case), {name: torch.zeros(1)})
    return ours
