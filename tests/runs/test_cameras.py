"""Two cameras all the way: recordings, training, a loop with both or one, a server."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jepawm.cli import main
from jepawm.data.augmentation import AugmentationConfig
from jepawm.data.recording import ReadOptions
from jepawm.errors import UserError
from jepawm.hub.load import LoadedModel, load
from jepawm.recipes.robot import ROBOT
from jepawm.runs import train_run, use_recordings
from jepawm.runs.play.server import HOST, listen
from jepawm.runs.serve.client import RemotePlans
from jepawm.runs.serve.server import PlanServer, ServeRules

BOTH = ("left", "right")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    for episode in range(4):
        draw = np.random.default_rng(episode)
        np.savez(
            folder / f"{episode}.npz",
            left=draw.integers(0, 256, (14, 20, 24, 3), dtype=np.uint8),
            right=draw.integers(0, 256, (14, 16, 16, 3), dtype=np.uint8),
            actions=draw.normal(size=(13, 2)),
            fps=np.array(10.0),
        )
    return folder


@pytest.fixture(scope="module")
def tiny(tiny_experiment):
    data = replace(
        ROBOT.data,
        image_size=16,
        frameskip=2,
        num_steps=3,
        held_out=1,
        train_fraction=0.7,
        augmentation=AugmentationConfig(shift=1),
    )
    loss = replace(tiny_experiment.loss, hide_cameras=0.5, inverse_dynamics_weight=0.0)
    return replace(tiny_experiment, env="recordings", loss=loss, data=data, protocols=())


@pytest.fixture(scope="module")
def loaded(tiny, recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    root = tmp_path_factory.mktemp("cameras")
    experiment = use_recordings(
        tiny, recorded, data_root=root, read_options=ReadOptions(camera="left,right")
    )
    assert experiment.data.cameras == BOTH
    train_run(experiment, out=root / "run", data_root=root, device="cpu", resume=False)
    return load(root / "run")


def picture(height: int = 20, width: int = 24) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


SEEN = {"left": picture(), "right": picture(16, 16)}


def test_a_loop_plans_with_both_cameras_in_any_order(loaded: LoadedModel):
    assert loaded.cameras == BOTH
    plans = []
    for names in (BOTH, BOTH[::-1]):
        loop = loaded.robot()
        loop.reset({name: SEEN[name] for name in names})
        plans.append(loop.plan({name: SEEN[name] for name in names}))
    assert plans[0].shape == (6, 2)
    np.testing.assert_array_equal(*plans)


def test_a_loop_plans_with_one_of_them(loaded: LoadedModel):
    plans = []
    for seen in (SEEN["right"], {"right": SEEN["right"]}):
        loop = loaded.robot(cameras=["right"])
        assert loop.cameras == ("right",)
        loop.reset(seen)
        plans.append(loop.plan(seen))
    np.testing.assert_array_equal(*plans)
    with pytest.raises(UserError, match="the model has no camera 'left'; choose among: right"):
        loop.plan({"left": SEEN["left"]})


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (
            SEEN["left"],
            "is one picture, and the model sees left, right; give a picture by the name",
        ),
        ({"left": SEEN["left"]}, "has pictures of left, and the model sees left, right; give one"),
        ({**SEEN, "top": SEEN["left"]}, "has no camera 'top'; choose among: left, right"),
        ({"left": SEEN["left"], "right": SEEN["left"] / 255.0}, "the goal of right is float64"),
    ],
)
def test_a_goal_of_other_cameras_is_refused(loaded: LoadedModel, seen, told: str):
    with pytest.raises(UserError, match=told):
        loaded.robot()._observation(seen, None, what="goal")


def test_a_model_of_one_camera_may_be_told_its_name(loaded: LoadedModel):
    one = load("wall")
    with pytest.raises(UserError, match="nobody knows the model's camera"):
        one.robot(fit="crop").reset({"front": picture()})
    with pytest.raises(UserError, match="learned from one camera"):
        one.robot(cameras=["front"])
    assert loaded.data is not None
    told = replace(one, data=replace(loaded.data, camera="front"))
    told.robot(cameras=["front"]).reset({"front": picture()})


def test_a_server_takes_pictures_by_name(loaded: LoadedModel):
    for cameras in (BOTH, ("left",)):
        server, listening = PlanServer(loaded, ServeRules(cameras=cameras)), listen(0)
        with server.open(listening) as running:
            thread = threading.Thread(target=running.serve_forever)
            thread.start()
            with RemotePlans(f"ws://{HOST}:{listening.getsockname()[1]}") as plans:
                assert plans.about["cameras"] == list(cameras)
                seen = {name: SEEN[name] for name in cameras}
                plans.reset(seen)
                assert plans.plan(seen).shape == (6, 2)
                if cameras == BOTH:
                    with pytest.raises(UserError, match="the picture of left is 16 x 16 and the"):
                        plans.plan({"left": SEEN["right"], "right": SEEN["right"]})
                    with pytest.raises(UserError, match="has no camera 'top'"):
                        plans.plan({"left": SEEN["left"], "top": SEEN["right"]})
            running.shutdown()
            thread.join()


def test_some_cameras_of_a_store_are_chosen(tiny, loaded: LoadedModel, recorded: Path):
    assert loaded.data is not None
    root = loaded.run.parent
    store = root / str(loaded.experiment.data.store)
    for asked in (
        {"read_options": ReadOptions(camera="right")},
        {"experiment": replace(tiny, data=replace(tiny.data, cameras=("right",)))},
    ):
        given = {"experiment": tiny, **asked}
        found = use_recordings(given.pop("experiment"), store, data_root=root, **given)
        assert found.data.cameras == ("right",)
    with pytest.raises(UserError, match="has no camera 'top'; choose among: left, right"):
        use_recordings(tiny, store, data_root=root, read_options=ReadOptions(camera="top"))
    one = replace(tiny, data=replace(tiny.data, cameras=("left",)))
    with pytest.raises(UserError, match="both choose cameras"):
        use_recordings(one, store, data_root=root, read_options=ReadOptions(camera="right"))


def test_a_model_of_two_cameras_is_evaluated_offline(loaded: LoadedModel, capsys):
    root = loaded.run.parent
    code = main(["eval", str(loaded.run), "--episodes", "2", "--data-root", str(root), "--json"])
    assert code == 0
    assert '"model"' in capsys.readouterr().out


def test_an_unknown_camera_at_training_is_told_in_one_line(recorded: Path, tmp_path: Path, capsys):
    command = ["train", "robot", "--data", str(recorded), "--data-root", str(tmp_path)]
    assert main([*command, "--camera", "left,top", "--out", str(tmp_path / "run")]) == 2
    assert "by --camera choose among: left, right" in capsys.readouterr().err
