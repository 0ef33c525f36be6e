"""Own parts by `register` and by `module:Class`; what a received file names is not run unasked."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jepawm.hub.load import _bundle
from own_package import SOURCE, run, write_rows

SCRIPT = """
from dataclasses import replace

import beside
import jepawm
from jepawm.cli import main

for kind, name, part in (
    ("collection_policy", "room", beside.Wander),
    ("data_format", "rows", "beside:TEXT"),
    ("encoder", "net", beside.OwnNet),
    ("environment", "room", beside.ExactRoom),
    ("export_format", "rows", beside.write_text),
    ("objective", "last", "beside:LastDistance"),
    ("planner", "shooting", beside.Shooting),
    ("recipe", "mine", replace(beside.RECIPE, env="room")),
):
    jepawm.register(kind, name, part)

if __name__ == "__main__":
    mine = replace(beside.RECIPE, env="room", planner=beside.Shooting(num_samples=4))
    loaded = jepawm.load(jepawm.train(mine, out="run", data_root="data"))
    assert loaded.experiment == replace(mine, optim=loaded.experiment.optim), loaded.experiment
    results = jepawm.evaluate(loaded.make_env(), loaded.agent(protocol="paper"), num_tasks=2)
    assert list(results.rows) == ["do_nothing", "random", "oracle", "model"]
    assert results.planner.settings == {"num_samples": 4}
    for line in (
        "train mine --encoder net --objective last --planner shooting --policy room "
        "--out by_name --data-root data --device cpu",
        "plan by_name --out planned --device cpu",
        "data import source --out store --image-size 8 --format rows",
        "data export store --format rows --out again",
    ):
        assert main(line.split()) == 0, line
"""
OWN = (
    "--env beside:Robot --encoder beside:OwnNet --objective beside:LastDistance "
    "--planner beside:Shooting --policy beside:Wander"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the parts beside it, which leave a mark when they are imported."""
    mark = "from pathlib import Path as _Path\n_Path('imported.txt').write_text('')\n"
    (tmp_path / "beside.py").write_text(SOURCE.read_text() + mark)
    return tmp_path


def jepawm(folder: Path, words: str, *, code: int = 0, device: bool = True) -> str:
    here = ["--device", "cpu"] if device else []
    done = run(folder, "-m", "jepawm", *words.split(), *here)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def test_a_script_registers_parts_of_every_kind(folder: Path):
    rows = write_rows(folder / "source")
    (folder / "script.py").write_text(SCRIPT)
    done = run(folder, "script.py")
    assert done.returncode == 0, done.stderr
    settings = json.loads((folder / "by_name" / "experiment.json").read_text())["experiment"]
    assert settings["encoder"]["name"] == "net"
    again = np.loadtxt(folder / "again" / "000.room.txt")
    np.testing.assert_allclose(again, rows[0], atol=1e-6)


@pytest.mark.slow
def test_parts_by_their_module_train_resume_plan_and_evaluate(folder: Path):
    short = "--out run --data-root data"
    jepawm(folder, f"train beside:RECIPE {OWN} --encoder.dim 4 {short}")
    settings = json.loads((folder / "run" / "experiment.json").read_text())
    assert settings["experiment"]["encoder"] == {"name": "beside:OwnNet", "dim": 4}
    assert settings["experiment"]["env"] == "beside:Robot"
    mark = folder / "imported.txt"
    mark.unlink()
    for line in ("eval run --episodes 2 --out no", "plan run --out no"):
        message = jepawm(folder, line, code=2)
        assert "code of the module 'beside'" in message
        assert "--trust" in message
    message = jepawm(folder, f"train wall --resume {short}", code=2)
    assert "code of the module 'beside'" in message
    assert not mark.exists()
    planned = json.loads(jepawm(folder, "plan --trust run --out planned --json"))
    assert planned["final_distance"] is None  # a robot knows no states
    assert mark.exists()
    found = json.loads(jepawm(folder, "eval run --trust --episodes 2 --out trusted --json"))
    assert found["baselines"].keys() == {"do_nothing", "random"}
    jepawm(folder, "eval run --planner beside:Shooting --episodes 2 --out named")


@pytest.mark.slow
def test_a_stopped_run_with_own_parts_goes_on_by_the_command_that_it_tells(folder: Path):
    steps = "--optim.num-steps 600 --loop.log-every 2"
    line = f"-m jepawm train beside:RECIPE {OWN} {steps} --out run --data-root data --device cpu"
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, *line.split()],
        cwd=folder,
        env=os.environ | path,
        stderr=subprocess.PIPE,
        text=True,
    ) as training:
        rows = folder / "run" / "metrics.jsonl"
        while training.poll() is None and not (rows.is_file() and rows.read_text()):
            time.sleep(0.01)
        training.send_signal(signal.SIGINT)
        _, message = training.communicate()
    assert training.returncode == 2, message
    command = message.rpartition("continue with: jepawm ")[2]
    assert "train beside:RECIPE" in command
    done = run(folder, "-m", "jepawm", *shlex.split(command))
    assert done.returncode == 0, done.stderr
    assert json.loads(rows.read_text().splitlines()[-1])["step"] == 600


def test_data_by_their_module(folder: Path):
    rows = write_rows(folder / "source")
    collected = "collect beside:Room --policy beside:Wander --num-episodes 2 --num-steps 4"
    jepawm(folder, f"{collected} --image-size 16 --out collected", device=False)
    line = "data import source --format beside:TEXT --image-size 8 --out store"
    jepawm(folder, line, device=False)
    jepawm(folder, "data export store --format beside:write_text --out again", device=False)
    again = np.loadtxt(folder / "again" / "001.room.txt")
    np.testing.assert_allclose(again, rows[1], atol=1e-6)


@pytest.mark.parametrize("verb", ["eval", "plan"])
def test_a_received_checkpoint_does_not_import_the_module_of_its_environment(
    folder: Path, verb: str
):
    received, mark = folder / "received", folder / "imported.txt"
    shutil.copytree(_bundle() / "wall", received)
    config = json.loads((received / "config.json").read_text())
    config["experiment"]["env"] = "gym:beside:Room-v0"
    del config["seal"]  # as an earlier version wrote it, or who wants to harm: anyone can seal anew
    (received / "config.json").write_text(json.dumps(config))
    message = jepawm(folder, f"{verb} received --out no", code=2)
    assert "names the environment 'gym:beside:Room-v0'" in message
    assert "code of the module 'beside'" in message
    assert "--trust" in message
    assert "--environment" not in message  # no such option
    assert not mark.exists()
    message = jepawm(folder, f"{verb} received --trust --out no", code=2)
    assert mark.exists()
    assert "Room-v0" in message  # the module registers no such environment
