"""How an evaluation is run: the numbers that make two success rates comparable."""

from dataclasses import dataclass
from typing import Literal

from jepawm.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Fix the length of an episode, how far it is planned and when success is read."""

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

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            UserError: if a number is out of range or the numbers do not fit together.
        """
        for field in ("horizon", "num_action_steps", "frameskip", "max_env_steps"):
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
                f"protocol.max_env_steps = {self.max_env_steps} is no multiple of "
                f"protocol.frameskip = {self.frameskip}; an episode is made of whole blocks"
            )
        if self.success not in ("end", "any"):
            raise UserError(f"protocol.success = {self.success!r}; choose end or any")

    @property
    def num_steps(self) -> int:
        """Return the action blocks in an episode."""
        return self.max_env_steps // self.frameskip

    @property
    def num_plans(self) -> int:
        """Return how often an episode is planned."""
        return -(-self.num_steps // self.num_action_steps)


PROTOCOLS = {
    "paper": Protocol(name="paper"),
    "mpc": Protocol(name="mpc", num_action_steps=1, max_env_steps=60, num_iterations=10),
}
"""Protocols by name: the paper's single open-loop plan of 30 steps, and replanning every block."""
