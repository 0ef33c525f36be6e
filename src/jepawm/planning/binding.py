"""Hand an objective what it reads of a model, before anything is planned."""

from dataclasses import replace
from functools import partial

import torch

from jepawm.contracts import Objective, Planner, WorldModel
from jepawm.errors import UserError
from jepawm.normalizer import Normalizer
from jepawm.planning.step_distance import with_head
from jepawm.planning.terms.composition import goal_kinds, parts_of
from jepawm.planning.terms.heads import Heads, bind
from jepawm.planning.terms.text import TextDistance
from jepawm.texts import Text
from jepawm.types import Latent, Observation

ANY_NUMBER = 2**31
"""Problems that one goal for all stands for: a view that takes no memory."""


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


def takes_text(objective: Objective) -> bool:
    """Return whether an objective compares with a text; one that compares with a picture too is refused."""
    kinds = goal_kinds(objective)
    if kinds > {"text"}:
        raise UserError(
            "the objective compares with a text and with a picture, and an agent has one goal; leave "
            "out `text`, or the terms that need a picture (goal, state_goal, crop)"
        )
    return kinds == {"text"}


class OtherGoals:
    """Place goals that are no pictures, for one objective and one planner."""

    def __init__(self, objective: Objective, planner: Planner, *, bound: Objective) -> None:
        """Take the objective, the planner, and what the objective computes with its heads."""
        self._objective, self._planner, self._bound = objective, planner, bound
        text = (Observation,) if takes_text(objective) else ()
        self.kinds: tuple[type, ...] = (type(None), Text, *text)
        """What comes here; a picture does where the objective compares with a text, to be refused."""

    def place(self, goal: object) -> Latent:
        """Return what `other_goal` makes of a goal."""
        return other_goal(goal, self._objective, planner=self._planner, bound=self._bound)


def other_goal(goal: object, objective: Objective, *, planner: Planner, bound: Objective) -> Latent:
    """Return what stands for goals that are no pictures: a text `[B, 1, E]`, or nothing.

    One text stands for any number of problems. A goal of the wrong kind is refused.
    """
    if goal is None and not takes_text(objective):
        return no_goal(objective, planner)
    if not isinstance(goal, Text):
        given = "there is none" if goal is None else f"it is a {type(goal).__name__}"
        raise UserError(
            f"the objective compares with a text, and the goal is no text ({given}); call "
            'reset(goal=Text("the lower left corner")), on the command line `plan --goal TEXT` or `eval '
            "--instructions seen`, or choose an objective for pictures, such as GoalDistance()"
        )
    heads = [part.head for part in parts_of(bound) if isinstance(part, TextDistance)]
    if not takes_text(objective) or not heads or heads[0] is None:
        raise UserError(
            f"the goal is a text, and the objective {type(objective).__name__} compares with no text; "
            "choose TextDistance(), on the command line --objective text"
        )
    _refuse_proposals(planner)
    if any(head != heads[0] for head in heads):
        raise UserError("the objective reads texts by two different maps; give one")
    placed = heads[0].embed(goal.texts)[:, None]  # [n, 1, E]
    if len(placed) == 1:
        placed = placed.expand(ANY_NUMBER, -1, -1)
    return Latent(tokens=placed)


def no_goal(objective: Objective, planner: Planner) -> Latent:
    """Return what stands for the goals where there are none: latents `[B]` without a token.

    An objective that needs a goal, and a planner whose proposals lead to one, are refused.
    """
    if getattr(objective, "needs_goal", True):
        raise UserError(
            f"the objective {type(objective).__name__} needs a goal and there is none; call "
            "reset(goal) with a picture, or choose an objective without one, such as Reward()"
        )
    _refuse_proposals(planner)
    return Latent(tokens=torch.empty(ANY_NUMBER, 0, 0))


def _refuse_proposals(planner: Planner) -> None:
    if getattr(planner, "num_proposals", 0):
        raise UserError(
            f"planner.num_proposals = {planner.num_proposals} asks for plans towards a goal picture, and "  # pyright: ignore[reportAttributeAccessIssue]
            "there is none; set it to 0, or choose a planner that searches, such as --preset fast"
        )
