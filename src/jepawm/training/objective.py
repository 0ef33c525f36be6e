"""The whole training loss of one batch: prediction, anti-collapse, what helps planning."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.models.heads import InverseDynamics
from jepawm.models.world_model import JEPAWorldModel
from jepawm.training.losses import LossConfig, draw_prefixes, prediction_loss
from jepawm.training.regularizers import sigreg, step_distance_loss, vicreg
from jepawm.types import Context, EncodedObservation, Latent, Observation, Trajectory


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
        prediction = prediction_loss(
            self.model, latents, actions=batch.actions, config=self.loss, prefixes=prefixes
        )
        terms = {"loss": prediction.total, "prediction": prediction.teacher_forcing}
        if len(prediction.steps):
            terms["rollout"] = prediction.steps.mean()
        for name, weight, term in self._regularizers(latents, batch.actions, generator):
            terms[name] = term
            terms["loss"] = terms["loss"] + weight * term
        return terms

    def encode(self, obs: Observation | EncodedObservation) -> Latent:
        """Encode observations, as the model does."""
        return self.model.encode(obs)

    def rollout(self, context: Context, actions: Float[Tensor, "B H A"]) -> Latent:
        """Roll a context forward, as the model does."""
        return self.model.rollout(context, actions)

    def _regularizers(
        self, latents: Latent, actions: Tensor, generator: torch.Generator
    ) -> list[tuple[str, float, Tensor]]:
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
