"""How the planning engine rolls candidates out."""

from dataclasses import dataclass
from typing import Literal

from jepawm.errors import UserError

Precision = Literal["float32", "bfloat16x3", "tf32", "bfloat16"]
CompileMode = Literal["off", "default", "reduce-overhead", "max-autotune"]
_MOST_THREADS = 4096


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How candidates are rolled out; what comes out is that of plain rollouts."""

    max_memory_bytes: int = 2 * 2**30
    """Memory in bytes that the candidates of one chunk may take, besides the model itself."""
    chunk_tokens: int = 2048
    """On a CPU, tokens of all candidates of one chunk: activations should stay in the cache."""
    num_threads: int = 0
    """Threads of a CPU; 0: one where matrix products are small, else as many as torch has."""
    precision: Precision = "float32"
    """`bfloat16x3`: each float32 product as three of bfloat16, as good as float32 to 1e-5, on CPUs
    with AMX and a C++ compiler. `tf32` (10 bits, on a GPU) and `bfloat16` (autocast) are rounder."""
    compile: CompileMode = "off"
    """Compile whole rollouts with this mode of `torch.compile`; `reduce-overhead` records CUDA
    graphs. Takes a minute at first and pays for long searches."""

    def __post_init__(self) -> None:
        """Check the ranges, and that precision and compilation go together."""
        for name, least in (("max_memory_bytes", 1), ("chunk_tokens", 1), ("num_threads", 0)):
            if getattr(self, name) < least:
                raise UserError(f"engine.{name} = {getattr(self, name)}; give at least {least}")
        if self.num_threads > _MOST_THREADS:
            raise UserError(
                f"engine.num_threads = {self.num_threads}; give at most {_MOST_THREADS}, or 0"
            )
        if self.precision == "bfloat16x3" and self.compile != "off":
            raise UserError(
                f"engine.compile = {self.compile} does not know the kernels of engine.precision = "
                "bfloat16x3; leave one of them"
            )
