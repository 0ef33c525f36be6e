"""Data sets are found by what decides their content, or collected."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jepawm.envs.pointmaze.policy import RandomPointMaze
from jepawm.envs.wall.policy import RandomWall
from jepawm.experiment import DataConfig
from jepawm.runs import collect_run
from jepawm.runs.datasets import find_or_collect, store_path

DATA = DataConfig(num_episodes=3, episode_steps=7, image_size=16, seed=4)


def test_a_collected_set_is_found_again(tmp_path: Path):
    result = collect_run("wall", data=DATA, out=None, data_root=tmp_path, processes=1)
    assert result == {"store": tmp_path / "wall-3x7-16px-seed4", "episodes": 3, "frames": 24}
    before = (tmp_path / "wall-3x7-16px-seed4" / "manifest.json").stat().st_mtime_ns
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
