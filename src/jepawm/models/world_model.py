"""The world model: encode observations, predict latents, roll them forward."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepawm.contracts import Encoder
from jepawm.errors import UserError
from jepawm.models.heads import StepDistanceHead
from jepawm.models.predictor import Predictor
from jepawm.models.proprio import ProprioEncoder
from jepawm.models.views import ViewsEncoder
from jepawm.types import Context, EncodedObservation, Latent, Observation, concatenate


class JEPAWorldModel(nn.Module):
    """A joint-embedding predictive world model: encoder, proprio encoder and predictor."""

    def __init__(
        self,
        encoder: Encoder,
        predictor: Predictor,
        *,
        proprio_encoder: ProprioEncoder | None = None,
        step_distance: StepDistanceHead | None = None,
        image_size: int | None = None,
    ) -> None:
        """Take the parts.

        Args:
            encoder: encoder of images, a module.
            predictor: predictor that fits it.
            proprio_encoder: encoder of the proprioception; None where the model has none.
            step_distance: head that predicts how far apart latents are; None where none is learned.
            image_size: side in pixels of the frames that it learned from; None: not known.
        """
        super().__init__()
        self.encoder = encoder
        self.predictor = predictor
        self.proprio_encoder = proprio_encoder
        self.step_distance = step_distance
        self.image_size = image_size
        self.num_views = len(encoder.cameras) if isinstance(encoder, ViewsEncoder) else 1
        self.window = predictor.config.window
        self.action_dim = predictor.action_encoder.in_features

    def encode(self, obs: Observation | EncodedObservation) -> Latent:
        """Encode observations `[*b]` (proprio normalised) into latents `[*b]`.

        Tokens of a feature cache are taken as they are, in float32; proprio is encoded all the same.
        """
        cached = isinstance(obs, EncodedObservation)
        tokens = obs.tokens.float() if cached else self.encoder(obs.pixels)  # [*b, N, D]
        if self.proprio_encoder is None:
            return Latent(tokens=tokens)
        if obs.proprio is None:
            raise UserError("the model needs proprioception and the observation has none")
        code = self.proprio_encoder(obs.proprio)  # [*b, 1, Dp]
        if self.predictor.layout.proprio_feature_dim:
            code = code.expand(*code.shape[:-2], tokens.shape[-2], -1)  # [*b, N, Dp]
        return Latent(tokens=tokens, proprio=code)

    def predict(self, latents: Latent, actions: Float[Tensor, "B w A"]) -> Latent:
        """Predict latents `[B, w]` from latents `[B, w]` and actions `[B, w, A]`.

        Slot t sees latents and actions up to t and predicts time t + 1.
        """
        return self.predictor(latents, actions)

    def rollout(
        self,
        context: Context,
        actions: Float[Tensor, "B H A"],
        *,
        window: int | None = None,
        detach_context: bool = False,
        true_proprio: Float[Tensor, "B H M Dp"] | None = None,
    ) -> Latent:
        """Roll the context forward under actions `[B, H, A]`; returns latents `[B, H]`.

        The only autoregressive loop, for training and planning alike.

        Args:
            context: latents to start from and the actions between them.
            actions: actions; the first leads from the last context latent to the first result.
            window: latents that each prediction sees; None: the model's own.
            detach_context: cut the gradient through what each prediction sees (Eq. of the
                multi-step loss with truncated backpropagation).
            true_proprio: proprio codes that later predictions see in place of predicted ones.
        """
        window = window or self.window
        latents = context.latents
        past = context.actions  # [B, w-1, A]
        predictions: list[Latent] = []
        for step in range(actions.shape[1]):
            past = torch.cat([past, actions[:, step : step + 1]], dim=1)[:, -window:]
            latents = latents[:, -window:]
            seen = latents.detach() if detach_context else latents
            predicted = self.predict(seen, past)[:, -1:]  # [B, 1]
            predictions.append(predicted)
            if true_proprio is not None:
                predicted = replace(predicted, proprio=true_proprio[:, step : step + 1])
            latents = predicted if window == 1 else concatenate([latents, predicted], dim=1)
        return concatenate(predictions, dim=1)
