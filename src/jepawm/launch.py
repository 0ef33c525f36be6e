"""Start the processes of a run (`--processes N`), and say which one this is."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jepawm.errors import UserError

_TORCHRUN = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"}
_SLURM = {"SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", "SLURM_NNODES", "SLURM_STEP_ID"}
"""srun sets them all; the script that sbatch runs has no step."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What the launcher says about this process."""

    launcher: Literal["none", "torchrun", "slurm"]
    """Who started the processes; `--processes` speaks as torchrun does."""
    rank: int = 0
    """Number of this process among all."""
    local_rank: int = 0
    """Number of this process on its node."""
    count: int = 1
    """Number of processes."""
    num_nodes: int = 1
    """Number of nodes; each has as many processes."""


def read_launch() -> Launch:
    """Read from the environment how this process was started."""
    if os.environ.keys() >= _TORCHRUN:
        count, local = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
        names, nodes, launcher = ("RANK", "LOCAL_RANK"), count // local, "torchrun"
    elif os.environ.keys() >= _SLURM:
        count, nodes = int(os.environ["SLURM_NTASKS"]), int(os.environ["SLURM_NNODES"])
        names, local, launcher = ("SLURM_PROCID", "SLURM_LOCALID"), count // nodes, "slurm"
    else:
        return Launch(launcher="none")
    if local * nodes != count:
        raise UserError(
            f"{count} processes on {nodes} nodes; start the same number on each node "
            "(SLURM: --ntasks-per-node)"
        )
    rank, local_rank = (int(os.environ[name]) for name in names)
    return Launch(launcher=launcher, rank=rank, local_rank=local_rank, count=count, num_nodes=nodes)


_SECONDS_TO_STOP = 30.0


def run_processes(count: int, argv: Sequence[str]) -> int:
    """Run `jepawm ARGV` in `count` processes; returns their exit code.

    They find each other as under torchrun. Ctrl-C and SIGTERM are handed on to all; if one fails,
    the others are stopped and its exit code counts.
    """
    if count < 1:
        raise UserError(f"--processes {count}; give at least 1")
    children = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", "jepawm", *argv],  # -P: no modules of the working folder
            env=os.environ | _import_path() | _place(rank, count=count, port=port),
            start_new_session=True,  # the terminal's Ctrl-C reaches them through us, once
        )
        for port in [_free_port()]
        for rank in range(count)
    ]

    def hand_on(number: int, _frame: object) -> None:
        for child in children:
            child.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _wait(children)
    finally:
        for child in children:
            child.kill()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def without_working_folder() -> Iterator[None]:
    """Let the Python processes that start inside the block import nothing from the working folder.

    What multiprocessing starts takes over the path of this process once it runs; before that it
    would look for modules such as `random` in the working folder first.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


def _import_path() -> dict[str, str]:
    """Return the path of imports of a child: the working folder where it is on that of this process."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        return {}
    return {
        "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    }


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait for all; returns the first exit code that is not 0."""
    failed, deadline = 0, float("inf")
    while any(child.poll() is None for child in children):
        codes = [child.returncode for child in children if child.returncode]
        if codes and not failed:
            failed, deadline = codes[0], time.monotonic() + _SECONDS_TO_STOP
        if time.monotonic() > deadline:
            return failed
        time.sleep(0.05)
    return failed or next((child.returncode for child in children if child.returncode), 0)


def _place(rank: int, *, count: int, port: int) -> dict[str, str]:
    """Return what torchrun would say to a process, and its part of the threads."""
    threads = str(max(1, (os.cpu_count() or 1) // count))
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads),
    }


def _free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]
