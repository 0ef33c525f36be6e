from pathlib import Path

import numpy as np
import pytest

from jepawm.contracts import CollectionPolicy, HoldsOut, Script
from jepawm.envs.pusht.dynamics import PushTWorld
from jepawm.envs.pusht.policy import (
    PushTReplays,
    move_scene,
    read_demonstrations,
    steer_to_places,
)
from jepawm.envs.pusht.tasks import solved
from jepawm.errors import UserError

LENGTHS = (12, 9, 15)
EXACT = {"noise": 0.0, "start_jitter": 0.0, "angle_jitter": 0.0}


def write_demos(folder: Path) -> Path:
    """Write three demonstrations: random pushes, as the simulator answers them."""
    generator = np.random.default_rng(0)
    actions, states = [], []
    for length in LENGTHS:
        world = PushTWorld()
        world.reset(np.array([200.0, 250.0, 256.0, 300.0, 0.5, 0.0, 0.0]))
        for _ in range(length):
            state = world.state()
            place = state[:2] + generator.normal(20.0, 20.0, 2)
            states.append(state[:5])
            actions.append(place)
            world.step(steer_to_places(state[None], place[None])[0])
    path = folder / "demos.npz"
    ends = np.cumsum(LENGTHS)
    np.savez(path, action=np.array(actions), state=np.array(states), episode_ends=ends)
    return path


def draw(policy: CollectionPolicy, folder: Path, *, num_episodes: int, num_steps: int) -> Script:
    generator = np.random.default_rng(1)
    return policy.script(
        generator, num_episodes=num_episodes, num_steps=num_steps, data_root=folder
    )


def roll(script: Script, episode: int) -> np.ndarray:
    assert script.feedback is not None
    world = PushTWorld()
    world.reset(np.array(script.tasks[episode].start))
    states = [world.state()]
    for place in script.commands[episode]:
        world.step(script.feedback(states[-1][None], place[None])[0])
        states.append(world.state())
    return np.array(states)


def test_without_noise_a_replay_is_the_demonstration(tmp_path: Path):
    path = write_demos(tmp_path)
    _, states, ends = read_demonstrations(path)
    policy = PushTReplays(demos="demos.npz", num_held_out=0, **EXACT)
    script = draw(policy, tmp_path, num_episodes=6, num_steps=100)
    assert sorted(map(len, script.commands)) == sorted(2 * LENGTHS)
    episode = [len(commands) for commands in script.commands].index(15)
    np.testing.assert_allclose(roll(script, episode)[:15, :5], states[ends[1] :], atol=1e-9)


def test_noise_changes_the_way_but_the_agent_follows(tmp_path: Path):
    path = write_demos(tmp_path)
    _, states, ends = read_demonstrations(path)
    policy = PushTReplays(demos=str(path), num_held_out=0, noise=20.0)
    script = draw(policy, Path("nowhere"), num_episodes=9, num_steps=100)
    episode = [len(commands) for commands in script.commands].index(15)
    found = roll(script, episode)[:15, :2]
    error = np.linalg.norm(found - states[ends[1] :, :2], axis=1)
    assert 0.5 < error[-1] < 60


def test_long_demonstrations_are_cut_and_held_out_ones_left(tmp_path: Path):
    path = write_demos(tmp_path)
    policy = PushTReplays(demos=str(path), num_held_out=1, **EXACT)
    script = draw(policy, tmp_path, num_episodes=20, num_steps=10)
    assert sorted(map(len, script.commands)) == [9] * 10 + [10] * 10
    assert len(script.sources["demos_sha256"]) == 64


def play(places: np.ndarray, start: np.ndarray) -> np.ndarray:
    world = PushTWorld()
    world.reset(np.concatenate([start, [0.0, 0.0]]))
    states = [world.state()]
    for place in places:
        world.step(steer_to_places(states[-1][None], place[None])[0])
        states.append(world.state())
    return np.array(states)[:-1, :5]


def test_a_quarter_turn_and_a_mirror_image_known_by_hand():
    places, states = np.array([[256.0, 300.0]]), np.array([[266.0, 256.0, 256.0, 246.0, 0.3]])
    turned = move_scene(places, states, mirrored=False, turn=np.pi / 2, shift=np.zeros(2))
    np.testing.assert_allclose(turned[0], [[212.0, 256.0]])
    np.testing.assert_allclose(turned[1], [[256.0, 266.0, 266.0, 256.0, 0.3 + np.pi / 2]])
    mirrored = move_scene(places, states, mirrored=True, turn=0.0, shift=np.array([1.0, 2.0]))
    np.testing.assert_allclose(mirrored[1], [[247.0, 258.0, 257.0, 248.0, -0.3]])


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_replay_of_a_moved_scene_is_the_moved_replay(mirrored: bool):
    start = np.array([200.0, 250.0, 256.0, 300.0, 0.5])
    places = np.linspace([220.0, 260.0], [300.0, 320.0], 20)  # pushes the block
    states = play(places, start)
    assert np.linalg.norm(states[-1, 2:4] - states[0, 2:4]) > 5
    shift = np.array([5.0, -8.0])
    moved_places, expected = move_scene(places, states, mirrored=mirrored, turn=0.7, shift=shift)
    np.testing.assert_allclose(play(moved_places, expected[0]), expected, atol=1e-6)


def test_scenes_move_clear_of_the_walls_and_some_stay(tmp_path: Path):
    path = write_demos(tmp_path)
    _, states, ends = read_demonstrations(path)
    starts = {tuple(states[first]) for first in (0, *ends[:-1])}
    script = draw(
        PushTReplays(demos=str(path), num_held_out=0, moved=0.5, **EXACT),
        tmp_path,
        num_episodes=60,
        num_steps=100,
    )
    moved = [task.start[:5] not in starts for task in script.tasks]
    assert 15 < sum(moved) < 45
    for places in script.commands:
        assert places.min() > 10
        assert places.max() < 502
    with pytest.raises(UserError, match=r"moved = 1\.5"):
        PushTReplays(moved=1.5)


def test_bad_files_are_named(tmp_path: Path):
    path = write_demos(tmp_path)
    with pytest.raises(UserError, match=r"there is no file of Push-T demonstrations none\.npz"):
        draw(PushTReplays(demos="none.npz"), tmp_path, num_episodes=1, num_steps=5)
    with pytest.raises(UserError, match="num_held_out = 40 leaves none of the 3"):
        draw(PushTReplays(demos=str(path)), tmp_path, num_episodes=1, num_steps=5)
    for name, arrays in {
        "a": {"action": np.zeros((3, 2))},
        "b": {"action": np.zeros((3, 2)), "state": np.zeros((4, 5)), "episode_ends": [3]},
        "c": {"action": np.zeros((3, 2)), "state": np.full((3, 5), np.nan), "episode_ends": [3]},
        "d": {"action": np.zeros((3, 2)), "state": np.zeros((3, 5)), "episode_ends": [2, 1, 3]},
    }.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(UserError, match=rf"{name}\.npz"):
            read_demonstrations(tmp_path / f"{name}.npz")
    (tmp_path / "e.npz").write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match=r"e\.npz is damaged or no npz file"):
        read_demonstrations(tmp_path / "e.npz")
    np.save(tmp_path / "f.npy", np.zeros(3))
    (tmp_path / "f.npy").rename(tmp_path / "f.npz")
    with pytest.raises(UserError, match=r"f\.npz is one array"):
        read_demonstrations(tmp_path / "f.npz")


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("episode_ends", np.array(3)),
        ("episode_ends", np.array([])),
        ("episode_ends", np.array([3.0])),
        ("episode_ends", np.array([-3])),
        ("episode_ends", np.array([[3]])),
        ("episode_ends", np.array(["3"])),
        ("action", np.zeros((3, 2), complex)),
        ("action", np.full((3, 2), 1e30)),
        ("action", np.zeros((3, 2), str)),
        ("state", np.zeros(15)),
        ("state", np.full((3, 5), -np.inf)),
    ],
    ids=str,
)
def test_arrays_that_are_no_demonstrations(tmp_path: Path, name: str, rows: np.ndarray):
    good = {"action": np.zeros((3, 2)), "state": np.zeros((3, 5)), "episode_ends": np.array([3])}
    np.savez(tmp_path / "a.npz", **good)
    read_demonstrations(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", **(good | {name: rows}))
    with pytest.raises(UserError, match=rf"a\.npz: {name} .*the file is damaged"):
        read_demonstrations(tmp_path / "a.npz")


def test_the_published_demonstrations_replay():
    path = Path(__file__).parents[3] / "shared" / "data" / "pusht_demos.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not here; the first test does the same on its own data")
    _, states, ends = read_demonstrations(path)
    script = draw(PushTReplays(demos=str(path), **EXACT), path, num_episodes=186, num_steps=300)
    found = roll(script, 0)[: len(script.commands[0])]
    starts = np.concatenate([[0], ends[:-1]])
    demo = next(i for i, start in enumerate(starts) if np.array_equal(states[start], found[0, :5]))
    assert demo < 186
    expected = states[starts[demo] : ends[demo]]
    np.testing.assert_allclose(found[:, :4], expected[:, :4], atol=0.5)


def test_tasks_come_from_held_out_demonstrations_and_their_actions_lead_to_the_goal(tmp_path: Path):
    path = write_demos(tmp_path)
    policy = PushTReplays(demos=str(path), num_held_out=2)
    settings = {"num_tasks": 4, "num_steps": 8, "data_root": tmp_path}
    tasks = policy.draw_tasks(3, split="test", **settings)
    assert tasks == policy.draw_tasks(3, split="test", **settings)
    assert tasks != policy.draw_tasks(3, split="val", **settings)
    for task in tasks:
        assert not solved(np.array(task.start), np.array(task.goal))


def test_without_noise_a_task_is_a_stretch_of_its_demonstration(tmp_path: Path):
    path = write_demos(tmp_path)
    _, states, ends = read_demonstrations(path)
    policy = PushTReplays(demos=str(path), num_held_out=2, **EXACT)
    (task,) = policy.draw_tasks(0, num_tasks=1, num_steps=14, split="test", data_root=tmp_path)
    np.testing.assert_allclose(task.start[:5], states[ends[1]], atol=1e-9)
    np.testing.assert_allclose(task.goal[:4], states[-1][:4], atol=3.0)  # one physics step later


def test_too_few_held_out_demonstrations_for_tasks(tmp_path: Path):
    path = write_demos(tmp_path)
    policy = PushTReplays(demos=str(path), num_held_out=2)
    with pytest.raises(UserError, match="holds none of more than 50 steps for split val"):
        policy.draw_tasks(0, num_tasks=1, num_steps=50, split="val", data_root=tmp_path)


def test_only_what_is_held_out_for_a_split_is_replayed(tmp_path: Path):
    path = write_demos(tmp_path)
    policy = PushTReplays(demos=str(path), num_held_out=2, **EXACT)
    for split, lengths in (("val", {9}), ("test", {15})):
        script = draw(policy.held_out(split), tmp_path, num_episodes=4, num_steps=100)
        assert set(map(len, script.commands)) == lengths
    assert isinstance(policy, HoldsOut)
    none = PushTReplays(demos=str(path), num_held_out=0).held_out("val")
    with pytest.raises(UserError, match=r"leaves none of the 3 demonstrations.*raise it"):
        draw(none, tmp_path, num_episodes=1, num_steps=5)
