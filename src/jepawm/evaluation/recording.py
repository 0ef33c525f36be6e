"""Keep what the report shows of the first tasks: frames, states and what the model imagined."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from jepawm.agent import PlanningAgent
from jepawm.contracts import Simulator
from jepawm.types import Latent, Observation, Task

Probe = Callable[[Latent], Float[Tensor, "*b S"]]
"""Read environment states `[*b, S]` out of latents `[*b]`; only for showing."""


class Recorder:
    """Record the first `num_tasks` of the world model's episodes."""

    def __init__(
        self, tasks: Sequence[Task], *, num_tasks: int, frameskip: int, probe: Probe | None
    ) -> None:
        """Take the tasks; `probe` None leaves the imagined states unknown (NaN)."""
        self._goals = np.array([task.goal for task in tasks[:num_tasks]], dtype=np.float64)
        self._num_tasks = len(self._goals)
        self._frameskip = frameskip
        self._probe = probe
        self._frames: list[np.ndarray] = []
        self._states: list[np.ndarray] = []
        self._goal_frames = np.zeros(0, dtype=np.uint8)
        self._imagined: np.ndarray | None = None
        self._cost_history = np.zeros(0)

    def record_goal(self, goal: Observation) -> None:
        """Keep the frames of the goals `[B]`."""
        self._goal_frames = self._pixels(goal)

    def record_step(self, obs: Observation, env: Simulator) -> None:
        """Keep observations `[B]` and the states of this instant."""
        self._frames.append(self._pixels(obs))
        self._states.append(env.states()[: self._num_tasks].astype(np.float64))

    def record_plan(self, agent: PlanningAgent) -> None:
        """Keep the first plan's imagined states and its costs; later plans are not kept."""
        if self._imagined is not None or agent.last_plan is None:
            return
        latents = agent.imagined()[: self._num_tasks]
        if self._probe is None:
            shape = (*latents.batch_shape, self._goals.shape[1])
            self._imagined = np.full(shape, np.nan)
        else:
            self._imagined = self._probe(latents).detach().cpu().numpy().astype(np.float64)
        history = agent.last_plan.history[:, : self._num_tasks]
        self._cost_history = history.cpu().numpy().astype(np.float64)

    def arrays(self, success: np.ndarray) -> dict[str, np.ndarray]:
        """Return the arrays of `rollouts.npz`, given the success `[B]` of all tasks."""
        imagined = np.zeros((self._num_tasks, 0, 0)) if self._imagined is None else self._imagined
        return {
            "frames": np.stack(self._frames, axis=1),  # [R, T+1, 3, h, w]
            "states": np.stack(self._states, axis=1),  # [R, T+1, S]
            "goal_frames": self._goal_frames,  # [R, 3, h, w]
            "goal_states": self._goals,  # [R, S]
            "imagined_states": imagined,  # [R, H+1, S]
            "success": success[: self._num_tasks],  # [R]
            "cost_history": self._cost_history,  # [I, R]
            "frameskip": np.array(self._frameskip),
        }

    def _pixels(self, obs: Observation) -> np.ndarray:
        return obs.pixels[: self._num_tasks].cpu().numpy().copy()
