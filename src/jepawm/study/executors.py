"""Where the workers of a sweep run: processes of this machine, or jobs of submitit (also on SLURM)."""

import logging
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from jepawm.errors import UserError, missing_extra
from jepawm.launch import alone_environment, child_command, start_child

ExecutorName = Literal["processes", "local", "slurm"]
"""`processes`: children of this process; `local`, `slurm`: by submitit."""
_LOG = logging.getLogger(__name__)
KILLED = -9
"""Exit code of a job whose process ended without one."""
_SECONDS_TO_STOP = 30.0


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What each job asks of a machine."""

    num_threads: int
    """CPU threads."""
    minutes: int = 120
    """Longest time of a job on SLURM."""
    partition: str | None = None
    """Partition of SLURM; None: its default."""
    memory_gb: int = 8
    """Memory of a job on SLURM."""


@runtime_checkable
class Running(Protocol):
    """A job that was started."""

    def poll(self) -> int | None:
        """Return the exit code, below 0 if it was killed; None while it runs."""
        ...

    def stop(self) -> None:
        """End it and wait until it has ended."""
        ...


Start = Callable[[Path, Path], Running]
"""Start a worker for a job file, with a file for what it says."""


def start_with(name: ExecutorName, *, folder: Path, resources: Resources) -> Start:
    """Return what starts workers; `folder` is for the files of submitit."""
    if name == "processes":
        return lambda work, log: _Child(work, log, resources=resources)
    return _submitit_start(name, folder=folder, resources=resources)


class _Child:
    """A worker that ends with this process, even if this one is killed."""

    def __init__(self, work: Path, log: Path, *, resources: Resources) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            self._process = start_child(
                ["study", "work", str(work)], output=file, num_threads=resources.num_threads
            )

    def poll(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True, kw_only=True)
class WorkerCommand:
    """What submitit runs: a worker as a process of its own; a job that is preempted starts it again."""

    argv: tuple[str, ...]
    """The command line."""
    num_threads: int
    """CPU threads."""

    def __call__(self) -> int:
        """Run the worker; returns its exit code."""
        threads = {"OMP_NUM_THREADS": str(self.num_threads)}
        return subprocess.run(self.argv, env=alone_environment() | threads, check=False).returncode

    def checkpoint(self) -> object:
        """Return what is submitted again when a job is preempted: training goes on where it was."""
        return import_module("submitit").helpers.DelayedSubmission(self)


def _submitit_start(
    name: Literal["local", "slurm"], *, folder: Path, resources: Resources
) -> Start:
    try:
        submitit = import_module("submitit")
    except ImportError as error:
        raise missing_extra(
            f"--executor {name}", error, package="submitit", extra="sweep"
        ) from error
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=name)
    except RuntimeError as error:
        raise UserError(
            f"--executor {name} does not start ({error}); is this a machine of the cluster? "
            "--executor local needs none"
        ) from error
    executor.update_parameters(
        name="jepawm-study",
        timeout_min=resources.minutes,
        cpus_per_task=resources.num_threads,
        mem_gb=resources.memory_gb,
        **(
            {"slurm_partition": resources.partition}
            if resources.partition and name == "slurm"
            else {}
        ),
    )

    def start(work: Path, log: Path) -> Running:  # noqa: ARG001 - submitit keeps logs of its own
        command = child_command(["study", "work", str(work.resolve())])
        worker = WorkerCommand(argv=command, num_threads=resources.num_threads)
        try:
            return _Submitted(executor.submit(worker), lost=submitit.core.utils.UncompletedJobError)
        except submitit.core.utils.FailedSubmissionError as error:
            raise UserError(f"--executor {name}: the cluster refuses the job: {error}") from error

    return start


@runtime_checkable
class _SubmititJob(Protocol):
    def done(self) -> bool: ...

    def result(self) -> int: ...

    def cancel(self) -> object: ...


class _Submitted:
    """A job of submitit."""

    def __init__(self, job: _SubmititJob, *, lost: type[Exception]) -> None:
        self._job = job
        self._lost = lost  # what a job without a result raises

    def poll(self) -> int | None:
        if not self._job.done():
            return None
        try:
            return self._job.result()
        except self._lost as error:  # killed, or out of time
            _LOG.warning("%s", error)
            return KILLED

    def stop(self) -> None:
        self._job.cancel()
