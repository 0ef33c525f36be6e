"""Hand an objective what it reads of a model, before anything is planned."""

from dataclasses import replace
from functools import partial

import torch

from jepawm.contracts import Objective, Planner, WorldModel
from jepawm.errors import UserError
from jepawm.normalizer import Normalizer
from jepawm.planning.step_distance import with_head
from jepawm.planning.terms.heads import Heads, bind
from jepawm.types import Latent


def bind_to(
    objective: Objective, heads: Heads, *, model: WorldModel, normalizer: Normalizer
) -> Objective:
    """Return what an objective computes with a model, its statistics and the heads beside it."""
    own = replace(
        heads,
        with_steps=partial(with_head, head=getattr(model, "step_distance", None)),
        grid=getattr(getattr(model, "encoder", None), "grid", None),
        encode=lambda obs: model.encode(normalizer.observation(obs)),
        action_dim=normalizer.action_dim,
    )
    return bind(objective, own)


def no_goal(objective: Objective, planner: Planner) -> Latent:
    """Return what stands for the goals where there are none: latents `[B]` without a token.

    An objective that needs a goal, and a planner whose proposals lead to one, are refused.
    """
    if getattr(objective, "needs_goal", True):
        raise UserError(
            f"the objective {type(objective).__name__} needs a goal and there is none; call "
            "reset(goal) with a picture, or choose an objective without one, such as Reward()"
        )
    if getattr(planner, "num_proposals", 0):
        raise UserError(
            f"planner.num_proposals = {planner.num_proposals} asks for plans towards a goal, and "  # pyright: ignore[reportAttributeAccessIssue]
            "there is none; set it to 0, or choose a planner that searches, such as --preset fast"
        )
    return Latent(tokens=torch.empty(2**31, 0, 0))
