"""Plan in an environment of your own: here a robot behind a driver, which takes one task at a time.

`Env` is what a robot can satisfy: no exact state, no copies. Only a `Simulator` gives an evaluation
its oracle row. To collect and train in it: `jepawm.register("environment", "my_robot", MyRobot)`.
"""

from collections.abc import Sequence

import numpy as np
import torch

import jepawm
from jepawm.envs.wall.env import WallEnv
from jepawm.testing import check_env


class MyRobot:
    """Stand between `jepawm`, which speaks of batches, and the driver of one robot."""

    action_dim, proprio_dim = 2, 2

    def __init__(self, image_size: int = 64) -> None:
        self._driver = WallEnv(image_size)  # your robot: anything with a camera that takes actions
        self._arrived = False

    def sample_tasks(self, seed: int, *, num_tasks: int) -> list[jepawm.Task]:
        numbers = np.random.default_rng(seed)
        points = numbers.uniform([15, 20, 40, 20], [25, 45, 50, 45], (num_tasks, 4)).tolist()
        return [jepawm.Task(start=(x, y), goal=(u, v)) for x, y, u, v in points]

    def reset(self, tasks: Sequence[jepawm.Task]) -> jepawm.Observation:
        assert len(tasks) == 1, "there is one robot; give tasks_per_batch=1"
        obs, info = self._driver.reset(options={"task": tasks[0]})
        return self._answer(obs, info)

    def goal_observation(self) -> jepawm.Observation:
        return _batch_of_one(self._driver.goal_observation())  # or a picture taken beforehand

    def step(self, actions: np.ndarray) -> jepawm.Observation:
        obs, _, _, _, info = self._driver.step(actions[0].astype(np.float64))
        return self._answer(obs, info)

    def success(self) -> np.ndarray:
        return np.array([self._arrived])

    def _answer(self, obs: dict[str, np.ndarray], info: dict[str, object]) -> jepawm.Observation:
        self._arrived = bool(info["success"])  # or a sensor, or your own eyes
        return _batch_of_one(obs)


def _batch_of_one(obs: dict[str, np.ndarray]) -> jepawm.Observation:
    pixels, proprio = (torch.from_numpy(obs[name])[None] for name in ("pixels", "proprio"))
    return jepawm.Observation(pixels=pixels, proprio=proprio)


check_env(MyRobot(), num_tasks=1)  # says which rule of the contract does not hold, if any
results = jepawm.evaluate(MyRobot(), jepawm.load("wall").agent(), num_tasks=4, tasks_per_batch=1)
print({name: f"{row.success:.0%}" for name, row in results.rows.items()})
assert results.rows["model"].success >= 0.5
assert "oracle" not in results.rows
