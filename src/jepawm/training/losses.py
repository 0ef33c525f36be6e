"""The training loss of a batch: teacher forcing plus a rollout (Eq. 3, 4), and the terms beside them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.errors import UserError, require_range
from jepawm.models.heads import InverseDynamics
from jepawm.models.seeing import see_some
from jepawm.models.world_model import JEPAWorldModel
from jepawm.training.regularizers import sigreg, step_distance_loss, vicreg
from jepawm.types import Context, EncodedObservation, Latent, Observation, Trajectory, concatenate

Metric = Literal["mse", "l1", "smooth_l1", "cos"]
"""Distance between predicted and target latents; cos is minus the cosine of each token."""


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What training minimises."""

    rollout_steps: int = 2
    """K: steps of the rollout term; 1 is teacher forcing alone."""
    rollout_gradient: Literal["last", "all"] = "last"
    """last: each step sees a detached context (truncated backpropagation); all: full gradients."""
    metric: Metric = "mse"
    """Distance between predicted and target latents."""
    rollout_prefix: Literal["random", "first", "all"] = "random"
    """Where rollouts start: one random time per step, the first frame, or every time, averaged."""
    rollout_proprio: Literal["predicted", "true"] = "predicted"
    """Which proprio codes rollout steps see: the model's own or those of the data."""
    rollout_window: int | None = None
    """Context of rollout steps; None: predictor.window."""
    target_gradient: Literal["teacher_forcing", "all", "none"] = "teacher_forcing"
    """Which terms pass gradients into their targets. The reference detaches only rollout targets;
    all suits encoders that are learned with SIGReg or VICReg; codes of the proprioception, which
    no such term keeps from shrinking, then stay detached."""
    proprio: bool = True
    """Add the distance of the proprio codes where the model predicts them."""
    proprio_weight: float = 1.0
    """Weight of that distance; more than 1 where millimetres count, which codes hardly show."""
    proprio_gradient: bool = True
    """Let the code of the proprioception learn; False keeps it at its random start: being affine it
    loses nothing, and learned it may shrink, as small codes are easily predicted."""
    regularizer: Literal["none", "vicreg", "sigreg"] = "none"
    """Anti-collapse term for learned encoders."""
    regularizer_weight: float = 0.05
    """Weight of the anti-collapse term."""
    num_directions: int = 256
    """Random directions that SIGReg projects on in each step."""
    covariance_weight: float = 1.0
    """Weight of VICReg's covariance term against its variance term."""
    temporal_weight: float = 0.0
    """Weight of the temporal smoothness of latents (PLDM)."""
    inverse_dynamics_weight: float = 0.0
    """Weight of predicting the action between two latents (PLDM)."""
    step_distance_weight: float = 0.0
    """Weight of a head that learns how many action blocks separate two latents, for the
    objective's `step_weight`; it reads the latents without changing them."""
    hide_cameras: float = 0.0
    """Part of the steps that predict from some of several cameras alone, drawn anew each time, so that
    a model can plan with any of them."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.rollout_steps < 1:
            raise UserError(f"loss.rollout_steps = {self.rollout_steps} must be at least 1")
        if self.num_directions < 1:
            raise UserError(f"loss.num_directions = {self.num_directions} must be at least 1")
        for name in ("proprio_weight", "step_distance_weight"):
            if not getattr(self, name) >= 0.0:
                raise UserError(f"loss.{name} = {getattr(self, name)}; give 0 or more")
        weights = ("proprio_weight", "regularizer_weight", "covariance_weight", "temporal_weight")
        weights += ("inverse_dynamics_weight", "step_distance_weight")
        require_range(self, weights, where="loss", least=0)
        require_range(self, ("rollout_window",), where="loss", least=1)
        require_range(self, ("hide_cameras",), where="loss", least=0, most=1)
        require_range(self, ("num_directions",), where="loss", least=1, most=2**16)


class Learner(nn.Module):
    """The world model with the heads that only training needs; its forward is the training loss."""

    def __init__(self, model: JEPAWorldModel, loss: LossConfig) -> None:
        """Take the model and the loss; an inverse-dynamics head is built where its weight is set."""
        super().__init__()
        self.model = model
        self.loss = loss
        if model.proprio_encoder is not None and not loss.proprio_gradient:
            model.proprio_encoder.requires_grad_(requires_grad=False)
        self.inverse_dynamics = None
        if loss.inverse_dynamics_weight > 0:
            width = model.encoder.num_tokens * model.encoder.dim
            self.inverse_dynamics = InverseDynamics(latent_width=width, action_dim=model.action_dim)

    def forward(
        self, batch: Trajectory, *, generator: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the terms of the loss; `loss` is their weighted sum.

        With several processes its mean over them is the loss of the global batch.

        Args:
            batch: windows `[B, T+1]`, normalised.
            generator: draws the rollout's start and SIGReg's directions.
        """
        latents = self.model.encode(batch.obs)  # [B, T+1]
        prefixes = draw_prefixes(self.loss, batch.actions.shape[1], generator=generator)
        model, seen = self.model, latents
        if self.loss.hide_cameras > 0:
            model, seen = see_some(model, seen, part=self.loss.hide_cameras, generator=generator)
        terms = self.predictions(seen, batch.actions, prefixes=prefixes, model=model)
        for name, weight, term in self.regularizers(latents, batch.actions, generator=generator):
            terms[name] = term
            terms["loss"] = terms["loss"] + weight * term
        return terms

    def predictions(
        self,
        latents: Latent,
        actions: Float[Tensor, "B T A"],
        *,
        prefixes: Sequence[int],
        model: JEPAWorldModel | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the terms of predicting latents `[B, T+1]`, means over windows; `loss` is their sum.

        `model` is one that sees some of the cameras, those of the latents; None: the whole one.
        """
        prediction = prediction_loss(
            model or self.model, latents, actions=actions, config=self.loss, prefixes=prefixes
        )
        terms = {"loss": prediction.total, "prediction": prediction.teacher_forcing}
        if len(prediction.steps):
            terms["rollout"] = prediction.steps.mean()
        return terms

    def held_out(
        self, latents: Latent, actions: Float[Tensor, "B T A"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the prediction and rollout terms for latents `[B, T+1]` that are not learned from.

        They are of the same kind as those of training; rollouts start wherever they may.
        """
        every = "first" if self.loss.rollout_prefix == "first" else "all"
        config = replace(self.loss, rollout_prefix=every)
        prefixes = draw_prefixes(config, actions.shape[1], generator=torch.Generator())
        found = prediction_loss(
            self.model, latents, actions=actions, config=config, prefixes=prefixes
        )
        terms = {"prediction": found.teacher_forcing}
        return terms | ({"rollout": found.steps.mean()} if len(found.steps) else {})

    def encode(self, obs: Observation | EncodedObservation) -> Latent:
        """Encode observations, as the model does."""
        return self.model.encode(obs)

    def rollout(self, context: Context, actions: Float[Tensor, "B H A"]) -> Latent:
        """Roll a context forward, as the model does."""
        return self.model.rollout(context, actions)

    def regularizers(
        self, latents: Latent, actions: Float[Tensor, "B T A"], *, generator: torch.Generator
    ) -> list[tuple[str, float, Float[Tensor, ""]]]:
        """Return name, weight and value of the terms beside the prediction, for latents `[B, T+1]`."""
        loss = self.loss
        terms: list[tuple[str, float, Tensor]] = []
        if self.model.step_distance is not None:
            value = step_distance_loss(self.model.step_distance, latents)
            terms.append(("step_distance", loss.step_distance_weight, value))
        if not latents.tokens.requires_grad:  # what follows shapes encoders, this one is frozen
            return terms
        groups = latents.tokens.movedim(0, 2).flatten(0, 1).float()  # [(T+1) N, B, D]
        with torch.autocast(groups.device.type, enabled=False):  # bfloat16 is too coarse for them
            if loss.regularizer == "sigreg":
                value = sigreg(groups, num_directions=loss.num_directions, generator=generator)
                terms.append(("sigreg", loss.regularizer_weight, value))
            elif loss.regularizer == "vicreg":
                value = vicreg(groups, covariance_weight=loss.covariance_weight)
                terms.append(("vicreg", loss.regularizer_weight, value))
        if loss.temporal_weight > 0:
            value = latents.tokens.diff(dim=1).square().mean()
            terms.append(("temporal", loss.temporal_weight, value))
        if self.inverse_dynamics is not None:
            predicted = self.inverse_dynamics(latents[:, :-1], latents[:, 1:])
            value = F.mse_loss(predicted, actions)
            terms.append(("inverse_dynamics", loss.inverse_dynamics_weight, value))
        return terms


@dataclass(frozen=True, kw_only=True)
class PredictionLoss:
    """The prediction loss and its parts."""

    total: Float[Tensor, ""]
    """Weighted sum: `teacher_forcing / (K + 1) + sum of steps / K`."""
    teacher_forcing: Float[Tensor, ""]
    """One-step loss from true latents."""
    steps: Float[Tensor, " k"]
    """Loss of rollout steps 2 to K."""


def prediction_loss(
    model: JEPAWorldModel,
    latents: Latent,
    *,
    actions: Float[Tensor, "B T A"],
    config: LossConfig,
    prefixes: Sequence[int],
) -> PredictionLoss:
    """Compare predictions with latents `[B, T+1]` under actions `[B, T, A]` (paper, Eq. 3 and 4).

    Teacher forcing predicts every next latent from true ones. A rollout starts from true latents
    `0..prefix` and the teacher-forced prediction that follows them, and continues with its own; the
    losses of several prefixes are averaged.

    Args:
        model: the world model.
        latents: encoded observations.
        actions: normalised action blocks.
        config: distance, number of steps, gradients.
        prefixes: last true times of the rollouts, each from 0 to T - K.
    """
    targets = latents[:, 1:]
    if config.target_gradient == "all" and targets.proprio is not None:
        targets = replace(targets, proprio=targets.proprio.detach())
    with_gradient = config.target_gradient in ("teacher_forcing", "all")
    predicted, teacher = _teacher_forcing(
        model, latents, actions, config, targets if with_gradient else targets.detach()
    )
    num_steps = config.rollout_steps
    if num_steps == 1:
        return PredictionLoss(
            total=teacher / 2, teacher_forcing=teacher, steps=teacher.new_zeros(0)
        )
    goals = targets if config.target_gradient == "all" else targets.detach()
    rolled = [
        _rollout_steps(
            model, latents, actions, predicted, config=config, goals=goals, prefix=prefix
        )
        for prefix in prefixes
    ]
    steps = torch.stack(rolled).mean(0)  # [K-1]
    total = teacher / (num_steps + 1) + steps.sum() / num_steps
    return PredictionLoss(total=total, teacher_forcing=teacher, steps=steps)


def draw_prefixes(config: LossConfig, num_actions: int, *, generator: torch.Generator) -> list[int]:
    """Draw the last true times of the rollouts, within `0..T-K`."""
    choices = num_actions - config.rollout_steps + 1
    if choices < 1:
        raise UserError(
            f"loss.rollout_steps = {config.rollout_steps} needs windows of at least as many "
            f"actions; data.num_steps is {num_actions}; raise it or lower rollout_steps"
        )
    if config.rollout_prefix == "first":
        return [0]
    if config.rollout_prefix == "all":
        return list(range(choices))
    return [int(torch.randint(choices, (1,), generator=generator))]


def latent_distance(
    predicted: Float[Tensor, "*b C"], target: Float[Tensor, "*b C"], *, metric: Metric
) -> Float[Tensor, ""]:
    """Return the mean distance of codes `[*b, C]` over everything."""
    if metric == "mse":
        return F.mse_loss(predicted, target)
    if metric == "l1":
        return F.l1_loss(predicted, target)
    if metric == "smooth_l1":
        return F.smooth_l1_loss(predicted, target)
    return -F.cosine_similarity(predicted, target, dim=-1).mean()


def _teacher_forcing(
    model: JEPAWorldModel,
    latents: Latent,
    actions: Tensor,
    config: LossConfig,
    targets: Latent,
) -> tuple[Latent, Tensor]:
    """Return one-step predictions `[B, T]`, each from its longest context, and their loss.

    Where the trajectory is longer than the model's window W, every window of W frames is predicted.
    """
    num_actions = actions.shape[1]
    window = min(model.window, num_actions)
    if window == num_actions:
        predicted = model.predict(latents[:, :-1], actions)
        return predicted, _distance(predicted, targets, config)
    starts = torch.arange(num_actions - window + 1, device=actions.device)
    index = starts[:, None] + torch.arange(window, device=actions.device)  # [n, W]
    windows = model.predict(
        latents[:, index].map(lambda x: x.flatten(0, 1)), actions[:, index].flatten(0, 1)
    ).map(lambda x: x.unflatten(0, (-1, len(starts))))  # [B, n, W]
    loss = _distance(windows, targets[:, index], config)
    newest = windows[:, 1:, -1]  # [B, n-1], each with a full context
    return concatenate([windows[:, 0], newest], dim=1), loss


def _rollout_steps(
    model: JEPAWorldModel,
    latents: Latent,
    actions: Tensor,
    predicted: Latent,
    *,
    config: LossConfig,
    goals: Latent,
    prefix: int,
) -> Tensor:
    """Return the losses `[K-1]` of steps 2 to K of the rollout that starts after `prefix`."""
    first = predicted[:, prefix : prefix + 1]  # [B, 1], the prediction of time prefix + 1
    span = slice(prefix + 1, prefix + config.rollout_steps)
    true_proprio = None
    if config.rollout_proprio == "true" and goals.proprio is not None:
        first = replace(first, proprio=goals.proprio[:, prefix : prefix + 1])
        true_proprio = goals.proprio[:, span]
    rolled = model.rollout(
        Context(
            latents=concatenate([latents[:, : prefix + 1], first], dim=1),
            actions=actions[:, : prefix + 1],
        ),
        actions[:, span],
        window=config.rollout_window,
        detach_context=config.rollout_gradient == "last",
        true_proprio=true_proprio,
    )  # [B, K-1]
    wanted = goals[:, span]
    return torch.stack(
        [_distance(rolled[:, k], wanted[:, k], config) for k in range(rolled.batch_shape[1])]
    )


def _distance(predicted: Latent, target: Latent, config: LossConfig) -> Tensor:
    loss = latent_distance(predicted.tokens, target.tokens, metric=config.metric)
    if config.proprio and predicted.proprio is not None and target.proprio is not None:
        proprio = latent_distance(predicted.proprio, target.proprio, metric=config.metric)
        loss = loss + config.proprio_weight * proprio
    return loss
