"""Rewards that environments know by name (`contracts.KnowsRewards`)."""

from collections.abc import Sequence

from jepawm.contracts import Env, KnowsRewards
from jepawm.errors import UserError, plain_text


def require_reward(name: str, known: Sequence[str]) -> None:
    """Refuse a reward that an environment does not know."""
    if name not in known:
        raise UserError(
            f"there is no reward {plain_text(name)!r} here (known: {', '.join(known) or 'none'})"
        )


def rewarding(env: Env, *, name: str) -> KnowsRewards:
    """Return the environment if it knows rewards; `name` is how messages call it."""
    if not isinstance(env, KnowsRewards):
        raise UserError(
            f"the environment {plain_text(name)} knows no rewards of its states, so there is no true return; "
            "give it reward_names and reward(name, states), or measure another way"
        )
    return env
