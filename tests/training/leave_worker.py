"""Processes of `test_devices.py`: pairs that exchange objects and end with the group still held."""

import atexit
import os
import sys

import torch
from torch import distributed

from jepawm.training import devices

held = []


def exchange(rank: int, store: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    held.append(distributed.group.WORLD)  # as the caches of fsdp2 do
    atexit.register(devices._leave)
    found = [None, None]
    for _ in range(5):
        distributed.all_gather_object(found, rank)


def main() -> None:
    torch.set_num_threads(1)
    for pair in range(int(sys.argv[2])):
        children = []
        for rank in range(2):
            child = os.fork()
            if child == 0:
                exchange(rank, f"{sys.argv[1]}/{pair}")
                return
            children.append(child)
        for child in children:
            if os.waitpid(child, 0)[1] != 0:
                sys.exit(1)


if __name__ == "__main__":
    main()
