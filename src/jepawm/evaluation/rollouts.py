"""What is kept of the first tasks: frames, states and what the model imagined when it planned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from jepawm.agent import PlanningAgent
from jepawm.contracts import Env, KnowsPlaces, Simulator
from jepawm.errors import UserError
from jepawm.evaluation.stops import where_stopped
from jepawm.types import Latent, Observation, Task

Probe = Callable[[Latent], Float[Tensor, "*b S"]]
"""Read environment states `[*b, S]` out of latents `[*b]`; only for showing."""
Decoder = Callable[[Latent], UInt8[Tensor, "*b 3 height width"]]
"""Paint pictures `[*b, 3, h, w]` of latents `[*b]`; only for showing."""


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """Executed plans of the first `R` tasks of the model row."""

    frames: UInt8[np.ndarray, "R frames 3 height width"]
    """Pictures `[R, T+1, 3, h, w]`."""
    states: Float[np.ndarray, "R frames S"]
    """Exact states `[R, T+1, S]`."""
    goal_frames: UInt8[np.ndarray, "R 3 height width"]
    """Pictures of the goals `[R, 3, h, w]`."""
    goal_states: Float[np.ndarray, "R S"]
    """States of the goals `[R, S]`."""
    imagined_states: Float[np.ndarray, "R steps P"]
    """States that a probe reads from the latents of the first plan `[R, H+1, P]`; NaN if none."""
    success: Bool[np.ndarray, " R"]
    """Whether each task ended at its goal `[R]`."""
    cost_history: Float[np.ndarray, "I R"]
    """Lowest candidate cost per planner iteration of the first plan `[I, R]`."""
    frameskip: int
    """Environment steps per model step."""
    imagined_frames: UInt8[np.ndarray, "R steps 3 ih iw"] | None = None
    """Pictures that a decoder paints of the latents of the first plan `[R, H+1, 3, h, w]`; None: no decoder."""
    stops: tuple[str, ...] = ()
    """Where each missed task stopped, in words, and nothing for the others; empty: nobody can say."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of `rollouts.npz`; what is not known is left out."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        unknown = {"imagined_frames": self.imagined_frames is None, "stops": not self.stops}
        return {k: np.asarray(value) for k, value in values.items() if not unknown.get(k)}


class Recorder:
    """Record the first `num_tasks` of the world model's episodes."""

    def __init__(
        self, *, num_tasks: int = 8, probe: Probe | None = None, decoder: Decoder | None = None
    ) -> None:
        """Take the number of tasks; without a probe imagined states are NaN, without a decoder unseen."""
        self._most = num_tasks
        self._probe, self._decoder = probe, decoder
        self._recorded: Rollouts | None = None

    def start(self, tasks: Sequence[Task], goal: Observation, *, frameskip: int) -> None:
        """Begin with tasks and the observations `[B]` of their goals."""
        self._goals = np.array([task.goal for task in tasks[: self._most]], dtype=np.float64)
        self._num_tasks = len(self._goals)
        self._goal_frames = self._pixels(goal)
        self._frameskip = frameskip
        self._frames: list[np.ndarray] = []
        self._states: list[np.ndarray] = []
        self._env: Env | None = None
        self._distances: list[np.ndarray] = []
        self._imagined: np.ndarray | None = None
        self._imagined_frames: np.ndarray | None = None
        self._cost_history = np.zeros((0, self._num_tasks))

    def record_step(self, obs: Observation, env: Env) -> None:
        """Keep observations `[B]` and the states of this instant, NaN where there are none."""
        self._frames.append(self._pixels(obs))
        self._env = env
        if isinstance(env, Simulator):
            states = env.states()
            self._distances.append(np.sqrt(env.goal_distance(states[:, None]))[: self._num_tasks])
            self._states.append(states[: self._num_tasks].astype(np.float64))
        else:
            self._states.append(np.full_like(self._goals, np.nan))

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
        if self._decoder is not None:
            self._imagined_frames = self._decoder(latents).cpu().numpy()
        history = agent.last_plan.history[:, : self._num_tasks]
        self._cost_history = history.cpu().numpy().astype(np.float64)

    def finish(
        self, success: Bool[np.ndarray, " B"], *, solved: Bool[np.ndarray, " B"] | None = None
    ) -> None:
        """Take the success `[B]` of all tasks, and who was at the goal at some time; they are over."""
        imagined = np.zeros((self._num_tasks, 0, 0)) if self._imagined is None else self._imagined
        self._recorded = Rollouts(
            frames=np.stack(self._frames, axis=1),  # [R, T+1, 3, h, w]
            states=np.stack(self._states, axis=1),  # [R, T+1, S]
            goal_frames=self._goal_frames,  # [R, 3, h, w]
            goal_states=self._goals,  # [R, S]
            imagined_states=imagined,  # [R, H+1, S]
            success=success[: self._num_tasks],  # [R]
            cost_history=self._cost_history,  # [I, R]
            frameskip=self._frameskip,
            imagined_frames=self._imagined_frames,
            stops=self._stops(success, success if solved is None else solved),
        )

    def rollouts(self) -> Rollouts:
        """Return what was recorded in this process."""
        if self._recorded is None:
            raise UserError(
                "nothing was recorded; give the recorder to evaluate, and ask the first process"
            )
        return self._recorded

    def _stops(self, success: np.ndarray, solved: np.ndarray) -> tuple[str, ...]:
        """Say where missed tasks stopped, as far as the simulator knows."""
        if not self._distances:
            return ()
        env, distances = self._env, np.concatenate(self._distances, axis=1)  # [R, T+1]
        beside = {}
        if isinstance(env, Simulator) and isinstance(env, KnowsPlaces):
            beside = env.beside(env.states())
        return tuple(
            ""
            if success[task]
            else where_stopped(
                distances[task],
                solved=bool(solved[task]),
                beside=[name for name, there in beside.items() if there[task]],
            )
            for task in range(self._num_tasks)
        )

    def _pixels(self, obs: Observation) -> np.ndarray:
        return obs.pixels[: self._most].cpu().numpy().copy()
