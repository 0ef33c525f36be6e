"""Starts and goals of Push-T: drawn as the reference draws them, or replayed from recordings."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from jepawm.envs.pusht.dynamics import PAPER_PHYSICS, PushTPhysics, PushTWorld
from jepawm.errors import UserError
from jepawm.types import Task

STATE_NAMES = ("agent x", "agent y", "block x", "block y", "angle", "velocity x", "velocity y")


def sample_pusht_tasks(
    seed: int, *, num_tasks: int, physics: PushTPhysics = PAPER_PHYSICS
) -> list[Task]:
    """Draw tasks with unrelated starts and goals; tasks that start solved are left out.

    The first tasks of a longer list are those of a shorter one with the same seed. Few of them can
    be solved within the 30 steps of the paper's protocol: its tasks are replays of recordings.
    """
    if seed < 0 or num_tasks < 1:
        raise UserError(
            f"seed = {seed}, num_tasks = {num_tasks}: a seed is at least 0 and there must be at "
            "least 1 task; change the number"
        )
    tasks: list[Task] = []
    draw = 0
    while len(tasks) < num_tasks:
        drawn_seed = int(np.random.SeedSequence((seed, draw)).generate_state(1)[0])
        draw += 1
        start, goal = start_goal(drawn_seed)
        if not solved(start, goal, physics=physics):
            tasks.append(Task(start=tuple(start.tolist()), goal=tuple(goal.tolist())))
    return tasks


def replay_pusht_tasks(
    starts: Float[np.ndarray, "E 7"],
    actions: Float[np.ndarray, "E T 2"],
    *,
    physics: PushTPhysics = PAPER_PHYSICS,
) -> list[Task]:
    """Make tasks of recorded behaviour: replay `actions` from `starts`, the end is the goal.

    This is the paper's protocol; it proves that each goal can be reached in `T` steps. Some may
    start solved, where the recording hardly moved: `solved` says which.
    """
    world = PushTWorld(physics)
    tasks = []
    for start, episode in zip(starts, actions, strict=True):
        world.reset(start)
        for action in episode:
            world.step(action)
        tasks.append(Task(start=tuple(start.tolist()), goal=tuple(world.state().tolist())))
    return tasks


def start_goal(seed: int) -> tuple[Float[np.ndarray, " 7"], Float[np.ndarray, " 7"]]:
    """Draw one start and one goal state, both at rest.

    The order of the draws is the reference's: agent x, y, block x, y (whole numbers), angle
    (normal); first of the start, then of the goal. The seed goes into NumPy's legacy generator.
    """
    random = np.random.RandomState(seed)
    return _draw_state(random), _draw_state(random)


def solved(
    states: Float[np.ndarray, "*#b 7"],
    goals: Float[np.ndarray, "*#b 7"],
    *,
    physics: PushTPhysics = PAPER_PHYSICS,
) -> Bool[np.ndarray, "*b"]:
    """Return whether states are at goals `[*b]`, by places and angle; velocities do not count."""
    near = np.linalg.norm(states[..., :4] - goals[..., :4], axis=-1) < physics.success_distance
    turned = angle_distance(np.asarray(states[..., 4]), np.asarray(goals[..., 4]))
    return np.asarray(near & (turned < physics.success_angle))


def block_solved(
    states: Float[np.ndarray, "*#b 7"],
    goals: Float[np.ndarray, "*#b 7"],
    *,
    physics: PushTPhysics = PAPER_PHYSICS,
) -> Bool[np.ndarray, "*b"]:
    """Return whether blocks are at those of goals `[*b]`, by place and angle, with the same limits."""
    near = np.linalg.norm(states[..., 2:4] - goals[..., 2:4], axis=-1) < physics.success_distance
    turned = angle_distance(np.asarray(states[..., 4]), np.asarray(goals[..., 4]))
    return np.asarray(near & (turned < physics.success_angle))


def angle_distance(
    angles: Float[np.ndarray, "*#b"], others: Float[np.ndarray, "*#b"]
) -> Float[np.ndarray, "*b"]:
    """Return the absolute differences of angles, at most pi."""
    turned = np.abs(angles - others) % (2 * np.pi)
    return np.asarray(np.minimum(turned, 2 * np.pi - turned))


def pusht_states(
    states: Sequence[tuple[float, ...]], name: str, *, physics: PushTPhysics = PAPER_PHYSICS
) -> Float[np.ndarray, "B 7"]:
    """Collect exact states `[B, 7]` of tasks and check them; `name` is for messages."""
    for index, state in enumerate(states):
        if len(state) != len(STATE_NAMES) or not np.isfinite(state).all():
            raise UserError(
                f"{name} of task {index} is {tuple(state)}; give 7 finite numbers "
                f"({', '.join(STATE_NAMES)})"
            )
        if any(not -physics.window <= place <= 2 * physics.window for place in state[:4]):
            raise UserError(
                f"{name} of task {index} is far outside the world: {tuple(state[:4])}; give "
                f"places between 0 and {physics.window}"
            )
    return np.array(states, dtype=np.float64).reshape(-1, len(STATE_NAMES))


def _draw_state(random: np.random.RandomState) -> Float[np.ndarray, " 7"]:
    agent = [random.randint(50, 450), random.randint(50, 450)]
    block = [random.randint(100, 400), random.randint(100, 400)]
    angle = random.randn() * 2 * np.pi - np.pi
    return np.array([*agent, *block, angle, 0.0, 0.0])
