"""Random behaviour in any environment: actions that are held for a while."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jepawm.contracts import Script
from jepawm.envs import ENVIRONMENTS, build_env
from jepawm.envs.gymnasium.batch import GymnasiumBatch
from jepawm.errors import UserError, require_range

_MOST_AT_ONCE = 16
"""Copies of an environment that is not ours; each may hold a simulator and a window of its own."""
_IMAGE_SIZE = 16
"""Side of the pictures that nobody looks at while starts and actions are drawn."""


@dataclass(frozen=True, kw_only=True)
class RandomActions:
    """Do at random: every action is uniform between -1 and 1 and is held for some steps."""

    environment: str = ""
    """Name of the environment, whose action width and episodes' ends are needed; a collection fills
    it in."""
    hold_low: int = 1
    """Fewest steps that an action is held."""
    hold_high: int = 8
    """Most steps that an action is held; each action draws its own."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range(self, ("hold_low",), where="data.policy", least=1)
        require_range(self, ("hold_high",), where="data.policy", least=self.hold_low)

    def script(
        self, generator: np.random.Generator, *, num_episodes: int, num_steps: int, data_root: Path
    ) -> Script:
        """Draw starts and actions; `data_root` plays no part. Episodes end where the environment's do."""
        del data_root
        if not self.environment:
            raise UserError(
                "data.policy.environment is empty; name the environment (--policy.environment gym:ID)"
            )
        ENVIRONMENTS.require_named(self.environment)  # it may stand in the file of a run
        env = build_env(self.environment, image_size=_IMAGE_SIZE)
        seed = int(generator.integers(2**31))
        shape = (num_episodes, num_steps, env.action_dim)
        commands = list(self._hold(generator, generator.uniform(-1, 1, shape)))
        if not isinstance(env, GymnasiumBatch):
            return Script(tasks=env.sample_tasks(seed, num_tasks=num_episodes), commands=commands)
        tasks = env.sample_starts(seed, num_tasks=num_episodes)
        ends = [env.steps_to_end(task, rows) for task, rows in zip(tasks, commands, strict=True)]
        env.close()
        cut = [rows[:end] for rows, end in zip(commands, ends, strict=True)]
        return Script(tasks=tasks, commands=cut, most_at_once=_MOST_AT_ONCE)

    def _hold(
        self, generator: np.random.Generator, actions: Float[np.ndarray, "E T a"]
    ) -> Float[np.ndarray, "E T a"]:
        """Return actions of which each is held; in float32, in which they are executed."""
        held = np.empty_like(actions)
        for episode, rows in enumerate(actions):
            step = 0
            while step < len(rows):
                end = step + int(generator.integers(self.hold_low, self.hold_high + 1))
                held[episode, step:end] = rows[step]
                step = end
        return held.astype(np.float32).astype(np.float64)


def gym(name: str) -> Callable[..., RandomActions]:
    """Return what builds the policy of a registered Gymnasium environment: `gym:ID`."""
    return partial(_of, f"gym:{name}")


def ogbench(name: str) -> Callable[..., RandomActions]:
    """Return what builds the policy of an environment of OGBench: `ogbench:ID`."""
    return partial(_of, f"ogbench:{name}")


def _of(environment: str) -> RandomActions:
    return replace(RandomActions(), environment=environment)
