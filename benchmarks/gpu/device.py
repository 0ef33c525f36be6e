"""The device: its name, waiting for it, the peak of its matrix products."""

import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

import torch

PRECISIONS = ("float32", "tf32", "bfloat16")


def wait(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


@contextmanager
def tf32_where(precision: str) -> Iterator[None]:
    """Let float32 products be TF32 as long as this lasts, in the precision `tf32`."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def autocast_where(precision: str, device: torch.device) -> torch.autocast:
    """Return what makes products bfloat16, in the precision `bfloat16`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def peak_gflop_per_second(precision: str, device: torch.device) -> float:
    """Measure a large product of random matrices that are in this precision already."""
    size = 512 if device.type == "cpu" else 8192
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = []
    with tf32_where(precision):
        for _ in range(13):
            wait(device)
            start = perf_counter()
            torch.mm(one, other)
            wait(device)
            seconds.append(perf_counter() - start)
    return 2 * size**3 / median(seconds[3:]) / 1e9


def memory_mib(device: torch.device) -> dict[str, float]:
    """Return the most that this process had allocated and reserved since the last reset."""
    if device.type == "cpu":
        return {}
    return {
        "peak_memory_mib": torch.accelerator.max_memory_allocated(device) / 2**20,
        "reserved_memory_mib": torch.accelerator.max_memory_reserved(device) / 2**20,
    }


def forget_peak(device: torch.device) -> None:
    """Start measuring memory anew."""
    if device.type != "cpu":
        torch.accelerator.reset_peak_memory_stats(device)


def free_cache(device: torch.device) -> None:
    """Give memory that is not in use back to the device."""
    if device.type != "cpu":
        torch.accelerator.empty_cache()


def describe(device: torch.device) -> dict[str, object]:
    """Say what measures: device, driver, processor, versions."""
    name, driver = "CPU", None
    if device.type != "cpu":
        name = torch.cuda.get_device_name(device)
        driver = _driver()
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.split(":", 1)[1].strip() for line in info.splitlines() if "model name" in line]
    return {
        "device": name,
        "driver": driver,
        "machine": f"{len(models)} x {models[0] if models else platform.processor()}",
        "amx": "amx_tile" in info,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }


def _driver() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
