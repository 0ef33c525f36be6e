"""The choice of device; the one place that names them."""

from typing import Literal

from jepawm.errors import UserError
from jepawm.launch import read_launch

DeviceName = Literal["auto", "cpu", "cuda", "mps"]


def choose_device(name: DeviceName) -> str:
    """Return the device to compute on; `auto` takes an accelerator if there is one.

    Raises:
        UserError: if this machine does not have the device.
    """
    import torch

    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    present = [device for device, here in available.items() if here]
    if name == "auto":
        return present[0]
    if not available[name]:
        here = ", ".join(present)
        raise UserError(f"--device {name} is not on this machine (there are: auto, {here})")
    return name


def own_device(device: str) -> str:
    """Return the device of this process; those of a machine are dealt out to its processes."""
    launch = read_launch()
    if device != "cuda" or launch.count == 1:
        return device
    import torch

    return f"cuda:{launch.local_rank % torch.cuda.device_count()}"
