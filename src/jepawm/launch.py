"""Where this process stands among those that a launcher started."""

import os
from dataclasses import dataclass
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
    """Read from the environment how this process was started.

    Raises:
        UserError: if the processes are not spread evenly over the nodes.
    """
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
