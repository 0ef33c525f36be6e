"""Data sets are found by what decides their content, or collected."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jepawm.cli import main
from jepawm.data.episodes import open_store
from jepawm.data.features import open_features
from jepawm.data.recording import ReadOptions
from jepawm.envs.pointmaze.policy import RandomPointMaze
from jepawm.envs.wall.policy import RandomWall
from jepawm.errors import UserError
from jepawm.experiment import DataConfig, Experiment
from jepawm.models.encoders import EncoderConfig
from jepawm.models.frozen.encoder import FrozenEncoderConfig
from jepawm.runs import collect_run
from jepawm.runs.datasets import CollectedStore, find_or_collect, store_path, use_recordings
from jepawm.runs.train import TrainedRun, train_run
from jepawm.training.losses import LossConfig

DATA = DataConfig(num_episodes=3, episode_steps=7, image_size=16, seed=4)


def test_a_collected_set_is_found_again(tmp_path: Path):
    result = collect_run("wall", data=DATA, out=None, data_root=tmp_path, processes=1)
    path = tmp_path / "wall-3x7-16px-seed4"
    assert result == CollectedStore(store=path, episodes=3, frames=24)
    before = (path / "manifest.json").stat().st_mtime_ns
    store = find_or_collect("wall", DATA, data_root=tmp_path)
    assert (store.path / "manifest.json").stat().st_mtime_ns == before
    assert store.lengths.tolist() == [8, 8, 8]


def test_a_missing_set_is_collected_the_same(tmp_path: Path):
    first, again = (find_or_collect("wall", DATA, data_root=tmp_path / name) for name in ("a", "b"))
    np.testing.assert_array_equal(first.actions, again.actions)
    np.testing.assert_array_equal(first.pixels, again.pixels)


def test_all_that_decides_the_content_is_in_the_name(tmp_path: Path):
    changes = [{"num_episodes": 4}, {"episode_steps": 8}, {"image_size": 64}, {"seed": 5}]
    changes += [{"policy": RandomWall(near_door=0.1)}, {"policy": RandomPointMaze()}]
    names = {store_path("wall", replace(DATA, **change), data_root=tmp_path) for change in changes}
    assert len(names | {store_path("wall", DATA, data_root=tmp_path)}) == 7


def test_what_is_there_is_opened_without_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The data root may be one to read only."""
    source = tmp_path / "source"
    source.mkdir()
    frames, actions = np.zeros((9, 8, 8, 3), np.uint8), np.zeros((9, 2), np.float32)
    np.savez(source / "episode.npz", frames=frames, actions=actions)
    experiment = Experiment(env="recordings", data=DataConfig(image_size=8))
    chosen = use_recordings(experiment, source, data_root=tmp_path)
    collect_run("wall", data=DATA, out=None, data_root=tmp_path, processes=1)

    def read_only(path: Path) -> None:
        raise PermissionError(path)

    monkeypatch.setattr("jepawm.runs.datasets.alone", read_only)
    assert use_recordings(experiment, source, data_root=tmp_path) == chosen
    assert len(find_or_collect("wall", DATA, data_root=tmp_path)) == 3
    with pytest.raises(UserError, match="exists already"):
        collect_run("wall", data=DATA, out=None, data_root=tmp_path, processes=1)


def test_recordings_that_changed_are_imported_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    source = tmp_path / "source"
    source.mkdir()
    experiment = Experiment(env="recordings", data=DataConfig(image_size=8))

    def first_action(value: float) -> float:
        frames, actions = np.zeros((9, 8, 8, 3), np.uint8), np.full((9, 2), value, np.float32)
        np.savez(source / "episode.npz", frames=frames, actions=actions)
        chosen = use_recordings(experiment, source, data_root=tmp_path)
        return float(find_or_collect(chosen.env, chosen.data, data_root=tmp_path).actions[0, 0])

    for value in (1.0, 2.0, 3.0, 2.0, 1.0):  # files of the same names and sizes
        assert first_action(value) == value
    assert len(list(tmp_path.glob("source-8px-*"))) == 3
    caplog.clear()
    assert first_action(1.0) == 1.0
    assert "using the store" in caplog.text
    assert "imported from" in caplog.text
    monkeypatch.setattr("jepawm.runs.datasets._HASHED_ALWAYS", 0)
    assert first_action(4.0) == 4.0
    assert first_action(1.0) == 1.0


@pytest.fixture
def two_cameras(tmp_path: Path) -> Path:
    """One episode of two cameras of 8 x 12 pixels, the left a third of them, with more columns."""
    source = tmp_path / "source"
    source.mkdir()
    frames = np.zeros((9, 8, 12, 3), np.uint8)
    np.savez(
        source / "episode.npz",
        **{"images.top": frames + np.uint8(200), "images.wrist": frames},
        actions=np.zeros((9, 2), np.float32),
        moves=np.ones((9, 3), np.float32),
        joints=np.full((9, 4), 5.0, np.float32),
    )
    return source


def test_recordings_of_several_cameras_are_chosen_from(tmp_path: Path, two_cameras: Path):
    experiment = Experiment(env="recordings", data=DataConfig(image_size=8))
    choices = [
        {"read_options": ReadOptions(camera="images.top")},
        {"read_options": ReadOptions(camera="images.wrist")},
        {"read_options": ReadOptions(camera="images.top", action_key="moves")},
        {"read_options": ReadOptions(camera="images.top", proprio_key="joints")},
        {"read_options": ReadOptions(camera="images.top"), "fit": "stretch"},
    ]
    found = [use_recordings(experiment, two_cameras, data_root=tmp_path, **one) for one in choices]
    stores = [find_or_collect(one.env, one.data, data_root=tmp_path) for one in found]
    assert len({store.path for store in stores}) == len(choices)
    assert [int(store.frames(np.arange(1)).max()) for store in stores[:2]] == [200, 0]
    assert stores[2].actions.shape[1] == 3
    assert stores[3].proprio is not None
    assert stores[4].manifest.settings["fit"] == "stretch"
    again = use_recordings(
        experiment, two_cameras, data_root=tmp_path, read_options=ReadOptions(camera="top")
    )
    assert again == found[0]  # the end of its name
    with pytest.raises(UserError, match=r"choose one by --camera: images\.top, images\.wrist"):
        use_recordings(experiment, two_cameras, data_root=tmp_path)


def test_options_that_only_the_import_has_are_said_to_be_there(tmp_path: Path, two_cameras: Path):
    experiment = Experiment(env="recordings", data=DataConfig(image_size=8))

    def message(**options) -> str:
        with pytest.raises(UserError) as caught:
            use_recordings(experiment, two_cameras, data_root=tmp_path, **options)
        return str(caught.value)

    assert "import first" not in message(takes=("--camera",))
    assert "(--camera is an option of `jepawm data import`: import first" in message()
    (two_cameras / "episode.npz").write_bytes(b"no such thing")
    (two_cameras / "other.npz").write_bytes(b"no such thing")
    chosen = {"read_options": ReadOptions(camera="top"), "takes": ("--camera",)}
    assert "--camera is an option" not in message(**chosen)
    (two_cameras / "notes.txt").write_text("nothing")
    for file in two_cameras.glob("*.npz"):
        file.unlink()
    assert "(--format is an option of `jepawm data import`: import first" in message(**chosen)


def test_what_was_chosen_is_no_choice_in_a_store(tmp_path: Path, two_cameras: Path):
    experiment = Experiment(env="recordings", data=DataConfig(image_size=8))
    options = ReadOptions(camera="top")
    chosen = use_recordings(experiment, two_cameras, data_root=tmp_path, read_options=options)
    assert chosen.data.store is not None
    store = tmp_path / chosen.data.store
    assert use_recordings(experiment, store, data_root=tmp_path).data.store == str(store.resolve())
    for change in ({"read_options": options}, {"fit": "stretch"}):
        with pytest.raises(UserError, match="is a store, in which camera, columns and size are"):
            use_recordings(experiment, store, data_root=tmp_path, **change)


def test_the_command_line_chooses_from_recordings(tmp_path: Path, two_cameras: Path, capsys):
    root = ["--data-root", str(tmp_path / "root"), "--device", "cpu"]
    assert main(["data", "inspect", str(two_cameras), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["cameras"] == ["images.top", "images.wrist"]
    words = ["train", "robot", "--data", str(two_cameras), "--dry-run", "--json", *root]
    assert main(words) == 2
    assert "choose one by --camera" in json.loads(capsys.readouterr().out)["error"]
    chosen = ["--camera", "top", "--proprio-key", "joints", "--fit", "stretch", "--tflops", "1"]
    assert main([*words, *chosen]) in (0, 2)  # too short for windows, but read
    assert "--camera" not in capsys.readouterr().out
    (store,) = (tmp_path / "root").glob("source-64px-*")
    assert open_store(store).manifest.proprio_dim == 4
    assert main(["train", "wall", "--camera", "top", "--dry-run", *root]) == 2
    assert "choose from recordings; name them by --data" in capsys.readouterr().err


def test_large_recordings_in_place_of_others_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A folder that is renamed into the place of another has files that are older than the import."""
    monkeypatch.setattr("jepawm.runs.datasets._HASHED_ALWAYS", 0)
    experiment = Experiment(env="recordings", data=DataConfig(image_size=8))
    source = tmp_path / "source"
    for name, value in (("source", 1.0), ("newer", 2.0)):
        (tmp_path / name).mkdir()
        frames, actions = np.zeros((9, 8, 8, 3), np.uint8), np.full((9, 2), value, np.float32)
        np.savez(tmp_path / name / "episode.npz", frames=frames, actions=actions)
    found = [use_recordings(experiment, source, data_root=tmp_path).data.store]
    source.rename(tmp_path / "older")
    (tmp_path / "newer").rename(source)
    found.append(use_recordings(experiment, source, data_root=tmp_path).data.store)
    assert [float(open_store(tmp_path / name).actions[0, 0]) for name in found] == [1.0, 2.0]


@pytest.mark.slow
def test_a_killed_collection_of_two_processes_goes_on(tmp_path: Path, project_root: Path):
    path = os.pathsep.join([str(project_root / "src"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "jepawm", "collect", "wall", "--num-episodes", "2000"]
    command += ["--num-steps", "100", "--image-size", "32", "--data-root", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}

    def start(out: str, processes: int) -> subprocess.Popen[bytes]:
        options = ["--out", str(tmp_path / out), "--processes", str(processes)]
        return subprocess.Popen([*command, *options], env=environment, stderr=subprocess.DEVNULL)

    assert start("whole", 1).wait() == 0
    killed = start("store", 2)
    parts = tmp_path / "store.parts"
    while killed.poll() is None and len(list(parts.glob("*/manifest.json"))) < 3:
        time.sleep(0.005)
    killed.kill()
    killed.wait()
    assert not (tmp_path / "store").exists()
    assert start("store", 2).wait() == 0
    files = [
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}
        for name in ("whole", "store")
    ]
    assert files[0] == files[1]


pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers")


@pytest.fixture(scope="module")
def experiment(tiny_experiment: Experiment) -> Experiment:
    """Return an experiment on 2 x 2 tokens of a DINOv2 with random weights, and few frames."""
    return replace(
        tiny_experiment,
        encoder=FrozenEncoderConfig(image_size=28, weights="random:3"),
        loss=LossConfig(),
        optim=replace(tiny_experiment.optim, num_steps=6, batch_size=4, warmup_steps=0),
        loop=replace(tiny_experiment.loop, log_every=1, validate_every=3, num_validation_windows=8),
        data=replace(tiny_experiment.data, num_episodes=4, episode_steps=20, train_fraction=0.5),
    )


@pytest.fixture(scope="module")
def data_root(tmp_path_factory, experiment: Experiment) -> Path:
    root = tmp_path_factory.mktemp("data")
    find_or_collect(experiment.env, experiment.data, data_root=root, processes=1)
    return root


@pytest.fixture(autouse=True)
def small_probe(monkeypatch):
    monkeypatch.setattr("jepawm.runs.train._PROBE_WINDOWS", 8)


def run(
    experiment: Experiment, out: Path, data_root: Path, **data
) -> tuple[list[dict], TrainedRun]:
    changed = replace(experiment, data=replace(experiment.data, **data))
    result = train_run(changed, out=out, data_root=data_root, device="cpu", resume=False)
    return [json.loads(line) for line in (out / "metrics.jsonl").open()], result


def test_losses_validation_and_probe_are_those_of_encoding_in_the_loop(
    experiment: Experiment, data_root: Path, tmp_path: Path, monkeypatch
):
    plain, without = run(experiment, tmp_path / "plain", data_root)
    cached, result = run(experiment, tmp_path / "cached", data_root, feature_cache="auto")
    folders = list(data_root.glob("*.features/dinov2-S-28px-*/features.json"))
    assert len(folders) == 1
    assert [row["step"] for row in cached] == [row["step"] for row in plain]
    for one, other in zip(plain, cached, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            if key.startswith(("train/", "val/")):
                spread = key == "val/effective_rank"  # the smallest directions count in full
                assert other[key] == pytest.approx(one[key], rel=1e-2 if spread else 1e-3), key
    assert plain[0]["train/loss"] != plain[-1]["train/loss"]
    assert result.probe_error == pytest.approx(without.probe_error, rel=1e-2)
    assert result.gflop_per_step < 0.8 * without.gflop_per_step  # the encoder is not run
    monkeypatch.setattr("jepawm.runs.datasets.compute_features", None)  # computed once
    again, _ = run(experiment, tmp_path / "again", data_root, feature_cache="auto")
    assert [row["train/loss"] for row in again] == [row["train/loss"] for row in cached]


def test_a_cache_of_another_encoder_size_or_store_is_refused(
    experiment: Experiment, data_root: Path, tmp_path: Path
):
    place = str(tmp_path / "cache")
    store = store_path(experiment.env, experiment.data, data_root=data_root)
    fields = ["--encoder.image-size", "28", "--encoder.weights", "random:3", "--device", "cpu"]
    assert main(["data", "features", str(store), "--out", place, *fields]) == 0
    encoder = experiment.encoder
    for changes, message in (
        ({"weights": "random:4"}, r"cache belongs to another frozen encoder: sha256 .*'random:3'"),
        ({"image_size": 42}, "image_size 28 there, 42 here"),
        ({"normalization": "half"}, "normalization 'imagenet' there, 'half' here"),
    ):
        other = replace(experiment, encoder=replace(encoder, **changes))
        with pytest.raises(UserError, match=message):
            run(other, tmp_path / "run", data_root, feature_cache=place)
    with pytest.raises(UserError, match=r"computed from the frames of the store 'wall.*, not of"):
        run(experiment, tmp_path / "run", data_root, feature_cache=place, seed=1)


def test_encoders_have_caches_of_their_own(experiment: Experiment, data_root: Path, tmp_path: Path):
    other = replace(experiment, encoder=replace(experiment.encoder, weights="random:5"))
    store = store_path(experiment.env, experiment.data, data_root=data_root)
    before = set(data_root.glob("*.features/*/tokens.npy"))
    run(other, tmp_path / "run", data_root, feature_cache="auto")
    (new,) = set(data_root.glob("*.features/*/tokens.npy")) - before
    cache = open_features(new.parent)
    assert cache.manifest.encoder["weights"] == "random:5"
    assert cache.array.shape == (open_store(store).manifest.num_frames, 4, 384)
    assert np.isfinite(cache.array).all()


def test_a_learned_encoder_has_no_cache(experiment: Experiment, tmp_path: Path, capsys):
    with pytest.raises(UserError, match="feature_cache = 'auto' keeps the tokens of a frozen"):
        replace(
            experiment,
            encoder=EncoderConfig(),
            data=replace(experiment.data, feature_cache="auto"),
        )
    assert main(["data", "features", str(tmp_path), "--recipe", "wall"]) == 2
    assert "this one is learned" in capsys.readouterr().err


def test_features_beforehand_are_found_by_training(
    experiment: Experiment, data_root: Path, tmp_path: Path, capsys, monkeypatch
):
    store = store_path(experiment.env, experiment.data, data_root=data_root)
    fields = ["--encoder.image-size", "28", "--encoder.weights", "random:6", "--device", "cpu"]
    recipe = ["--recipe", "jepa_wm_wall"]
    assert main(["data", "features", str(store), *recipe, *fields, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bytes_per_frame"] == 4 * 384 * 2
    assert told["bytes"] == told["frames"] * 3072
    monkeypatch.setattr("jepawm.runs.datasets.compute_features", None)
    other = replace(experiment, encoder=replace(experiment.encoder, weights="random:6"))
    run(other, tmp_path / "run", data_root, feature_cache="auto")
