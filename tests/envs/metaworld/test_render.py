"""Pictures of Metaworld: what moves is seen, settings change pixels."""

import numpy as np
import pytest

pytest.importorskip("metaworld", reason="needs the extra 'metaworld'")

from jepawm.envs.metaworld.render import MetaworldView, draw_metaworld
from jepawm.envs.metaworld.simulator import MetaworldSimulator

pytestmark = pytest.mark.usefixtures("opengl")


@pytest.fixture(scope="module")
def simulator():
    return MetaworldSimulator("reach")


@pytest.fixture(scope="module")
def scene(simulator):
    return simulator.arrange(simulator.draw_layout(0))


def draw(scene, state, **settings):
    view = MetaworldView(**settings)
    return draw_metaworld("reach", scene, state=state, image_size=48, view=view).astype(int)


def fingers(frame):
    """Return the mean (column, row) of the finger that is drawn in cyan."""
    red, green, blue = np.moveaxis(frame, -1, 0)
    rows, columns = np.nonzero((green > red + 30) & (blue > red + 30))
    return columns.mean(), rows.mean()


def test_the_picture_is_upright_and_the_hand_moves_in_it(simulator, scene):
    before = draw(scene, scene.start)
    assert before.shape == (48, 48, 3)
    top, bottom = before[0].mean(0), before[-1, :24].mean(0)
    assert np.ptp(top) < 20  # the grey wall behind
    assert bottom[0] > bottom[2] + 20  # the wooden table
    up = simulator.simulate(scene, scene.start, actions=np.tile([0.0, 0.0, 1.0, -1.0], (12, 1)))
    assert fingers(draw(scene, up[-1]))[1] < fingers(before)[1] - 2


def test_drawing_is_deterministic_and_the_goal_is_seen(simulator, scene):
    frame = draw(scene, scene.start)
    other = simulator.arrange(scene.layout + np.array([0, 0, 0, 0.05, -0.05, 0.1]))
    assert not np.array_equal(draw(other, other.start), frame)
    assert np.array_equal(draw(scene, scene.start), frame)


@pytest.mark.parametrize(
    "change",
    [
        {"position": (1.3, -0.2, 1.1)},
        {"supersampling": 1},
        {"shadows": True},
        {"supersampling": 1, "num_samples": 4},
    ],
)
def test_settings_change_the_pictures(scene, change):
    plain = draw(scene, scene.start)
    if "num_samples" in change:
        plain = draw(scene, scene.start, supersampling=1)
    assert not np.array_equal(draw(scene, scene.start, **change), plain)
