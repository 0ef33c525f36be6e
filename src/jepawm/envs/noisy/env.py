"""An environment seen through disturbed pictures and moved by disturbed actions.

The noise of an episode is a function of its task, of the strength and of time. So it repeats: the
same task looks the same in any batch, and another strength plays the same tasks.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float

from jepawm.contracts import Env, KnowsPlaces, Simulator, place_columns
from jepawm.envs import ENVIRONMENTS, split_noisy
from jepawm.envs.noisy.scenery import Scenery, disturb_pictures, draw_scenery
from jepawm.errors import UserError
from jepawm.types import Observation, Task

_ACTION_NOISE = 0.3  # standard deviation at strength 1, in root mean squares of the action
_STEPS_AT_A_TIME = 64


def noisy(member: str) -> Callable[..., Env]:
    """Return the builder of `ENV@STRENGTH`: the environment `noisy:wall@0.5` is Wall at half strength."""
    name, strength = split_noisy(member)
    return partial(
        _build, build=cast(Callable[..., Env], ENVIRONMENTS.get(name)), strength=strength
    )


def make_noisy(env: Env, strength: float) -> Env:
    """Return an environment with noise of a strength from 0 to 1; at 0 it is `env` itself.

    * Discs move across the pictures, as opaque as the strength, and hide what is behind them.
    * Brightness, colour and direction of the light change, by up to half at strength 1.
    * Actions are executed with normal noise, whose standard deviation is 0.3 times the strength
      times the root mean square of the action: who does nothing stays where he is.

    Pictures of goals are disturbed too, as they look at another time. Proprioception and success
    are true. A `Simulator` stays one: its `simulate` knows the noise to come.
    """
    if not 0.0 <= strength <= 1.0:  # NaN is neither
        raise UserError(f"strength = {strength} of the noise; give 0 (none) to 1")
    if strength == 0.0:
        return env
    return NoisySimulator(env, strength) if isinstance(env, Simulator) else NoisyEnv(env, strength)


class NoisyEnv:
    """Disturb what an environment shows and what is done in it. Satisfies `contracts.Env`."""

    def __init__(self, env: Env, strength: float) -> None:
        """Take the environment and the strength of the noise, 0 to 1."""
        self.action_dim = env.action_dim
        self.proprio_dim = env.proprio_dim
        self.place_columns = place_columns(env)
        self.strength = strength
        self._env = env
        self._seeds: list[int] = []
        self._scenery: Scenery | None = None
        self._noise = np.zeros((0, 0, self.action_dim))
        self._time = 0

    def sample_tasks(self, seed: int, *, num_tasks: int) -> list[Task]:
        """Draw tasks: those of the environment without noise."""
        return self._env.sample_tasks(seed, num_tasks=num_tasks)

    def reset(self, tasks: Sequence[Task]) -> Observation:
        """Put copy i into the start of task i; returns observations `[B]`."""
        obs = self._env.reset(tasks)
        self._seeds = [task_noise_seed(task) for task in tasks]
        self._scenery = draw_scenery(self._seeds)
        self._noise = np.zeros((len(tasks), 0, self.action_dim))
        self._time = 0
        return self._seen(obs, np.zeros(len(tasks)))

    def goal_observation(self) -> Observation:
        """Return observations `[B]` of the goals of the current tasks, each at a time of its own."""
        goal = self._env.goal_observation()
        return goal if self._scenery is None else self._seen(goal, self._scenery.goal_time)

    def step(self, actions: Float[np.ndarray, "B a"]) -> Observation:
        """Apply one action and its noise to each copy; returns observations `[B]`."""
        obs = self._env.step(self.executed(actions[:, None])[:, 0])
        self._time += 1
        return self._seen(obs, np.full(len(self._seeds), float(self._time)))

    def success(self) -> Bool[np.ndarray, " B"]:
        """Return whether each copy is at its goal now."""
        return self._env.success()

    def executed(self, actions: Float[np.ndarray, "B *K T a"]) -> Float[np.ndarray, "B *K T a"]:
        """Return what becomes of actions `[B, T, a]` from now on; candidates `[B, K, T, a]` share it."""
        num_copies, num_steps = len(self._seeds), actions.shape[-2]
        if len(actions) != num_copies or actions.shape[-1] != self.action_dim:
            raise UserError(
                f"actions have shape {actions.shape}, but there are {num_copies} copies and an "
                f"action has {self.action_dim} numbers; reset(tasks) sets the number of copies"
            )
        noise = self._noise_until(self._time + num_steps)[:, self._time : self._time + num_steps]
        noise = noise.reshape(num_copies, *(1,) * (actions.ndim - 3), *noise.shape[1:])
        exact = actions.astype(np.float64)
        size = np.sqrt(np.square(exact).mean(-1, keepdims=True))
        return exact + _ACTION_NOISE * self.strength * size * noise

    def _noise_until(self, num_steps: int) -> Float[np.ndarray, "B T a"]:
        """Return standard normal noise of all steps so far, drawn in pieces of 64 steps."""
        while self._noise.shape[1] < num_steps:
            number = 1 + self._noise.shape[1] // _STEPS_AT_A_TIME  # stream 0 is the scenery's
            shape = (_STEPS_AT_A_TIME, self.action_dim)
            more = [
                np.random.default_rng([seed, number]).standard_normal(shape) for seed in self._seeds
            ]
            self._noise = np.concatenate([self._noise, np.stack(more)], axis=1)
        return self._noise

    def _seen(self, obs: Observation, time: Float[np.ndarray, " B"]) -> Observation:
        assert self._scenery is not None
        pixels = disturb_pictures(
            obs.pixels.numpy(), self._scenery, time=time, strength=self.strength
        )
        return Observation(pixels=torch.from_numpy(pixels), proprio=obs.proprio)


class NoisySimulator:
    """A `NoisyEnv` whose states and dynamics are known. Satisfies `contracts.Simulator`."""

    def __init__(self, env: Simulator, strength: float) -> None:
        """Take the environment and the strength of the noise, 0 to 1."""
        self.action_dim = env.action_dim
        self.proprio_dim = env.proprio_dim
        self.state_dim = env.state_dim
        self.state_to_pixel = env.state_to_pixel
        self.place_columns = place_columns(env)
        self.strength = strength
        self._env = env
        self._noisy = NoisyEnv(env, strength)
        for name in ("tunnels", "object_success"):  # what it knows of walls and of an object
            if hasattr(env, name):
                setattr(self, name, getattr(env, name))

    def sample_tasks(self, seed: int, *, num_tasks: int) -> list[Task]:
        """Draw tasks: those of the environment without noise."""
        return self._noisy.sample_tasks(seed, num_tasks=num_tasks)

    def reset(self, tasks: Sequence[Task]) -> Observation:
        """Put copy i into the start of task i; returns observations `[B]`."""
        return self._noisy.reset(tasks)

    def goal_observation(self) -> Observation:
        """Return observations `[B]` of the goals of the current tasks, each at a time of its own."""
        return self._noisy.goal_observation()

    def step(self, actions: Float[np.ndarray, "B a"]) -> Observation:
        """Apply one action and its noise to each copy; returns observations `[B]`."""
        return self._noisy.step(actions)

    def success(self) -> Bool[np.ndarray, " B"]:
        """Return whether each copy is at its goal now."""
        return self._env.success()

    def states(self) -> Float[np.ndarray, "B S"]:
        """Return the exact states `[B, S]`."""
        return self._env.states()

    def simulate(self, actions: Float[np.ndarray, "B K T a"]) -> Float[np.ndarray, "B K T S"]:
        """Return the states `[B, K, T, S]` that actions would lead to, noise included."""
        return self._env.simulate(self._noisy.executed(actions))

    def goal_distance(self, states: Float[np.ndarray, "B K S"]) -> Float[np.ndarray, "B K"]:
        """Return the squared distance `[B, K]` of states to the goals."""
        return self._env.goal_distance(states)

    def beside(self, states: Float[np.ndarray, "B S"]) -> dict[str, Bool[np.ndarray, " B"]]:
        """Return for each place that the environment knows which states are beside it."""
        return self._env.beside(states) if isinstance(self._env, KnowsPlaces) else {}


def task_noise_seed(task: Task) -> int:
    """Return the seed of a task's noise: a hash of start, goal and layout."""
    text = json.dumps(asdict(task), sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _build(image_size: int = 64, *, build: Callable[..., Env], strength: float) -> Env:
    return make_noisy(build(image_size=image_size), strength)
