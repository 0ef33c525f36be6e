"""A robot's loop: its pictures are prepared as those of the training data were."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm import load
from jepawm.commands import Commands
from jepawm.data.resample import square_frame
from jepawm.errors import UserError
from jepawm.hub.load import LoadedModel
from jepawm.planning.cem import CEM
from jepawm.records import TrainedOn
from jepawm.types import Observation

FEW = CEM(num_samples=8, num_elites=4, num_iterations=2)


@pytest.fixture(scope="module")
def wall() -> LoadedModel:
    return load("wall")


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_loop_gives_one_action_after_the_other(wall: LoadedModel):
    loop = wall.robot(fit="crop", planner=FEW)
    loop.reset(picture(64, 64))
    for _ in range(2):
        actions = loop.act(picture(64, 64))
        assert actions.shape == (5, 2)
        assert np.isfinite(actions).all()


@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_pictures_become_square_as_those_of_the_data(wall: LoadedModel, fit):
    trained = replace(wall, data=TrainedOn(sha256="0" * 64, image_size=64, fit=fit))
    goal, now = picture(96, 128), picture(100, 90)
    loop = trained.robot(planner=FEW)
    loop.reset(goal)
    actions = loop.act(now)

    agent = wall.robot(fit="crop", planner=FEW)._agent  # as `robot` makes it
    ready = [
        Observation(
            pixels=torch.from_numpy(square_frame(one, 64, fit=fit).copy())[None], proprio=None
        )
        for one in (goal, now)
    ]
    agent.reset(goal=ready[0])
    expected = agent.act(ready[1])[0].double().numpy().reshape(5, 2)
    np.testing.assert_array_equal(actions, expected)


def test_a_checkpoint_that_does_not_say_how_takes_its_own_size_alone(wall: LoadedModel):
    loop = wall.robot(planner=FEW)
    loop.reset(picture(64, 64))
    with pytest.raises(
        UserError, match=r"the picture is 640 x 480, and the checkpoint does not say"
    ):
        loop.act(picture(480, 640))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (picture(64, 64) / 255.0, r"the picture is float64 \(64, 64, 3\); give .*\(255 \* x\)"),
        (picture(64, 64)[None], r"the picture is uint8 \(1, 64, 64, 3\)"),
        (picture(64, 64).transpose(2, 0, 1), r"channels last"),
        (np.zeros((64, 64, 4), np.uint8), r"without a fourth"),
        (torch.zeros(3, 64, 64), "the picture is Tensor"),
        (None, "the picture is NoneType"),
    ],
)
def test_other_pictures_are_refused_with_what_to_give(wall: LoadedModel, given, message: str):
    loop = wall.robot(fit="crop", planner=FEW)
    loop.reset(picture(64, 64))
    with pytest.raises(UserError, match=message):
        loop._observation(given, None, what="picture")  # `act` checks its types in the tests alone


def test_joints_reach_the_agent(wall: LoadedModel):
    loop = wall.robot(fit="crop", planner=FEW)
    for joints in ([3.0, 4.0], np.array([3.0, 4.0], np.float32)):
        obs = loop._observation(picture(20, 30), joints, what="picture")
        assert obs.proprio is not None
        assert obs.proprio.tolist() == [[3.0, 4.0]]
        assert obs.pixels.shape == (1, 3, 64, 64)
    loop.reset(picture(64, 64), [3.0, 4.0], num_steps=4)
    with pytest.raises(UserError, match=r"proprio has the shape \(1, 3\); give \[1, 2\]"):
        loop.act(picture(64, 64), [1.0, 2.0, 3.0])


ARM = Commands(
    forms=("difference", "relative"),
    follows=(-1, 1),
    rest=("repeat", "repeat"),
    **dict.fromkeys(("mean", "std", "low", "high", "step"), (1.0, 1.0)),
)


def test_moves_become_commands_one_block_after_the_other(wall: LoadedModel):
    told = replace(wall, normalizer=replace(wall.normalizer, commands=ARM))
    goal, now, joints = picture(64, 64), picture(60, 64), [3.0, 4.0]
    plain = wall.robot(fit="crop", planner=FEW)
    loop = told.robot(fit="crop", planner=FEW)
    plain.reset(goal)
    loop.reset(goal, command=[10.0, 20.0])
    last = 10.0
    for _ in range(2):
        moves = plain.act(now, joints)
        commands = loop.act(now, joints)
        assert commands[:, 0] == pytest.approx(last + moves[:, 0].cumsum(), abs=1e-5)
        assert commands[:, 1] == pytest.approx(4.0 + moves[:, 1], abs=1e-5)
        last = commands[-1, 0]
    elsewhere = loop.act(now, joints, command=[0.0, 0.0])
    assert elsewhere[:, 0] == pytest.approx(plain.act(now, joints)[:, 0].cumsum(), abs=1e-5)


def test_a_plan_is_whole_and_counts_as_nothing(wall: LoadedModel):
    told = replace(wall, normalizer=replace(wall.normalizer, commands=ARM))
    loop = told.robot(fit="crop", planner=FEW, horizon=3)
    with pytest.raises(UserError, match="there is no goal"):
        loop.plan(picture(64, 64), [3.0, 4.0])
    loop.reset(picture(64, 64))
    with pytest.raises(UserError, match=r"columns \[0\] of its commands; give the last command"):
        loop.plan(picture(64, 64), [3.0, 4.0])
    with pytest.raises(UserError, match="relative to the robot's state; give its joints"):
        loop.plan(picture(64, 64), command=[1.0, 1.0])
    with pytest.raises(UserError, match="the command has 3 numbers; give the 2"):
        loop.plan(picture(64, 64), [3.0, 4.0], command=[1.0, 1.0, 1.0])
    plan = loop.plan(picture(64, 64), [3.0, 4.0], command=[1.0, 1.0])
    assert plan.shape == (15, 2)
    assert loop.frameskip == 5
    assert loop.commands == ARM


def test_a_run_remembers_camera_fit_and_rate(tmp_path: Path):
    from jepawm.data.checking import Requirements
    from jepawm.data.episodes import open_store
    from jepawm.data.formats import open_source
    from jepawm.data.importing import ImportOptions, import_source
    from jepawm.data.recording import ReadOptions
    from jepawm.runs.train_state import _trained_on

    frames = np.zeros((4, 8, 12, 3), np.uint8)
    np.savez(tmp_path / "0.npz", top=frames, actions=np.eye(4, 2), fps=15.0)
    import_source(
        open_source(tmp_path / "0.npz", name=None, options=ReadOptions()),
        tmp_path / "store",
        options=ImportOptions(image_size=8, fit="stretch"),
        requirements=Requirements(),
        read_options=ReadOptions(),
    )
    found = _trained_on(open_store(tmp_path / "store"))
    assert (found.camera, found.fit, found.fps, found.image_size) == ("top", "stretch", 15.0, 8)
