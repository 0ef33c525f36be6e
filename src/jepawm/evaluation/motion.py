"""What people look at beside success: how soon the goal is reached, on how long a way, how smoothly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from jepawm.contracts import Env, place_columns
from jepawm.records import JsonValue
from jepawm.types import Observation


@dataclass(frozen=True, kw_only=True, eq=False)
class Motion:
    """How the episodes of one agent went."""

    steps_to_success: Float[np.ndarray, " B"]
    """Environment steps until the goal was held for the first time; NaN where it never was."""
    path_length: Float[np.ndarray, " B"]
    """Length of the way of what acts, in units of its place; NaN where places are not known."""
    action_change: Float[np.ndarray, " B"]
    """Root mean square of the change from one environment action to the next, in units of actions."""


@dataclass(frozen=True, kw_only=True)
class RowMotion:
    """Means of a row over episodes; None where there is nothing to take the mean of."""

    steps_to_success: float | None
    """Environment steps until the goal was held first, over the episodes in which it ever was."""
    path_length: float | None
    """Length of the way, over the episodes that succeed."""
    path_over_oracle: float | None
    """Length of the way over that of the oracle on the same task, over tasks that both solve."""
    action_change: float | None
    """Root mean square of the change from one environment action to the next, over all episodes."""

    def to_json(self) -> dict[str, JsonValue]:
        """Return the means by name."""
        return {
            "steps_to_success": self.steps_to_success,
            "path_length": self.path_length,
            "path_over_oracle": self.path_over_oracle,
            "action_change": self.action_change,
        }


class MotionWatch:
    """Look at a batch of episodes step by step."""

    def __init__(self, env: Env, obs: Observation) -> None:
        """Take the environment and its first observation `[B]`."""
        self._columns = place_columns(env)
        self._place = self._place_of(obs)
        count = obs.batch_shape[0]
        self._length = np.zeros(count) if self._columns else np.full(count, np.nan)
        self._reached = np.full(count, np.nan)
        self._change, self._done = np.zeros(count), 0
        self._last: Float[np.ndarray, "B a"] | None = None

    def step(
        self, actions: Float[np.ndarray, "B a"], obs: Observation, *, held: Bool[np.ndarray, " B"]
    ) -> None:
        """Take one environment step: its actions, what is seen after it, and who holds the goal."""
        self._done += 1
        self._reached[held & np.isnan(self._reached)] = self._done
        place = self._place_of(obs)
        if self._columns:
            self._length += np.linalg.norm(place - self._place, axis=-1)
        self._place = place
        if self._last is not None:
            self._change += ((actions - self._last) ** 2).mean(-1)
        self._last = actions

    def finish(self) -> Motion:
        """Return how the episodes went."""
        return Motion(
            steps_to_success=self._reached,
            path_length=self._length,
            action_change=np.sqrt(self._change / max(self._done - 1, 1)),
        )

    def _place_of(self, obs: Observation) -> Float[np.ndarray, "B d"]:
        if obs.proprio is None:
            return np.zeros((obs.batch_shape[0], 0))
        return obs.proprio.double().cpu().numpy()[:, list(self._columns)]


def join_motions(motions: Sequence[Motion]) -> Motion:
    """Put the motions of batches of tasks together, in order."""
    names = ("steps_to_success", "path_length", "action_change")
    return Motion(
        **{name: np.concatenate([getattr(one, name) for one in motions]) for name in names}
    )


def row_motion(
    motion: Motion,
    success: Bool[np.ndarray, " B"],
    *,
    oracle: Motion | None,
    oracle_success: Bool[np.ndarray, " B"] | None,
) -> RowMotion:
    """Return the means of a row; the oracle's motion and success where there is one."""
    ratio = None
    if oracle is not None and oracle_success is not None:
        both = success & oracle_success & (oracle.path_length > 0)
        ratio = _mean(motion.path_length[both] / oracle.path_length[both])
    return RowMotion(
        steps_to_success=_mean(motion.steps_to_success[~np.isnan(motion.steps_to_success)]),
        path_length=_mean(motion.path_length[success]),
        path_over_oracle=ratio,
        action_change=_mean(motion.action_change),
    )


def _mean(values: Float[np.ndarray, " n"]) -> float | None:
    """Return the mean to 4 places: the rest is rounding, which depends on the size of the batch."""
    found = float(values.mean()) if len(values) else float("nan")
    return None if np.isnan(found) else round(found, 4)
