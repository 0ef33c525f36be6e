"""Built-in environments, policies and formats keep their contracts, and each broken rule is told."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jepawm.cli.choices import new_part
from jepawm.contracts import Script
from jepawm.data.formats.npz import FORMAT as NPZ
from jepawm.data.recording import Episode, ReadOptions, Source
from jepawm.envs import ENVIRONMENTS, POLICIES, build_env
from jepawm.envs.wall.env import WallBatch
from jepawm.envs.wall.policy import RandomWall
from jepawm.errors import UserError
from jepawm.testing import (
    ContractError,
    check_collection_policy,
    check_data_format,
    check_env,
    check_simulator,
)
from jepawm.types import Observation


def _env(name: str):
    try:
        env = build_env(name, image_size=32)
        env.reset(env.sample_tasks(0, num_tasks=1))
    except UserError as error:  # names the extra, or the library of the system, that is missing
        pytest.skip(str(error))
    return env


@pytest.mark.parametrize(
    "name", [*(n for n in ENVIRONMENTS.names() if ":" not in n), "gym:Reacher-v5"]
)
def test_environments_keep_their_contract(name: str):
    check_simulator(_env(name))


@pytest.mark.parametrize("name", POLICIES.names())
def test_collection_policies_keep_their_contract(name: str):
    env, policy = _env(name), new_part(POLICIES, name)
    try:
        check_collection_policy(policy, env=env)
    except UserError as error:
        assert name == "pusht"
        pytest.skip(str(error))  # there are no demonstrations to replay


@pytest.fixture
def episodes(tmp_path: Path) -> Path:
    """Return a folder of two episodes in the format npz."""
    folder = tmp_path / "episodes"
    folder.mkdir()
    for index in range(2):
        frames = np.full((4 + index, 8, 8, 3), index, np.uint8)
        actions = np.full((3 + index, 2), 0.5, np.float32)
        np.savez(folder / f"episode_{index}.npz", frames=frames, actions=actions)
    return folder


def test_a_data_format_keeps_its_contract(episodes: Path):
    check_data_format(NPZ, episodes)


class OwnEnv:
    """Wall without states, rightly unless `fault` says otherwise."""

    action_dim, proprio_dim = 2, 2

    def __init__(self, fault: str = "") -> None:
        self.fault, self.wall, self.draws = fault, WallBatch(16), 0
        if fault == "no width":
            self.action_dim = 0
        if fault == "proprio":
            self.proprio_dim = 3

    def sample_tasks(self, seed: int, *, num_tasks: int):
        self.draws += 1
        tasks = self.wall.sample_tasks(
            seed + (self.draws if self.fault == "seed" else 0), num_tasks=num_tasks
        )
        if self.fault == "solved":
            return [replace(task, goal=task.start) for task in tasks]
        return tasks[1:] if self.fault == "fewer" else tasks

    def reset(self, tasks):
        copies = [tasks[0]] * 3 if self.fault == "copies" else tasks
        self.last = self._changed(self.wall.reset(copies))
        return self.last

    def goal_observation(self):
        return self.wall.goal_observation()

    def step(self, actions):
        obs = self.wall.step(actions)
        if self.fault == "actions":
            actions *= 0
        if self.fault == "overwrites":
            self.last.pixels.zero_()
        return self._changed(obs)

    def success(self):
        found = self.wall.success()
        return found.astype(np.float32) if self.fault == "success" else found

    def _changed(self, obs: Observation) -> Observation:
        assert obs.proprio is not None
        if self.fault == "float":
            object.__setattr__(obs, "pixels", obs.pixels.float())
        if self.fault == "nan":
            obs.proprio[:] = torch.nan
        if self.fault == "double":
            object.__setattr__(obs, "proprio", obs.proprio.double())
        return obs


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no width", r"has action_dim \(at least 1\).*found action_dim 0, proprio_dim 2"),
        ("fewer", "sample_tasks returns num_tasks Tasks; found 2 of Task"),
        ("seed", "the same seed draws the same tasks"),
        ("solved", "no task starts solved; found 3 of 3"),
        ("success", "success returns a NumPy array of bool.*found float32"),
        ("float", "reset returns pixels .*, uint8.*found torch.float32"),
        ("proprio", r"reset returns proprio \[B, proprio_dim\].*for proprio_dim 3"),
        ("double", "proprio is float32; found torch.float64"),
        ("nan", "proprio are finite"),
        ("actions", "step leaves the actions as they are"),
        ("overwrites", "an observation does not change after it was returned"),
        ("copies", "reset takes any number of tasks.*found 3 copies"),
    ],
)
def test_what_an_environment_may_not_do(fault: str, message: str):
    check_env(OwnEnv())
    with pytest.raises(ContractError, match=message):
        check_env(OwnEnv(fault))


class OwnSimulator(WallBatch):
    """Wall, rightly unless `fault` says otherwise."""

    def __init__(self, fault: str) -> None:
        super().__init__(16)
        self.fault, self.resets = fault, 0

    def reset(self, tasks):
        obs = super().reset(tasks)
        if self.fault == "start":
            self.resets += 1
            self._positions = self._positions + self.resets
        return obs

    def states(self):
        if self.fault == "view":
            return self._positions
        return super().states()[:, :1] if self.fault == "narrow" else super().states()

    def simulate(self, actions):
        found = super().simulate(actions)
        if self.fault == "moves":
            self._positions = found[:, 0, -1]
        if self.fault == "wrong":
            return found + 1.0
        return found[:, :, -1] if self.fault == "last" else found

    def goal_distance(self, states):
        found = super().goal_distance(states)
        return -found if self.fault == "reward" else found


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("narrow", r"states returns finite numbers \[B, state_dim\]"),
        ("last", r"simulate returns states \[B, K, T, S\]"),
        ("reward", "goal_distance returns squared distances"),
        ("moves", "simulate does not change the states"),
        ("wrong", "simulate equals stepping, .* differ by up to 1;"),
        ("view", "states returns copies"),
        ("start", "reset puts the copies into the start of their tasks"),
    ],
)
def test_what_a_simulator_may_not_do(fault: str, message: str):
    with pytest.raises(ContractError, match=message):
        check_simulator(OwnSimulator(fault))


def test_places_are_given_for_each_state():
    class Wrong(OwnSimulator):
        def beside(self, states):
            return {"wall": np.zeros(len(states))}

    with pytest.raises(ContractError, match=r"one bool for each state .*found wall float64"):
        check_simulator(Wrong(""))


def test_an_environment_without_states_is_no_simulator():
    with pytest.raises(ContractError, match=r"a simulator has also .*found no state_dim, "):
        check_simulator(OwnEnv())


def _source(path: Path, change: Callable[[Any], Any]) -> Source:
    """Open a source whose recordings are changed on reading."""
    source = NPZ.open(path, ReadOptions())
    return replace(
        source,
        episodes=[
            Episode(name=one.name, file=one.file, read=lambda one=one: change(one.read()))
            for one in source.episodes
        ],
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: replace(r, num_frames=9), "episodes are whole.*found 9, 4 and 4 in episode 0"),
        (lambda r: replace(r, count_frames=lambda: 9), "episodes are whole.*found 4, 9 and 4"),
        (
            lambda r: replace(r, frames=lambda: (f.astype(np.float32) for f in r.frames())),
            "frames are uint8.*found float32",
        ),
        (lambda r: replace(r, actions=r.actions[:1]), "row t of the actions .*found 1 actions"),
        (lambda r: replace(r, actions=r.actions * np.nan), "numbers are finite"),
        (lambda r: replace(r, proprio=r.actions), "are rows of numbers; found"),
        (
            lambda r: replace(r, actions=r.actions + np.random.default_rng().random()),
            "an episode reads the same twice",
        ),
    ],
)
def test_what_a_recording_may_not_be(episodes: Path, change, message: str):
    broken = replace(NPZ, open=lambda path, _: _source(path, change))
    with pytest.raises(ContractError, match=message):
        check_data_format(broken, episodes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: replace(f, summary=""), "is a data.recording.Format with a summary"),
        (lambda f: replace(f, recognises=lambda _: True), "no to an empty folder; found True and"),
        (lambda f: replace(f, recognises=lambda _: False), "found False and False"),
        (
            lambda f: replace(f, open=lambda p, o: replace(f.open(p, o), camera="x")),
            "its camera is among its cameras; found 2 episodes, camera 'x'",
        ),
        (
            lambda f: replace(f, open=lambda p, o: replace(f.open(p, o), files=[p / "x"])),
            "files lists every file of the source",
        ),
    ],
)
def test_what_a_format_may_not_do(episodes: Path, change, message: str):
    with pytest.raises(ContractError, match=message):
        check_data_format(change(NPZ), episodes)


@dataclass(frozen=True, kw_only=True)
class OwnPolicy:
    fault: str = ""

    def script(self, generator, *, num_episodes, num_steps, data_root) -> Script:
        script = RandomWall().script(
            generator, num_episodes=num_episodes, num_steps=num_steps, data_root=data_root
        )
        noise = np.random.default_rng().random()
        changes: dict[str, Callable[[], Any]] = {
            "fewer": lambda: replace(script, tasks=script.tasks[:1]),
            "long": lambda: replace(script, commands=[np.zeros((99, 2))] * num_episodes),
            "wide": lambda: replace(script, commands=[np.zeros((2, 3))] * num_episodes),
            "nan": lambda: replace(script, commands=[one * np.nan for one in script.commands]),
            "random": lambda: replace(script, commands=[one + noise for one in script.commands]),
            "local": lambda: replace(script, feedback=lambda states, commands: commands),
            "feedback": lambda: replace(script, feedback=narrow),
        }
        return changes.get(self.fault, lambda: script)()


def narrow(states, commands):
    return commands[:, :1]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("fewer", "num_episodes starts and as many lists.*found 1 starts"),
        ("long", r"1 to num_steps actions; found 3 starts, actions \[99, 99, 99\]"),
        ("wide", r"as wide as those of the environment; found \[\(3,\)\] where a = 2"),
        ("nan", "actions are finite"),
        ("random", "the same generator draws the same script"),
        ("local", "feedback is a function of a module"),
        ("feedback", r"feedback returns finite actions \[B, a\]; found \(3, 1\)"),
    ],
)
def test_what_a_policy_may_not_do(fault: str, message: str):
    check_collection_policy(OwnPolicy(), env=WallBatch(16))
    with pytest.raises(ContractError, match=message):
        check_collection_policy(OwnPolicy(fault=fault), env=WallBatch(16))


def test_feedback_needs_a_simulator():
    with pytest.raises(ContractError, match="acts on exact states; found OwnEnv"):
        check_collection_policy(OwnPolicy(fault="feedback"), env=OwnEnv())
