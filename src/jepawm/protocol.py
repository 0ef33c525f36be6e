"""How an evaluation is run: its numbers and its tasks, which make two success rates comparable."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, runtime_checkable
from typing import Protocol as Contract

import numpy as np
from jaxtyping import Bool, Float

from jepawm.contracts import Env
from jepawm.errors import UserError
from jepawm.types import Task

Split = Literal["val", "test"]

_SPLITS: dict[Split, int] = {"val": 0, "test": 1}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Fix the length of an episode, how far ahead it is planned and when success is read."""

    name: str
    """Name in `results.json`."""
    horizon: int = 6
    """Action blocks that a plan looks ahead."""
    num_action_steps: int = 6
    """Action blocks that are executed before the next plan."""
    frameskip: int = 5
    """Environment steps in an action block; the model's own."""
    max_env_steps: int = 30
    """Environment steps in an episode."""
    goal_steps: int | None = None
    """Environment steps from the start to the goal in recorded behaviour, where tasks are drawn from
    it; None: as many as the episode has."""
    num_iterations: int | None = None
    """Planner iterations for each plan; None: the planner's own number."""
    oracle_samples: int | None = None
    """Candidates of the oracle's plans, where simulating them takes long; None: the planner's."""
    oracle_iterations: int | None = None
    """Iterations of the oracle's plans, where simulating takes long; None: the planner's."""
    success: Literal["end", "any"] = "end"
    """`end`: the goal must hold after the last step, as in the paper; `any`: after some step."""
    hold_steps: int = 1
    """Environment steps in a row after which the goal must hold, the last of them after the last step
    (`end`) or after some step (`any`)."""
    swept: bool = False
    """Whether the way between two steps counts: from a step that passed through a wall on, the goal
    does not hold."""
    object_only: bool = False
    """Whether the goal is the pose of what is moved alone, wherever ends what moves it. Tasks in which
    it starts there are not drawn."""

    def __post_init__(self) -> None:
        for field in ("horizon", "num_action_steps", "frameskip", "max_env_steps", "hold_steps"):
            if getattr(self, field) < 1:
                raise UserError(f"protocol.{field} = {getattr(self, field)}; give at least 1")
        for field in ("goal_steps", "num_iterations", "oracle_samples", "oracle_iterations"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise UserError(f"protocol.{field} = {value}; give at least 1, or none")
        if self.num_action_steps > self.horizon:
            raise UserError(
                f"protocol.num_action_steps = {self.num_action_steps} is more than "
                f"protocol.horizon = {self.horizon}; execute no more than is planned"
            )
        if self.max_env_steps % self.frameskip:
            raise UserError(
                f"protocol.max_env_steps = {self.max_env_steps} is not a multiple of "
                f"protocol.frameskip = {self.frameskip}; an episode is made of whole blocks"
            )
        if self.success not in ("end", "any"):
            raise UserError(f"protocol.success = {self.success!r}; choose end or any")

    def read_strictly(
        self, *, hold_steps: int | None = None, swept: bool = False, object_only: bool = False
    ) -> "Protocol":
        """Return the protocol with another reading of success; its name says what differs."""
        held = self.hold_steps if hold_steps is None else hold_steps
        differs = {
            f"held{held}": held != self.hold_steps,
            "swept": swept and not self.swept,
            "object": object_only and not self.object_only,
        }
        return replace(
            self,
            name="-".join([self.name, *(word for word, one in differs.items() if one)]),
            hold_steps=held,
            swept=self.swept or swept,
            object_only=self.object_only or object_only,
        )

    @property
    def num_steps(self) -> int:
        """Return the action blocks in an episode."""
        return self.max_env_steps // self.frameskip

    @property
    def num_plans(self) -> int:
        """Return how often an episode is planned."""
        return -(-self.num_steps // self.num_action_steps)


@runtime_checkable
class KnowsWalls(Contract):
    """A simulator that knows what is solid in it (optional; for `Protocol.swept`)."""

    def tunnels(
        self, before: Float[np.ndarray, "B S"], after: Float[np.ndarray, "B S"]
    ) -> Bool[np.ndarray, " B"]:
        """Return which straight ways, of one environment step each, pass through a wall."""
        ...


@runtime_checkable
class KnowsObject(Contract):
    """An environment in which something is moved by something else (optional; `Protocol.object_only`)."""

    def object_success(self) -> Bool[np.ndarray, " B"]:
        """Return whether what is moved is as in each goal now."""
        ...


MOST_TASKS = 1_000_000
"""Tasks of one evaluation at most."""
PROTOCOLS = {
    "paper": Protocol(name="paper"),
    "mpc": Protocol(name="mpc", num_action_steps=1, max_env_steps=60, num_iterations=10),
}
"""Protocols by name: the paper's single open-loop plan of 30 steps, and replanning every block."""
LEWM = Protocol(
    name="lewm",
    horizon=5,
    num_action_steps=5,
    max_env_steps=50,
    goal_steps=25,
    num_iterations=30,
    success="any",
)
"""LeWorldModel's: the goal lies 25 steps ahead in a recorded episode, 50 steps are there for it, and it
counts at any time. Its strict reading: `replace(LEWM, success="end", hold_steps=5)`."""


def draw_tasks(env: Env, *, num_tasks: int, seed: int, split: Split) -> list[Task]:
    """Draw the tasks of a split; the same numbers give the same list."""
    if not 1 <= num_tasks <= MOST_TASKS:
        raise UserError(f"number of episodes = {num_tasks}; give at least 1, at most {MOST_TASKS}")
    return env.sample_tasks(task_seed(seed, split), num_tasks=num_tasks)


def task_seed(seed: int, split: Split) -> int:
    """Return the environment's seed for a split: below 2**31 for `val`, from there for `test`.

    So no two seeds make the two splits coincide.
    """
    if not 0 <= seed < 2**63:
        raise UserError(f"seed = {seed}; give 0 or more, below 2**63")
    if split not in _SPLITS:
        raise UserError(f"unknown split {split!r}; choose val or test")
    word = int(np.random.SeedSequence([seed, _SPLITS[split]]).generate_state(1)[0])
    return (word >> 1) | (_SPLITS[split] << 31)


def hash_tasks(tasks: Sequence[Task]) -> str:
    """Return the SHA-256 of the tasks' canonical JSON: sorted keys, no spaces, full precision."""
    text = json.dumps(
        [asdict(task) for task in tasks], sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()
