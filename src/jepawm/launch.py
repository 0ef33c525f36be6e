"""Start the processes of a run (`--processes N`), and say which one this is."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import BinaryIO, Literal

from jepawm.errors import UserError

_TORCHRUN = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"}
_SLURM = {"SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", "SLURM_NNODES", "SLURM_STEP_ID"}
"""srun sets them all; the script that sbatch runs has no step."""
_ALSO_NUMBERS = {"torchrun": ("MASTER_PORT",), "slurm": ("MASTER_PORT", "SLURM_JOB_ID")}
"""What the process group reads besides, where it is set."""
_MOST_PROCESSES = 1024
_FOLLOWS = "JEPAWM_FOLLOWS"
"""Set for a process that ends with the one that started it."""
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Signals that ask for an orderly end; SIGHUP is that of a closed terminal."""
_CRASHES = tuple(
    getattr(signal, name)
    for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE")
    if hasattr(signal, name)
)
_SECONDS_TO_STOP = 30.0


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
        count, local = (_number(name, lowest=1) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        names, nodes, launcher = ("RANK", "LOCAL_RANK"), count // local, "torchrun"
    elif os.environ.keys() >= _SLURM:
        count, nodes = (_number(name, lowest=1) for name in ("SLURM_NTASKS", "SLURM_NNODES"))
        names, local, launcher = ("SLURM_PROCID", "SLURM_LOCALID"), count // nodes, "slurm"
    else:
        return Launch(launcher="none")
    if local * nodes != count:
        raise UserError(
            f"{count} processes on {nodes} nodes; start the same number on each node "
            "(SLURM: --ntasks-per-node)"
        )
    rank, local_rank = _number(names[0], below=count), _number(names[1], below=local)
    for name in _ALSO_NUMBERS[launcher]:
        if name in os.environ:
            _number(name)
    return Launch(launcher=launcher, rank=rank, local_rank=local_rank, count=count, num_nodes=nodes)


def restarted() -> bool:
    """Return whether SLURM queued this job again, or torchrun started its processes again."""
    return any(
        _number(name) > 0
        for name in ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")
        if name in os.environ
    )


def _number(name: str, *, lowest: int = 0, below: int = 2**31) -> int:
    """Return the whole number in a variable of the launcher."""
    text = os.environ[name]
    if not (text.isascii() and text.isdigit()) or not lowest <= int(text[:20]) < below:
        raise UserError(
            f"the environment says {name}={text[:40]!r}, which is not a whole number from {lowest} "
            f"to {below - 1}; start by torchrun or srun, which set it, or unset it"
        )
    return int(text)


def run_processes(count: int, argv: Sequence[str]) -> int:
    """Run `jepawm ARGV` in `count` processes; returns their exit code.

    They find each other as under torchrun. Ctrl-C, SIGTERM and SIGHUP are handed on to all; if one
    fails, the others are stopped and its exit code counts; they end with this process.
    """
    if not 1 <= count <= _MOST_PROCESSES:
        raise UserError(f"--processes {count}; give at least 1 and at most {_MOST_PROCESSES}")
    children: list[subprocess.Popen[bytes]] = []
    handed_on: set[int] = set()

    def hand_on(number: int, _frame: object) -> None:
        handed_on.add(number)
        for child in children:
            child.send_signal(number)

    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    heeded = heeded_signals()
    for number in heeded:
        signal.signal(number, hand_on)
    try:
        port = _free_port()
        children.extend(_start(rank, argv, count=count, port=port) for rank in range(count))
        return _exit_code(children, _first_failed(children), handed_on)
    finally:
        for child in children:
            child.kill()
            child.communicate()
        for number in heeded:
            signal.signal(number, before[number])


def heeded_signals() -> list[signal.Signals]:
    """Return what asks a run to stop: not SIGHUP where it is ignored, as `nohup` does.

    SIGINT counts where it is ignored, too: shells ignore it for what a script starts by `&`, and who
    sends it means it.
    """
    return [
        number
        for number in STOP_SIGNALS
        if number.name != "SIGHUP" or signal.getsignal(number) != signal.SIG_IGN
    ]


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


def child_command(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the command line that runs `jepawm ARGV` with this interpreter."""
    # -P: no modules of the working folder
    return (sys.executable, "-P", "-m", "jepawm", *argv)


def start_child(
    argv: Sequence[str], *, output: BinaryIO, num_threads: int
) -> subprocess.Popen[bytes]:
    """Start `jepawm ARGV` on its own, not as a process of a run; it ends with this process.

    Args:
        argv: the command line after `jepawm`.
        output: file for what it says.
        num_threads: CPU threads, where `OMP_NUM_THREADS` does not say it.
    """
    try:
        return subprocess.Popen(
            child_command(argv),
            env=alone_environment()
            | _import_path()
            | {
                _FOLLOWS: "1",
                "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(num_threads)),
            },
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the terminal's Ctrl-C reaches them through us, once
        )
    except OSError as error:
        raise UserError(f"cannot start a worker ({error.strerror}); start fewer --jobs") from error


def alone_environment() -> dict[str, str]:
    """Return the environment of this process without what says that it is one of several."""
    others = _TORCHRUN | _SLURM
    return {name: value for name, value in os.environ.items() if name not in others}


def _start(rank: int, argv: Sequence[str], *, count: int, port: int) -> subprocess.Popen[bytes]:
    """Start a process of the run; it ends when its standard input does, and so with this one."""
    try:
        return subprocess.Popen(
            child_command(argv),
            env=os.environ
            | _import_path()
            | _place(rank, count=count, port=port)
            | {_FOLLOWS: "1"},
            stdin=subprocess.PIPE,
            start_new_session=True,  # the terminal's Ctrl-C reaches them through us, once
        )
    except OSError as error:
        raise UserError(
            f"cannot start process {rank} of {count} ({error.strerror}); start fewer --processes"
        ) from error


def follow_launcher() -> None:
    """End this process when the one that started it does, if that was `run_processes`."""
    if os.environ.pop(_FOLLOWS, "") == "1":  # processes that this one starts have other parents
        Thread(target=_end_with_input, daemon=True).start()


def _end_with_input() -> None:
    with suppress(OSError):
        os.read(0, 1)  # nothing is ever written there
    os._exit(1)


def _first_failed(children: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Wait until all have ended, or one failed and the rest had time to stop.

    Returns the number of the one that failed, a killed one before others; None if all is well.
    """
    failed, deadline = None, float("inf")
    while True:
        running = [child for child in children if child.poll() is None]
        codes = {rank: child.returncode for rank, child in enumerate(children) if child.returncode}
        if codes and failed is None:
            failed = min(codes, key=lambda rank: (codes[rank] >= 0, rank))
            killed = codes[failed] < 0
            deadline = time.monotonic() + (0.0 if killed else _SECONDS_TO_STOP)
        if not running or time.monotonic() >= deadline:
            return failed
        time.sleep(0.02)


def _exit_code(
    children: Sequence[subprocess.Popen[bytes]], failed: int | None, handed_on: set[int]
) -> int:
    """Return the exit code of the run, or say who was killed."""
    code = 0 if failed is None else children[failed].returncode
    if code >= 0:
        return code
    number = -code
    if number in handed_on:
        return 128 + number  # as a shell does
    name = signal.Signals(number).name
    if number in _CRASHES:
        raise RuntimeError(
            f"process {failed} of {len(children)} crashed by signal {number} ({name})"
        )
    raise UserError(
        f"process {failed} of {len(children)} was killed by signal {number} ({name}), as a machine "
        "does that is out of memory; the others were ended; start fewer processes, or free memory"
    )


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
