"""Noisy replays of human demonstrations of Push-T, the behaviour that its data sets consist of.

A demonstration says where the agent was asked to go at each step. A replay asks for the same
places plus noise, from a start near the demonstration's: the agent keeps to the demonstrated way
and pushes the block a little differently each time.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from jepawm.border import load_npz
from jepawm.contracts import Script
from jepawm.envs.persistence import persistent
from jepawm.envs.pusht.dynamics import PushTWorld
from jepawm.envs.pusht.tasks import replay_pusht_tasks, solved
from jepawm.errors import UserError, require_range
from jepawm.files import expand_user
from jepawm.types import Task

_COLUMNS = {"action": 2, "state": 5}
_FAR_AWAY = 1e4
"""Pixels; the table has 512."""
_ACTION_SCALE = 100.0  # pixels per unit of action
_BLOCK_REACH = (60.0, 452.0)  # where starts keep the block's place, in pixels
_AGENT_REACH = (10.0, 502.0)  # where moved scenes keep the places asked for, in pixels
_MIDDLE = 256.0
_TURN, _SHIFT = 1.0, 30.0  # standard deviations of moves of scenes: radians, pixels


@dataclass(frozen=True, kw_only=True)
class PushTReplays:
    """Replay human demonstrations with noise; needs a file of demonstrations."""

    demos: str = "pusht_demos.npz"
    """File of demonstrations (docs/environments/pusht.md): a path, or a name below the data root."""
    num_held_out: int = 40
    """Demonstrations at the end of the file that are never replayed for training: the first half gives
    validation tasks, the second test tasks."""
    noise: float = 20.0
    """Standard deviation of what is added to the places asked for, in pixels, at most: each replay
    draws its own below this."""
    persistence_high: float = 0.9
    """Highest correlation of the noise of neighbouring steps; each replay draws its own."""
    start_jitter: float = 10.0
    """Standard deviation of what is added to the places of agent and block at the start, in pixels."""
    angle_jitter: float = 0.1
    """Standard deviation of what is added to the angle of the block at the start, in radians."""
    moved: float = 0.0
    """Part of the replays whose whole scene is moved: mirrored half of the time, turned by 1 rad and
    shifted by 30 pixels (standard deviations), clear of the walls. The physics stays the same, the
    pictures are new: few demonstrations cover more places. Tasks are never moved."""

    def __post_init__(self) -> None:
        """Check the part."""
        if not 0.0 <= self.moved <= 1.0:
            raise UserError(f"moved = {self.moved} is not part of the replays; give 0 to 1")
        require_range(self, ("persistence_high",), where="data.policy", least=0, most=1)
        sizes = ("num_held_out", "noise", "start_jitter", "angle_jitter")
        require_range(self, sizes, where="data.policy", least=0)

    def script(
        self, generator: np.random.Generator, *, num_episodes: int, num_steps: int, data_root: Path
    ) -> Script:
        """Draw replays of at most `num_steps` steps; of longer demonstrations a random stretch.

        Each demonstration is replayed about equally often.
        """
        return self._script(
            generator, num_episodes=num_episodes, num_steps=num_steps, data_root=data_root
        )

    def held_out(self, split: Literal["val", "test"]) -> "HeldOutReplays":
        """Return the policy that replays only those of a split, which training never sees."""
        return HeldOutReplays(replays=self, split=split)

    def _script(
        self,
        generator: np.random.Generator,
        *,
        num_episodes: int,
        num_steps: int,
        data_root: Path,
        split: Literal["val", "test"] | None = None,
    ) -> Script:
        """Draw replays of demonstrations of a split; None: of those that training sees."""
        path = _find(self.demos, data_root)
        actions, states, ends = read_demonstrations(path)
        demos = self._demos(len(ends), split)
        if not demos:
            change = "lower" if split is None else "raise"
            raise UserError(
                f"num_held_out = {self.num_held_out} leaves none of the {len(ends)} demonstrations "
                f"of {path}; {change} it"
            )
        starts = np.concatenate([[0], ends[:-1]])
        tasks, commands = [], []
        order = generator.permutation(np.arange(num_episodes) % len(demos)) + demos.start
        for demo in order:
            length = min(num_steps, int(ends[demo] - starts[demo]))
            first = int(generator.integers(starts[demo], ends[demo] - length + 1))
            stretch = slice(first, first + length)
            places, way = actions[stretch], states[stretch]
            if self.moved and generator.random() < self.moved:
                places, way = _moved_scene(generator, places, way)
            tasks.append(self._start(generator, way[0]))
            commands.append(places + self._noise(generator, num_steps=length))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        sources = {"demos_sha256": digest}
        return Script(tasks=tasks, commands=commands, feedback=steer_to_places, sources=sources)

    def draw_tasks(
        self,
        seed: int,
        *,
        num_tasks: int,
        num_steps: int,
        split: Literal["val", "test"],
        data_root: Path,
    ) -> list[Task]:
        """Draw tasks from noisy replays of demonstrations that training never sees.

        A replay runs to a random time; its state then is the start, and where its next
        `num_steps` actions lead from there is the goal (the paper's protocol).
        """
        path = _find(self.demos, data_root)
        actions, states, ends = read_demonstrations(path)
        demos = self._demos(len(ends), split)
        starts = np.concatenate([[0], ends[:-1]])
        long_enough = [i for i in demos if ends[i] - starts[i] > num_steps]
        if not long_enough:
            raise UserError(
                f"num_held_out = {self.num_held_out} of the {len(ends)} demonstrations of {path} "
                f"holds none of more than {num_steps} steps for split {split}; raise it"
            )
        generator = np.random.default_rng(seed)
        tasks: list[Task] = []
        while len(tasks) < num_tasks:
            demo = int(generator.choice(long_enough))
            places = actions[starts[demo] : ends[demo]]
            places = places + self._noise(generator, num_steps=len(places))
            begin = int(generator.integers(0, len(places) - num_steps))
            start = self._start(generator, states[starts[demo]]).start
            task = _replayed_task(start, places[: begin + num_steps], begin=begin)
            if not solved(np.array(task.start), np.array(task.goal)):
                tasks.append(task)
        return tasks

    def _demos(self, count: int, split: Literal["val", "test"] | None) -> range:
        """Return which of `count` demonstrations belong to a split, or to training."""
        first = count - self.num_held_out
        if split is None or first < 0:
            return range(max(first, 0) if split is None else 0)
        middle = first + self.num_held_out // 2
        return range(first, middle) if split == "val" else range(middle, count)

    def _start(self, generator: np.random.Generator, state: Float[np.ndarray, " 5"]) -> Task:
        jitter = generator.standard_normal(5) * ([self.start_jitter] * 4 + [self.angle_jitter])
        start = state + jitter
        start[2:4] = start[2:4].clip(*_BLOCK_REACH)
        full = (*start.tolist(), 0.0, 0.0)
        return Task(start=full, goal=full)

    def _noise(self, generator: np.random.Generator, *, num_steps: int) -> Float[np.ndarray, "T 2"]:
        std = generator.uniform(0.0, self.noise)
        persistence = generator.uniform(0.0, self.persistence_high)
        noise = generator.standard_normal((1, num_steps, 2))
        return std * persistent(noise, np.array([[persistence]]))[0]


@dataclass(frozen=True, kw_only=True)
class HeldOutReplays:
    """Replay demonstrations that training never sees, as it replays the others."""

    replays: PushTReplays
    """How training replays, and what it holds out."""
    split: Literal["val", "test"]
    """Whose demonstrations: those that its tasks come from."""

    def script(
        self, generator: np.random.Generator, *, num_episodes: int, num_steps: int, data_root: Path
    ) -> Script:
        """Draw replays of at most `num_steps` steps."""
        return self.replays._script(  # noqa: SLF001 - the other half of the same policy
            generator,
            num_episodes=num_episodes,
            num_steps=num_steps,
            data_root=data_root,
            split=self.split,
        )


def steer_to_places(
    states: Float[np.ndarray, "B 7"], places: Float[np.ndarray, "B 2"]
) -> Float[np.ndarray, "B 2"]:
    """Return the actions `[B, 2]` that ask agents in states `[B, 7]` to go to places `[B, 2]`."""
    return (places - states[:, :2]) / _ACTION_SCALE


def move_scene(
    places: Float[np.ndarray, "T 2"],
    states: Float[np.ndarray, "T 5"],
    *,
    mirrored: bool,
    turn: float,
    shift: Float[np.ndarray, " 2"],
) -> tuple[Float[np.ndarray, "T 2"], Float[np.ndarray, "T 5"]]:
    """Mirror places asked for and states left to right, turn them (radians) about the middle, shift.

    The block is its own mirror image, so what was possible stays possible.
    """
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if mirrored:
        matrix = matrix @ np.diag([-1.0, 1.0])

    def move(points: Float[np.ndarray, "T 2"]) -> Float[np.ndarray, "T 2"]:
        return (points - _MIDDLE) @ matrix.T + _MIDDLE + shift

    angles = (-states[:, 4:] if mirrored else states[:, 4:]) + turn
    return move(places), np.hstack([move(states[:, :2]), move(states[:, 2:4]), angles])


def _moved_scene(
    generator: np.random.Generator,
    places: Float[np.ndarray, "T 2"],
    states: Float[np.ndarray, "T 5"],
) -> tuple[Float[np.ndarray, "T 2"], Float[np.ndarray, "T 5"]]:
    """Draw moves until one keeps clear of the walls; after 100 the scene stays where it is."""
    for _ in range(100):
        found = move_scene(
            places,
            states,
            mirrored=bool(generator.random() < 0.5),
            turn=generator.normal(0.0, _TURN),
            shift=generator.normal(0.0, _SHIFT, size=2),
        )
        if _within(found[0], _AGENT_REACH) and _within(found[1][:, 2:4], _BLOCK_REACH):
            return found
    return places, states


def _within(points: Float[np.ndarray, "T 2"], reach: tuple[float, float]) -> bool:
    return bool((points > reach[0]).all() and (points < reach[1]).all())


def _replayed_task(
    start: tuple[float, ...], places: Float[np.ndarray, "T 2"], *, begin: int
) -> Task:
    """Replay the places asked for; the task starts at time `begin` and ends with the replay."""
    world = PushTWorld()
    world.reset(np.array(start))
    path, taken = [world.state()], []
    for place in places:
        action = steer_to_places(path[-1][None], place[None])[0]
        world.step(action)
        path.append(world.state())
        taken.append(action)
    return replay_pusht_tasks(path[begin][None], np.array(taken[begin:])[None])[0]


def read_demonstrations(
    path: Path,
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 5"], np.ndarray]:
    """Read places asked for `[n, 2]`, states `[n, 5]` and ends `[demos]` (exclusive), float64."""
    arrays = load_npz(path, (*_COLUMNS, "episode_ends"))
    ends = arrays["episode_ends"]
    if ends.ndim != 1 or len(ends) == 0 or ends.dtype.kind not in "iu":
        raise UserError(
            f"{path}: episode_ends is {ends.dtype} {ends.shape}, not a list of whole numbers; the "
            "file is damaged"
        )
    ends = ends.astype(np.int64)
    if (np.diff(ends, prepend=0) < 1).any():
        raise UserError(f"{path}: episode_ends does not rise; the file is damaged")
    for name, width in _COLUMNS.items():
        rows = arrays[name]
        if rows.shape != (int(ends[-1]), width) or rows.dtype.kind not in "iuf":
            raise UserError(
                f"{path}: {name} is {rows.dtype} {rows.shape}, but its episodes end at {ends[-1]} "
                f"and a row has {width} numbers; the file is damaged"
            )
        if not np.isfinite(rows).all() or (np.abs(rows) > _FAR_AWAY).any():
            raise UserError(
                f"{path}: {name} holds NaN, infinite values or places far off the table; the file "
                "is damaged"
            )
    return arrays["action"].astype(np.float64), arrays["state"].astype(np.float64), ends


def _find(demos: str, data_root: Path) -> Path:
    for path in (expand_user(Path(demos)), data_root / demos):
        if path.is_file():
            return path
    raise UserError(
        f"there is no file of Push-T demonstrations {demos}, neither here nor in the data root "
        f"{data_root}; name one by the policy's option demos (docs/environments/pusht.md says where to get it)"
    )
