"""Contracts between the parts; any object that satisfies one can be plugged in."""

from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from jepawm.captions import Captions
from jepawm.types import Context, Latent, Observation, Plan, Task

CostFn = Callable[[Float[Tensor, "B K H A"]], Float[Tensor, "B K"]]
"""Cost `[B, K]` of candidate action sequences `[B, K, H, A]`; lower is better."""

Bounds = tuple[Float[Tensor, " A"], Float[Tensor, " A"]]
"""Lowest and highest normalised action block, `[A]` each."""


@runtime_checkable
class Encoder(Protocol):
    """Map images to tokens; owns its resize, mean and standard deviation."""

    num_tokens: int
    dim: int
    grid: tuple[int, int]
    """Rows and columns of tokens; (1, 1) for one token."""

    def __call__(self, pixels: UInt8[Tensor, "*b 3 height width"]) -> Float[Tensor, "*b N D"]:
        """Encode images `[*b, 3, Hpx, Wpx]`, uint8, into tokens `[*b, N, D]`."""
        ...


@runtime_checkable
class BuildsEncoder(Protocol):
    """The configuration of an encoder: a frozen dataclass whose fields are the settings."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def build(self) -> Encoder:
        """Build the encoder, an `nn.Module`; learned ones with random weights."""
        ...


@runtime_checkable
class WorldModel(Protocol):
    """Encode observations and roll latents forward under actions."""

    window: int

    def encode(self, obs: Observation) -> Latent:
        """Encode observations `[*b]` (proprio normalised) into latents `[*b]`."""
        ...

    def predict(self, latents: Latent, actions: Float[Tensor, "B w A"]) -> Latent:
        """Predict from latents `[B, w]` and actions `[B, w, A]`; slot t predicts time t + 1."""
        ...

    def rollout(
        self, context: Context, actions: Float[Tensor, "B H A"], *, window: int | None = None
    ) -> Latent:
        """Roll a context forward under actions `[B, H, A]`; returns latents `[B, H]`.

        Each prediction sees the last `window` latents; None means the model's own window.
        """
        ...


@runtime_checkable
class CandidateRollout(Protocol):
    """Contexts `[B]` from which any number of candidates is rolled out."""

    @property
    def tokens_per_candidate(self) -> int:
        """Return how many tokens one candidate brings into each layer."""
        ...

    @property
    def flop_per_token(self) -> float:
        """Return the FLOP of the largest matrix product for one token."""
        ...

    def bytes_per_candidate(self, horizon: int) -> int:
        """Return the memory that one candidate needs at most while it is rolled out."""
        ...

    def part(self, problems: slice) -> "CandidateRollout":
        """Return what rolls out some of the problems."""
        ...

    def __call__(self, actions: Float[Tensor, "b K H A"]) -> Latent:
        """Roll candidates `[b, K, H, A]` out; returns latents `[b, K, H]`."""
        ...


@runtime_checkable
class SharesContext(Protocol):
    """A world model that prepares contexts once for all candidates (optional; for speed)."""

    def share_context(self, context: Context, *, window: int | None = None) -> CandidateRollout:
        """Prepare contexts `[B]`; what comes out of it equals `WorldModel.rollout`."""
        ...


@runtime_checkable
class Objective(Protocol):
    """Score predicted latents against a goal."""

    def __call__(
        self, predicted: Latent, goal: Latent, actions: Float[Tensor, "B K H A"]
    ) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of latents `[B, K, H]` for goals `[B]`."""
        ...


@runtime_checkable
class CostOfProblems(Protocol):
    """A cost function that can be had for some of its problems (optional; for speed)."""

    def of(self, problems: Int[Tensor, " b"]) -> CostFn:
        """Return the cost function of the problems at these indices."""
        ...

    def __call__(self, actions: Float[Tensor, "B K H A"]) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of candidates of all problems."""
        ...


@runtime_checkable
class GivesGradients(Protocol):
    """A cost function that differentiates itself (optional; for speed)."""

    def with_gradient(
        self, actions: Float[Tensor, "B K H A"]
    ) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B K H A"]]:
        """Return costs `[B, K]` of candidates and the gradient of each candidate's cost."""
        ...

    def __call__(self, actions: Float[Tensor, "B K H A"]) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` of candidates."""
        ...


@runtime_checkable
class Planner(Protocol):
    """Search action sequences that minimise a cost function; stateless, batched over problems."""

    needs_gradients: ClassVar[bool]
    """Whether the cost must be differentiable."""

    def plan(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,
    ) -> Plan:
        """Plan from the initial guess `init` `[B, H, A]`."""
        ...


@runtime_checkable
class TakesProposals(Protocol):
    """A planner that starts from proposals, if it asks for any."""

    needs_gradients: ClassVar[bool]

    @property
    def num_proposals(self) -> int:
        """Return how many plans it starts from; 0: none."""
        ...

    def plan(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,
        proposals: Float[Tensor, "B P H A"] | None = None,
    ) -> Plan:
        """Plan from proposals `[B, P, H, A]`, the most promising one first, or from `init`."""
        ...


@runtime_checkable
class Proposer(Protocol):
    """Propose whole plans for a goal, unseen by the world model; mostly learned."""

    @property
    def horizon(self) -> int:
        """Return the number of action blocks of its longest plan."""
        ...

    def propose(
        self, context: Context, goal: Latent, *, horizon: int, num_plans: int
    ) -> Float[Tensor, "B K H A"]:
        """Return `K` plans of `H` action blocks, normalised, the most promising one first.

        A planner that has a field `num_proposals` above 0 is called with them, as `proposals`.
        """
        ...


@runtime_checkable
class Agent(Protocol):
    """Act towards a goal; actions leave in environment units."""

    def reset(self, goal: Observation | None, num_steps: int | None = None) -> None:
        """Forget the past, take goals `[B]`, if any, and the episode's length in action blocks, if known."""
        ...

    def act(self, obs: Observation) -> Float[Tensor, "B A"]:
        """Return the next action block `[B, A]` for observations `[B]`."""
        ...


@runtime_checkable
class Reseedable(Protocol):
    """An agent with random numbers of its own (optional)."""

    def reseed(self, seed: int) -> None:
        """Start the random numbers anew, so that what follows depends on `seed` alone.

        An evaluation does so before each batch of tasks, or calls `reseed_tasks` with a seed for each.
        """
        ...


@runtime_checkable
class Env(Protocol):
    """Many copies of an environment stepped in lockstep; what a robot can satisfy (with one copy).

    `a` is the width of one environment action (a block holds frameskip of them). Arrays are NumPy
    at this border; observations are tensors on the CPU.
    """

    action_dim: int
    proprio_dim: int
    """Width of the proprioception; 0: none."""

    def sample_tasks(self, seed: int, *, num_tasks: int) -> list[Task]:
        """Draw tasks; the same seed gives the same list, none starts solved."""
        ...

    def reset(self, tasks: Sequence[Task]) -> Observation:
        """Put copy i into the start of task i; returns observations `[B]`."""
        ...

    def goal_observation(self) -> Observation:
        """Return observations `[B]` of the goals of the current tasks."""
        ...

    def step(self, actions: Float[np.ndarray, "B a"]) -> Observation:
        """Apply one environment action to each copy; returns observations `[B]`."""
        ...

    def success(self) -> Bool[np.ndarray, " B"]:
        """Return whether each copy is at its goal now."""
        ...


@runtime_checkable
class Simulator(Env, Protocol):
    """An environment with exact states and known dynamics; what the oracle needs.

    `S` is the state width.
    """

    state_dim: int
    state_to_pixel: float | None
    """Pixels of a frame per unit of state, where states are places in the picture; else None."""

    def states(self) -> Float[np.ndarray, "B S"]:
        """Return the exact states `[B, S]`."""
        ...

    def simulate(self, actions: Float[np.ndarray, "B K T a"]) -> Float[np.ndarray, "B K T S"]:
        """Step true dynamics from the current states without changing them (the oracle)."""
        ...

    def goal_distance(self, states: Float[np.ndarray, "B K S"]) -> Float[np.ndarray, "B K"]:
        """Return the oracle's cost of states: the squared distance to each goal in task space."""
        ...


def place_columns(env: Env) -> tuple[int, ...]:
    """Return which numbers of an environment's proprioception are the place of what acts.

    It says so by an attribute of this name (optional); nothing is known of those that do not.
    """
    return tuple(getattr(env, "place_columns", ()))


@runtime_checkable
class KnowsPlaces(Protocol):
    """A simulator that says what a state is beside (optional; for a diagnosis)."""

    def beside(self, states: Float[np.ndarray, "B S"]) -> dict[str, Bool[np.ndarray, " B"]]:
        """Return for each place by name, such as `wall` or `border`, which states are beside it."""
        ...


@runtime_checkable
class KnowsRewards(Protocol):
    """A simulator that knows rewards which are functions of its states (optional)."""

    reward_names: tuple[str, ...]
    """Names of the rewards."""

    def reward(self, name: str, states: Float[np.ndarray, "*b S"]) -> Float[np.ndarray, "*b"]:
        """Return the reward called `name` of arriving at states `[*b, S]`."""
        ...


@runtime_checkable
class KnowsCaptions(Protocol):
    """An environment that grounds sentences: it knows of which states they are true (optional)."""

    @property
    def captions(self) -> Captions:
        """Return its places and all that can be said of them."""
        ...


@runtime_checkable
class TaskSource(Protocol):
    """Draw evaluation tasks from recorded behaviour; a collection policy may be one."""

    def draw_tasks(
        self,
        seed: int,
        *,
        num_tasks: int,
        num_steps: int,
        split: Literal["val", "test"],
        data_root: Path,
    ) -> list[Task]:
        """Draw tasks whose goal the behaviour reaches in `num_steps`; none starts solved.

        `data_root` is the folder of recordings; no recording serves two splits or training.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Script:
    """What to do in each episode of a collection."""

    tasks: list[Task]
    """Start and layout of each episode `[E]`; goals play no part."""
    commands: list[Float[np.ndarray, "_ a"]]
    """Actions of each episode `[E][T, a]` in environment units, or what `feedback` turns into them."""
    feedback: Callable[[Float[np.ndarray, "B S"], Float[np.ndarray, "B a"]], np.ndarray] | None = (
        None
    )
    """Actions `[B, a]` of states `[B, S]` and commands `[B, a]`, a function of a module; None:
    commands are actions."""
    sources: dict[str, str] = field(default_factory=dict)
    """Name and hash of the files that the script was made from, for the record."""
    most_at_once: int | None = None
    """Most episodes that are rolled in lockstep, where each copy takes memory of its own."""

    def __getitem__(self, episodes: slice) -> "Script":
        """Return the script of some of the episodes."""
        return replace(self, tasks=self.tasks[episodes], commands=self.commands[episodes])


@runtime_checkable
class CollectionPolicy(Protocol):
    """Decide starts and actions of a whole collection; its fields are its settings."""

    def script(
        self,
        generator: np.random.Generator,
        *,
        num_episodes: int,
        num_steps: int,
        data_root: Path,
    ) -> Script:
        """Draw the script of `num_episodes` episodes of at most `num_steps` steps.

        `data_root` is the folder of recordings that a policy may replay.
        """
        ...


@runtime_checkable
class HoldsOut(Protocol):
    """A collection policy that keeps some of what it replays from training (optional)."""

    def held_out(self, split: Literal["val", "test"]) -> CollectionPolicy:
        """Return the policy that replays only what a split keeps from training."""
        ...
