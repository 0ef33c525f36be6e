"""What other people's environments raise or return ends as one message."""

from functools import partial

import gymnasium
import pytest

from jepawm.envs import build_env
from jepawm.envs.gymnasium.batch import GymnasiumBatch
from jepawm.errors import UserError


def batch(name: str) -> GymnasiumBatch:
    env = build_env(f"gym:point_env:{name}-v0", image_size=16)
    assert isinstance(env, GymnasiumBatch)
    return env


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Broken", r"step of the environment 'Broken-v0' .*motor 3 is not calibrated.*point_env"),
        ("BrokenStart", r"reset of the environment 'BrokenStart-v0' .*no connection to the arm"),
        ("FourValues", r"step of the environment 'FourValues-v0' .*its step returns five"),
        ("NoSeed", r"reset of the environment 'NoSeed-v0' .*reset takes a seed"),
        ("OldGym", r"OldGym-v0"),
        ("NoRender", r"NoRender-v0"),
        ("TextObservations", r"observations of TextObservations-v0 are of the kind .*no rows"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_faults_of_an_environment_are_messages(name: str, message: str):
    with pytest.raises(UserError, match=message):
        batch(name).sample_tasks(0, num_tasks=1)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("floats", r"renders float64 pictures from 0\.117647 to 1; let render\(\) return uint8"),
        ("floats of levels", "renders float32 pictures from 30 to 255"),
        ("deep", "renders uint16 pictures from 7710 to 65535"),
        ("rgba", r"renders \(32, 32, 4\), no rgb_array of height x width x 3"),
        ("grey", r"renders \(32, 32\), no rgb_array"),
        ("list", "renders list, no rgb_array"),
        ("none", "renders NoneType, no rgb_array"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_pictures_of_another_kind_are_refused_by_name(how: str, message: str):
    make = partial(gymnasium.make, "point_env:Drawing-v0", render_mode="rgb_array", how=how)
    with pytest.raises(UserError, match=message):
        GymnasiumBatch(16, make=make)


@pytest.mark.filterwarnings("ignore")
def test_whole_numbers_within_the_levels_are_pictures():
    make = partial(
        gymnasium.make, "point_env:Drawing-v0", render_mode="rgb_array", how="whole numbers"
    )
    env = GymnasiumBatch(32, make=make)
    assert int(env.reset(env.sample_tasks(0, num_tasks=1)).pixels.max()) == 255


@pytest.mark.parametrize("name", ["OneStep", "Still"])
def test_drawing_tasks_ends_where_all_are_solved(name: str):
    with pytest.raises(
        UserError, match=rf"{name}-v0: 100 tasks in a row were solved at their start"
    ):
        batch(name).sample_tasks(0, num_tasks=2)


def test_starts_that_no_seed_decides_are_said(caplog: pytest.LogCaptureFixture):
    batch("Unseeded")
    assert "Unseeded-v0: reset(seed=0) starts elsewhere each time" in caplog.text
    caplog.clear()
    batch("Point")
    assert not caplog.text


def test_modules_and_ids_that_are_not_there():
    with pytest.raises(
        UserError, match=r"does not make 'no_such_module:Point-v0'.*No module named"
    ):
        build_env("gym:no_such_module:Point-v0", image_size=16)
    with pytest.raises(UserError, match="does not make 'point_env:Nothing-v0'"):
        build_env("gym:point_env:Nothing-v0", image_size=16)
