"""Hold environments, and what makes their data, to their contracts."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
import torch
from jaxtyping import Float

from jepawm.contracts import CollectionPolicy, Env, KnowsPlaces, Script, Simulator
from jepawm.data.recording import Format, ReadOptions, Recording
from jepawm.protocol import KnowsWalls
from jepawm.testing.rules import (
    Require,
    close,
    joined,
    require_finite,
    require_frozen,
    rules,
    shape_of,
)
from jepawm.types import Observation, Task

_ENV_NAMES = ("action_dim", "proprio_dim")
_SIMULATOR_NAMES = ("state_dim", "state_to_pixel", "states", "simulate", "goal_distance")


def check_env(
    env: object, *, num_tasks: int = 3, num_steps: int = 4, action_std: float = 0.1
) -> None:
    """Check an environment with `num_tasks` copies, stepped by small random actions."""
    require = rules(env)
    require(
        isinstance(env, Env) and env.action_dim > 0 and env.proprio_dim >= 0,
        "an environment has action_dim (at least 1), proprio_dim (0: none), sample_tasks, reset, "
        "goal_observation, step and success",
        found=", ".join(f"{name} {getattr(env, name, 'missing')}" for name in _ENV_NAMES),
        fix="see contracts.Env",
    )
    env = cast(Env, env)
    tasks = _checked_tasks(require, env, num_tasks=num_tasks)
    start = env.reset(tasks)
    _check_success(require, env, num_tasks=num_tasks)
    require(
        not env.success().any(),
        "no task starts solved",
        found=f"{int(env.success().sum())} of {num_tasks} solved after reset",
        fix="draw starts and goals again until success() is False",
    )
    first, shape = joined(start), start.pixels.shape[1:]
    _check_observation(require, start, env=env, shape=(num_tasks, *shape), what="reset")
    goal = env.goal_observation()
    _check_observation(require, goal, env=env, shape=(num_tasks, *shape), what="goal_observation")
    actions = _actions(num_steps, num_tasks, env.action_dim, std=action_std)
    for action in actions:
        given = action.copy()
        obs = env.step(given)
        _check_observation(require, obs, env=env, shape=(num_tasks, *shape), what="step")
        _check_success(require, env, num_tasks=num_tasks)
        require(
            np.array_equal(given, action),
            "step leaves the actions as they are",
            found="actions changed in place",
            fix="copy them before clipping or scaling",
        )
    require(
        torch.equal(joined(start), first),
        "an observation does not change after it was returned",
        found="the observation of reset changed by step",
        fix="return copies of the arrays that the environment draws into",
    )
    env.reset(tasks[:1])
    require(
        len(env.success()) == 1,
        "reset takes any number of tasks: the last batch of an evaluation is smaller",
        found=f"{len(env.success())} copies after reset with 1 task",
        fix="let reset set the number of copies",
    )


def check_simulator(
    env: object, *, num_tasks: int = 3, num_steps: int = 4, action_std: float = 0.1
) -> None:
    """Check an environment with exact states and known dynamics: `check_env`, and the oracle's part."""
    require = rules(env)
    check_env(env, num_tasks=num_tasks, num_steps=num_steps, action_std=action_std)
    require(
        isinstance(env, Simulator),
        "a simulator has also state_dim, state_to_pixel, states, simulate and goal_distance",
        found=f"no {', '.join(name for name in _SIMULATOR_NAMES if not hasattr(env, name))}",
        fix="see contracts.Simulator; without dynamics it is an Env, which check_env checks",
    )
    env = cast(Simulator, env)
    tasks = env.sample_tasks(0, num_tasks=num_tasks)
    actions = _actions(num_steps, num_tasks, env.action_dim, std=action_std)
    env.reset(tasks)
    before = env.states()
    require(
        before.shape == (num_tasks, env.state_dim) and bool(np.isfinite(before).all()),
        "states returns finite numbers [B, state_dim]",
        found=f"{before.dtype} {before.shape} for state_dim {env.state_dim}",
        fix="return one row for each copy",
    )
    if isinstance(env, KnowsPlaces):
        beside = env.beside(before)
        require(
            all(one.shape == (num_tasks,) and one.dtype == np.bool_ for one in beside.values()),
            "beside returns one bool for each state and place, by name",
            found=", ".join(f"{name} {one.dtype} {one.shape}" for name, one in beside.items()),
            fix="return arrays of bool [B]",
        )
    if isinstance(env, KnowsWalls):
        tunnelled = env.tunnels(before, before)
        require(
            tunnelled.shape == (num_tasks,) and tunnelled.dtype == np.bool_,
            "tunnels returns one bool for each way",
            found=f"{tunnelled.dtype} {tunnelled.shape}",
            fix="return an array of bool [B]",
        )
        require(
            not tunnelled.any(),
            "who stands still at a start passes through no wall",
            found=f"{int(tunnelled.sum())} of {num_tasks} do",
            fix="let tunnels look at the way between two states",
        )
    _check_simulation(require, env, before=before, actions=actions)
    env.reset(tasks)
    require(
        close(env.states(), before),
        "reset puts the copies into the start of their tasks exactly",
        found="other states when the same tasks are reset again",
        fix="keep in Task.start all that the state consists of",
    )


def check_data_format(found: object, path: Path, *, options: ReadOptions | None = None) -> None:
    """Check a format on a data set at `path`, all of which is read twice."""
    require = rules(found)
    require(
        isinstance(found, Format) and bool(found.summary),
        "a data format is a data.recording.Format with a summary",
        found=type(found).__name__,
        fix="build it as Format(summary=..., recognises=..., open=...)",
    )
    one, options = cast(Format, found), options or ReadOptions()
    with TemporaryDirectory() as empty:
        answers = (one.recognises(path), one.recognises(Path(empty)))
    require(
        answers == (True, False),
        "recognises says yes to its own data and no to an empty folder",
        found=f"{answers[0]} and {answers[1]}",
        fix="look for a file that only this format has",
    )
    source = one.open(path, options)
    require(
        len(source.episodes) > 0 and source.camera in source.cameras,
        "a source has episodes, and its camera is among its cameras",
        found=f"{len(source.episodes)} episodes, camera {source.camera!r} of {list(source.cameras)}",
        fix="fill Source.episodes, cameras and camera",
    )
    absent = [str(file) for file in source.files if not file.is_file()]
    require(
        len(source.files) > 0 and not absent,
        "files lists every file of the source, for its hash",
        found=f"{len(source.files)} files, absent: {', '.join(absent) or 'none'}",
        fix="list existing files, sorted",
    )
    for episode, again in zip(source.episodes, one.open(path, options).episodes, strict=True):
        _check_recording(require, episode.read(), again.read(), name=episode.name)


def check_collection_policy(
    policy: object,
    *,
    env: Env | None = None,
    num_episodes: int = 3,
    num_steps: int = 6,
    data_root: Path = Path("data"),
) -> None:
    """Check a policy and, where `env` is given, that its script can be acted out there."""
    require = rules(policy)
    require_frozen(policy, "script")

    def script() -> Script:
        return cast(CollectionPolicy, policy).script(
            np.random.default_rng(0),
            num_episodes=num_episodes,
            num_steps=num_steps,
            data_root=data_root,
        )

    first, same = script(), script()
    lengths = [len(rows) for rows in first.commands]
    require(
        len(first.tasks) == len(lengths) == num_episodes
        and all(1 <= length <= num_steps for length in lengths),
        "a script has num_episodes starts and as many lists of 1 to num_steps actions",
        found=f"{len(first.tasks)} starts, actions {lengths} for {num_episodes} of {num_steps}",
        fix="draw one start and one list of actions for each episode",
    )
    width = None if env is None or first.feedback is not None else env.action_dim
    widths = {rows.shape[1:] for rows in first.commands}
    require(
        len(widths) == 1 and (width is None or widths == {(width,)}),
        "actions of all episodes are [T, a], as wide as those of the environment",
        found=f"{sorted(widths)}" + ("" if width is None else f" where a = {width}"),
        fix="give every action action_dim numbers",
    )
    require_finite(require, torch.tensor(np.concatenate(first.commands)), what="actions")
    require(
        first.tasks == same.tasks and all(map(np.array_equal, first.commands, same.commands)),
        "the same generator draws the same script",
        found="two scripts that differ",
        fix="draw from the generator that is handed over, and from nothing else",
    )
    if first.feedback is not None:
        require(
            "<" not in first.feedback.__qualname__,
            "feedback is a function of a module: other processes import it",
            found=first.feedback.__qualname__,
            fix="define it at the top of the module",
        )
    if env is not None:
        _check_acted(require, first, env=env)


def _checked_tasks(require: Require, env: Env, *, num_tasks: int) -> list[Task]:
    """Draw tasks and check them."""
    tasks = env.sample_tasks(0, num_tasks=num_tasks)
    require(
        len(tasks) == num_tasks and all(isinstance(task, Task) for task in tasks),
        "sample_tasks returns num_tasks Tasks",
        found=f"{len(tasks)} of {type(tasks[0]).__name__ if tasks else 'nothing'}",
        fix="return a list of jepawm.types.Task",
    )
    require(
        tasks == env.sample_tasks(0, num_tasks=num_tasks),
        "the same seed draws the same tasks",
        found="two lists that differ",
        fix="draw from np.random.default_rng(seed) alone",
    )
    return tasks


def _check_observation(
    require: Require, obs: Observation, *, env: Env, shape: tuple[int, ...], what: str
) -> None:
    pixels, proprio = obs.pixels, obs.proprio
    require(
        pixels.dtype == torch.uint8 and tuple(pixels.shape) == shape and shape[1] == 3,
        f"{what} returns pixels [B, 3, Hpx, Wpx], uint8, the same size everywhere",
        found=f"{shape_of(pixels)} where reset had {shape}",
        fix="put the colours before height and width",
    )
    expected = (shape[0], env.proprio_dim) if env.proprio_dim else None
    require(
        (None if proprio is None else tuple(proprio.shape)) == expected,
        f"{what} returns proprio [B, proprio_dim], or None where that is 0",
        found="None"
        if proprio is None
        else f"{shape_of(proprio)} for proprio_dim {env.proprio_dim}",
        fix="make proprio_dim the width of proprio",
    )
    if proprio is not None:
        require(
            proprio.dtype == torch.float32, "proprio is float32", found=proprio.dtype, fix="cast it"
        )
        require_finite(require, proprio, what="proprio")


def _check_success(require: Require, env: Env, *, num_tasks: int) -> None:
    success = env.success()
    require(
        isinstance(success, np.ndarray) and success.dtype == bool and success.shape == (num_tasks,),
        "success returns a NumPy array of bool, one for each copy",
        found=f"{getattr(success, 'dtype', type(success).__name__)} {np.shape(success)}",
        fix="return a comparison of arrays [B]",
    )


def _check_simulation(
    require: Require, env: Simulator, *, before: np.ndarray, actions: Float[np.ndarray, "T B a"]
) -> None:
    """Check that `simulate` equals stepping from the states `before`."""
    num_steps, num_tasks = actions.shape[:2]
    candidates = np.stack([actions, -actions]).transpose(2, 0, 1, 3)  # [B, 2, T, a]
    simulated = env.simulate(candidates)
    require(
        simulated.shape == (num_tasks, 2, num_steps, env.state_dim),
        "simulate returns states [B, K, T, S] of actions [B, K, T, a]",
        found=str(simulated.shape),
        fix="return the state after each action",
    )
    distance = env.goal_distance(simulated[:, :, -1])
    require(
        distance.shape == (num_tasks, 2) and bool((distance >= 0).all()),
        "goal_distance returns squared distances [B, K] of states [B, K, S]",
        found=f"{distance.shape}, lowest {distance.min():.3g}",
        fix="add up squares over the state",
    )
    require(
        np.array_equal(before, env.states()),
        "simulate does not change the states",
        found="other states after simulate",
        fix="simulate on a copy, or put the states back",
    )
    env.states()[:] = 0.0
    stepped = []
    for action in actions:
        env.step(action)
        stepped.append(env.states())
    require(
        close(np.stack(stepped, axis=1), simulated[:, 0]),
        "simulate equals stepping, and states returns copies",
        found=f"states that differ by up to {np.abs(np.stack(stepped, 1) - simulated[:, 0]).max():.3g}",
        fix="use the same dynamics for both, from the same exact state",
    )


def _check_recording(require: Require, one: Recording, again: Recording, *, name: str) -> None:
    frames = list(one.frames())
    require(
        0 < len(frames) == one.num_frames == one.count_frames(),
        "episodes are whole: num_frames, count_frames() and frames() agree",
        found=f"{one.num_frames}, {one.count_frames()} and {len(frames)} in {name}",
        fix="count the frames that can be decoded",
    )
    require(
        all(frame.dtype == np.uint8 and frame.shape[2:] == (3,) for frame in frames),
        "frames are uint8 [Hpx, Wpx, 3]",
        found=f"{frames[0].dtype} {frames[0].shape} in {name}",
        fix="put the colours last",
    )
    require(
        len(one.actions) in (len(frames), len(frames) - 1),
        "row t of the actions leads frame t to frame t + 1: as many as frames, or one less",
        found=f"{len(one.actions)} actions for {len(frames)} frames in {name}",
        fix="drop what lies outside the frames",
    )
    columns = [one.actions, *(rows for rows in (one.proprio, one.state) if rows is not None)]
    require(
        all(rows.ndim == 2 for rows in columns)
        and all(len(rows) == len(frames) for rows in columns[1:]),
        "actions [n, a], proprio [L, P] and state [L, S] are rows of numbers",
        found=f"{[rows.shape for rows in columns]} for {len(frames)} frames in {name}",
        fix="give one row for each frame",
    )
    for rows in columns:
        require_finite(require, torch.tensor(np.asarray(rows, np.float64)), what="numbers")
    require(
        np.array_equal(one.actions, again.actions)
        and all(map(np.array_equal, frames, again.frames())),
        "an episode reads the same twice",
        found=f"other frames or actions in {name}",
        fix="read from the file each time; use up no iterator",
    )


def _check_acted(require: Require, script: Script, *, env: Env) -> None:
    """Check that an environment takes the starts and the first actions of a script."""
    env.reset(script.tasks)
    actions = np.stack([rows[0] for rows in script.commands])
    if script.feedback is not None:
        require(
            isinstance(env, Simulator),
            "a script with feedback acts on exact states",
            found=f"{type(env).__name__}, which is no Simulator",
            fix="give commands that are actions",
        )
        actions = script.feedback(cast(Simulator, env).states(), actions)
    require(
        actions.shape == (len(script.tasks), env.action_dim) and np.isfinite(actions).all(),
        "feedback returns finite actions [B, a]",
        found=f"{actions.shape}",
        fix="return one row of action_dim numbers for each copy",
    )
    env.step(actions.astype(np.float32))


def _actions(*shape: int, std: float) -> Float[np.ndarray, "T B a"]:
    return std * np.random.default_rng(0).standard_normal(shape).astype(np.float32)
