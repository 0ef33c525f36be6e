"""Measure compute: the machine's matmul peak and the FLOPs of a function."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch.utils.flop_counter import FlopCounterMode


def matmul_peak(device: torch.device | None = None, *, size: int = 1536, repeats: int = 7) -> float:
    """Measure float32 matrix multiplication with the current thread count, in GFLOP/s.

    Args:
        device: where to measure; None is the CPU.
        size: side of the square matrices.
        repeats: products; the median time counts.
    """
    matrix = torch.randn(size, size, device=device)
    times = []
    for _ in range(repeats + 2):
        start = perf_counter()
        product = matrix @ matrix
        float(product[0, 0])  # waits for an asynchronous device
        times.append(perf_counter() - start)
    return 2 * size**3 / median(times[2:]) / 1e9


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that are free on a device; None where the system does not say."""
    if device.type == "cpu":
        return _free_on_host(Path("/proc/meminfo"))
    if device.type == "mps":
        return None
    return torch.accelerator.get_memory_info(device)[0]


def _free_on_host(path: Path) -> int | None:
    if not path.is_file():
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", path.read_text(encoding="utf-8"), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


Formulas = Mapping[object, Callable[..., int]]
"""FLOP of operators of torch, from the shapes of their arguments."""


def count_gflop(function: Callable[[], object], *, formulas: Formulas | None = None) -> float:
    """Run `function` once and count the GFLOP of its matrix products, convolutions and attention.

    `formulas` are those of operators that torch does not know, such as the engine's own kernels.
    """
    known = {**_fused_kernels(), **(formulas or {})}
    with FlopCounterMode(display=False, custom_mapping=known) as counter:
        function()
    return counter.get_total_flops() / 1e9


def _fused_kernels() -> dict[object, Callable[..., int]]:
    """Return formulas for the kernels of the CPU that torch does not count."""

    def attention(query: torch.Size, key: torch.Size, *_args: object, **_kwargs: object) -> int:
        return 4 * query.numel() * key[-2]

    def linear(x: torch.Size, weight: torch.Size, *_args: object, **_kwargs: object) -> int:
        return 2 * x.numel() * weight[0]

    formulas = {
        "aten::_scaled_dot_product_flash_attention_for_cpu": attention,
        "mkldnn::_linear_pointwise": linear,
    }
    found = {}
    for name, formula in formulas.items():
        namespace, _, kernel = name.partition("::")
        packet = getattr(getattr(torch.ops, namespace), kernel, None)
        if packet is not None:
            found[packet] = formula
    return found
