"""Cases of ../shared/cases about neighbours' formats, own environments and first promises."""

import json
import re
import shutil
from pathlib import Path

import pytest

from jepawm.cli import main

CASES = Path(__file__).parents[2] / "shared" / "cases"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CASES.is_dir(), reason="there is no ../shared/cases"),
]
ROWS = [
    ("10_fault_env_args/R10_env_args_bytes", "", {"format": "robomimic", "frames_per_second": 20}),
    (
        "14_train_names_an_option_it_lacks/L12_two_cameras",
        "",
        {"cameras": ["observation.images.top", "observation.images.wrist"]},
    ),
    (
        "14_train_names_an_option_it_lacks/L12_two_cameras",
        "wrist",
        {"camera_read": "observation.images.wrist"},
    ),
    ("16_formats_of_neighbours/A01_aloha_raw", "", {"format": "aloha", "episodes": 3}),
    ("16_formats_of_neighbours/A03_maniskill", "", {"format": "maniskill", "episodes": 2}),
    ("16_formats_of_neighbours/S01_swm_hdf5", "", {"format": "stable-worldmodel", "episodes": 3}),
    ("16_formats_of_neighbours/Z01_pusht_zarr", "", {"format": "zarr", "episodes": 3}),
    ("16_formats_of_neighbours/W06_deformable/rope", "", {"format": "deformable", "episodes": 3}),
    ("25_dino_wm_sets/W02_pusht_lengths_np64/train", "", {"format": "pusht", "episodes": 3}),
    ("25_dino_wm_sets/W02_pusht_lengths_np64", "", {"format": "pusht", "episodes": 3}),
    ("25_dino_wm_sets/W02_pusht_lengths_array", "", {"format": "pusht", "episodes": 3}),
]


@pytest.fixture(autouse=True)
def _own_data_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("JEPAWM_DATA", str(tmp_path / "data"))


@pytest.mark.parametrize(("case", "camera", "expected"), ROWS, ids=str)
def test_a_set_is_shown_and_good(
    case: str, camera: str, expected: dict[str, object], capfd: pytest.CaptureFixture[str]
):
    chosen = ["--camera", camera] if camera else []
    assert main(["data", "inspect", str(CASES / case), "--json", *chosen]) == 0
    shown = json.loads(capfd.readouterr().out)
    assert {name: shown[name] for name in expected} == expected
    if len(shown["cameras"]) == 1:
        assert main(["data", "check", str(CASES / case), "--json"]) == 0
        assert json.loads(capfd.readouterr().out)["good"]


def test_14_train_takes_the_camera(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    data = str(CASES / "14_train_names_an_option_it_lacks" / "L12_two_cameras")
    words = ["train", "robot", "--data", data, "--device", "cpu", "--data.num-steps", "2"]
    words += ["--loss.rollout-steps", "2", "--optim.num-steps", "2", "--data.held-out", "1"]
    assert main([*words, "--out", str(tmp_path / "none")]) == 2
    assert "choose one by --camera" in capfd.readouterr().err
    run = tmp_path / "run"
    assert main([*words, "--camera", "top", "--fit", "stretch", "--out", str(run)]) == 0
    config = json.loads((run / "checkpoint" / "config.json").read_text())
    assert config["data"]["camera"] == "observation.images.top"
    assert config["data"]["fit"] == "stretch"


def test_19_libero_brings_proprioception_and_instruction(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    source = CASES / "19_libero_loses_proprioception" / "R03_libero"
    words = ["--camera", "agentview_rgb", "--image-size", "32", "--out", str(tmp_path / "store")]
    assert main(["data", "import", str(source), *words, "--json"]) == 0
    store = json.loads(capfd.readouterr().out)
    assert store["proprio_width"] == 8
    assert store["tasks"] == ["open the drawer"]  # of both files


def test_12_own_environments_end_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    target = tmp_path / "own"
    shutil.copytree(CASES / "12_own_gym_environment", target, copy_function=shutil.copyfile)
    monkeypatch.chdir(target)
    monkeypatch.syspath_prepend(str(target))
    words = ["--num-episodes", "2", "--num-steps", "4", "--processes", "1", "--image-size", "32"]
    assert main(["collect", "gym:pointenv:Point-v0", *words, "--out", "store"]) == 0
    for name in ("Crash-v0", "OldGym-v0", "NoRender-v0", "OddFloatFrame-v0", "OddDictAct-v0"):
        assert main(["collect", f"gym:pointenv:{name}", *words, "--out", "other"]) == 2
        said = capfd.readouterr().err
        assert not re.search("fault of the program|Traceback", said), said


def test_23_the_hours_are_those_of_minutes(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    data = str(CASES / "23_dry_run_hours" / "T01_ten_episodes")
    assert main(["train", "robot", "--data", data, "--dry-run", "--json", "--device", "cpu"]) == 0
    result = json.loads(capfd.readouterr().out)
    (timed,) = result["timed_steps"]
    assert (timed["steps"], timed["kind"]) == (120, "all weights")
    assert result["hours"] < 0.5  # 2.5 once, of a training that takes minutes


def test_24_a_piped_training_prints_lines(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    data = str(CASES / "24_log_of_a_piped_training" / "T01_ten_episodes")
    words = ["--optim.num-steps", "4", "--loop.log-every", "2", "--device", "cpu"]
    assert main(["train", "robot", "--data", data, *words, "--out", str(tmp_path / "run")]) == 0
    assert re.search(r"train recordings 4/4  loss", capfd.readouterr().err)
