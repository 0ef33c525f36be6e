"""Several goals one after the other: a plan that passes each on its way to the last."""

from dataclasses import dataclass, field, replace
from typing import Annotated

import tyro
from jaxtyping import Float
from torch import Tensor

from jepawm.errors import UserError
from jepawm.planning.objectives import LatentDistance
from jepawm.planning.terms.composition import Composable
from jepawm.planning.terms.heads import Heads
from jepawm.types import Latent, Observation


@dataclass(frozen=True, kw_only=True, eq=False)  # pictures are not compared
class InSequence(Composable):
    """Cost the least distance with which a plan passes some places in order, and ends at the goal.

    An agent that replans begins anew each time: reset it with what is left once a place is passed.
    """

    via: Annotated[tuple[Observation, ...], tyro.conf.Suppress] = field(
        default=(), kw_only=False, metadata={"of_model": True}
    )
    """What is seen at the places, one observation `[1]` each, the same for all problems."""
    distance: LatentDistance = LatentDistance()
    """How far a latent is from a place, and the last one from the goal."""
    places: Annotated[tuple[Latent, ...], tyro.conf.Suppress] = field(
        default=(), metadata={"of_model": True}
    )
    """Their latents `[1]`; empty until an agent has encoded them."""

    def with_heads(self, heads: Heads) -> "InSequence":
        """Return the term with its places encoded."""
        if not self.via or any(tuple(one.batch_shape) != (1,) for one in self.via):
            raise UserError(
                "InSequence needs the places to pass, each one observation with a batch axis of "
                "length 1; give InSequence((first, second))"
            )
        if heads.encode is None:
            raise UserError("InSequence needs a model that encodes its places; give it to an agent")
        return replace(self, places=tuple(heads.encode(one) for one in self.via))

    def __call__(
        self, predicted: Latent, goal: Latent, actions: Float[Tensor, "B K H A"]
    ) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of latents `[B, K, H]` for goals `[B]`.

        The places share out the steps before the last so that the sum of the distances is least.
        """
        if not self.places:
            raise UserError("InSequence has not encoded its places; give it to an agent")
        end = self.distance(predicted[:, :, -1:], goal, actions[:, :, -1:])
        passed: Tensor | float = 0.0  # [B, K, H]: the least cost of all places so far up to a step
        for place in self.places:
            passed = (passed + self._each_step(predicted, place, actions)).cummin(-1).values
        assert isinstance(passed, Tensor)
        return passed[..., -1] + end

    def _each_step(self, predicted: Latent, place: Latent, actions: Tensor) -> Tensor:
        """Return the distance `[B, K, H]` of each predicted step to a place `[1]`."""
        problems, *shape = actions.shape[:3]
        place = place.map(lambda part: part.expand(problems, *part.shape[1:]))
        alone = predicted.map(lambda part: part.flatten(1, 2)[:, :, None])  # [B, K * H, 1]
        one = self.distance(alone, place, actions.flatten(1, 2)[:, :, None])
        return one.unflatten(1, shape)
