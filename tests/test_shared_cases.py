"""Every case of ../shared/cases, where it lies beside the repository, ends as is right."""

import re
import runpy
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from jepawm.cli import main
from jepawm.data.episodes import open_store

CASES = Path(__file__).parents[2] / "shared" / "cases"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CASES.is_dir(), reason="there is no ../shared/cases"),
]
CHECK, IMPORT = "data check", "data import --image-size 32 --out store"
TRAIN = "train robot --optim.num-steps 2 --optim.batch-size 8 --device cpu"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A command in the folder of a case, and how it ends."""

    case: str
    """First digits of the folder, and a folder in it; `PATH` in the command is the latter."""
    command: str
    code: int = 0
    says: str = ""
    """What it says, by a regular expression; dots match ends of lines."""
    never: str = "fault of the program|Traceback"
    """What it does not say."""


def good(case: str, options: str = "", says: str = "good +True.*bad episodes +0") -> Row:
    return Row(case=case, command=f"{CHECK} PATH {options}", says=says)


def bad(case: str, says: str, *, never: str = "copy it again", options: str = "") -> Row:
    return Row(case=case, command=f"{CHECK} PATH {options}", code=2, says=says, never=never)


ROWS = [
    good("01/O01_ogbench_npz", says=r"episodes +4.*cut into 4 episodes by terminals"),
    bad("03/F10_png16", r"has 16 bits a pixel.*\(likewise 2 more"),
    bad("04/L33b_info_30_rows_10", "info.json says 30 frames per second.*episode 0 are 10 apart"),
    good("05/D01_droid_mp4_one_less", "--camera left", says="True.*23 frames, the table 24 rows"),
    bad("06/L41_split_action", r"no column action; by --action-key.*action\.arm,action\.gripper"),
    good("06/L41_split_action", "--action-key action.arm,action.gripper"),
    bad("07/L50_lfs_parquet", r"is a Git LFS pointer.*git lfs pull.*\(likewise 2 more"),
    bad("07/L50c_lfs_v30", "is a Git LFS pointer.*git lfs pull"),
    good("09/F14_ds_store_and_thumbs"),
    good("09/L16_appledouble_v30"),
    good("11/D04_droid_timestamps_json", "--camera left"),
    Row(
        case="13/T03_one_episode",
        command=f"{TRAIN} --data PATH --out run",
        code=2,
        says="--data.held-out 0 --data.train-fraction 1.*--cut-frames",
    ),
    Row(
        case="13/T03_one_episode",
        command=f"{TRAIN} --data PATH --data.held-out 0 --data.train-fraction 1 --out run",
        says="no validation",
    ),
    good("15/F01_leading_zeros"),
    bad("15/F02_number_vs_prefix", "there is: episode_0/, episode_1/, episode_2/"),
    good("15/F03_semicolons"),
    good("17/L09_boundary_episode_wrong_file", says="True.*they are in data/.*file-001.parquet"),
    good("17/L13_no_chunks_size"),
    good("17/L14_early_v20_keys"),
    bad("18/L07_offset_timestamps", "has 24 frames, from 0 to 2.3 s.*--pair-frames order"),
    good("18/L07_offset_timestamps", "--pair-frames order"),
    bad("18/L08_merged_from_timestamp_wrong", "has 72 frames.*--pair-frames order"),
    good("18/L08_merged_from_timestamp_wrong", "--pair-frames order"),
    bad("20/N03_npz_discrete", "whole numbers from 0 to 3.*--discrete-actions 4"),
    good("20/N03_npz_discrete", "--discrete-actions 5"),
    Row(
        case="21/F25_state_columns",
        command=f"{IMPORT} PATH",
        says="proprio width +2.*proprioception: state_j1, state_j2; left out: action_timestamp",
    ),
]
"""One row for each thing that is right; more cases add theirs."""


@pytest.fixture(autouse=True)
def _own_data_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("JEPAWM_DATA", str(tmp_path / "data"))


def copied(case: str, tmp_path: Path) -> Path:
    """Return a copy of the folder of a case that may be written to."""
    number = case.partition("/")[0]
    (found,) = CASES.glob(f"{number}_*")
    target = tmp_path / number
    shutil.copytree(found, target, copy_function=shutil.copyfile)
    for folder in (target, *target.rglob("*")):
        if folder.is_dir():
            folder.chmod(0o755)
    return target


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.case} {row.command}")
def test_a_case_ends_as_is_right(
    row: Row,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.chdir(copied(row.case, tmp_path))
    name = row.case.partition("/")[2]
    code = main([name if word == "PATH" else word for word in row.command.split()])
    said = "".join([*capfd.readouterr(), caplog.text])
    assert code == row.code, said
    assert re.search(row.says, said, re.DOTALL), said
    assert not re.search(f"{row.never}|fault of the program|Traceback", said), said


def test_02_changed_recordings_are_imported_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    folder = copied("02", tmp_path)
    monkeypatch.chdir(folder)
    stds = []
    for number, factor in enumerate(("1", "5", "5")):
        monkeypatch.setattr(sys, "argv", ["make.py", "set", factor])
        runpy.run_path("make.py")
        assert main([*TRAIN.split(), "--data", "set", "--out", f"r{number}"]) == 0
        config = (folder / f"r{number}" / "checkpoint" / "config.json").read_text()
        found = re.search(r'"action_std": \[\s*([\d.]+)', config)
        assert found
        stds.append(float(found[1]))
    assert stds[1] == pytest.approx(5 * stds[0], rel=1e-3)
    assert stds[2] == stds[1]
    assert "has changed since it was imported" in caplog.text
    assert "using the store" in caplog.text


def test_08_a_filter_of_a_plugin_is_named_or_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(copied("08", tmp_path))
    code = main(["data", "check", "R07_blosc_images"])
    said = "".join(capfd.readouterr())
    assert "truncated" not in said
    if code:
        assert "compressed by Blosc (filter 32001)" in said
        assert "pip install hdf5plugin" in said


def test_20_files_come_by_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = copied("20", tmp_path)
    monkeypatch.chdir(folder)
    assert main([*IMPORT.split(), "N07_npz_names_order"]) == 0
    store = open_store(folder / "store")
    files = ("episode_1.npz", "episode_2.npz", "episode_10.npz")
    first = [np.load(folder / "N07_npz_names_order" / name)["actions"][0] for name in files]
    assert np.array_equal(store.actions[store.starts], np.stack(first))
