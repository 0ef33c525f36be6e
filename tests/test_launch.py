"""What torchrun and SLURM say to a process."""

import pytest

from jepawm.errors import UserError
from jepawm.launch import Launch, read_launch

SLURM = {
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NTASKS": "8",
    "SLURM_NNODES": "2",
    "SLURM_STEP_ID": "0",
}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", *SLURM):
        monkeypatch.delenv(name, raising=False)


def say(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_no_launcher():
    assert read_launch() == Launch(launcher="none")


def test_torchrun(monkeypatch: pytest.MonkeyPatch):
    place = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
    say(monkeypatch, place)
    expected = Launch(launcher="torchrun", rank=3, local_rank=1, count=4, num_nodes=2)
    assert read_launch() == expected


def test_srun_but_not_the_script_of_sbatch(monkeypatch: pytest.MonkeyPatch):
    say(monkeypatch, SLURM)
    assert read_launch() == Launch(launcher="slurm", rank=5, local_rank=1, count=8, num_nodes=2)
    monkeypatch.delenv("SLURM_STEP_ID")
    assert read_launch() == Launch(launcher="none")


def test_uneven_nodes_are_refused(monkeypatch: pytest.MonkeyPatch):
    say(monkeypatch, SLURM | {"SLURM_NTASKS": "7"})
    with pytest.raises(UserError, match="7 processes on 2 nodes; start the same number"):
        read_launch()
