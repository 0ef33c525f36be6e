"""Random numbers of planners: of one generator, or of one for each problem of a batch."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


class ProblemGenerators(torch.Generator):
    """A generator for each problem: what is drawn for one does not depend on the others.

    It is itself a generator on the CPU, from which planners draw that do not know it.
    """

    def __new__(cls, each: Sequence[torch.Generator]) -> "ProblemGenerators":  # noqa: ARG004 (torch's takes a device)
        """Make one on the CPU."""
        return super().__new__(cls)

    def __init__(self, each: Sequence[torch.Generator]) -> None:
        """Take the generators, on the CPU."""
        self.each = tuple(each)
        if each:
            self.manual_seed(each[0].initial_seed())

    @classmethod
    def seeded(cls, seeds: Sequence[int]) -> "ProblemGenerators":
        """Return a generator for each seed."""
        return cls([torch.Generator().manual_seed(seed) for seed in seeds])

    def of(self, problems: Sequence[int]) -> "ProblemGenerators":
        """Return those of some problems; what they draw is drawn from these."""
        return type(self)([self.each[problem] for problem in problems])

    def normal(
        self, shape: Sequence[int], *, dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "B *rest"]:
        """Draw normal numbers, each problem its own.

        For another number of problems than there are generators all are drawn from the common one.
        """
        count, *rest = shape
        if count != len(self.each):
            return torch.randn(shape, generator=self, dtype=dtype)
        return torch.stack([torch.randn(rest, generator=one, dtype=dtype) for one in self.each])


def of_problems(generator: torch.Generator, problems: Int[Tensor, " b"]) -> torch.Generator:
    """Return what some problems draw from."""
    return (
        generator.of(problems.tolist()) if isinstance(generator, ProblemGenerators) else generator
    )


def draw_normal(shape: Sequence[int], *, generator: torch.Generator) -> Float[Tensor, "B *rest"]:
    """Draw normal numbers for `B` problems."""
    if isinstance(generator, ProblemGenerators):
        return generator.normal(shape)
    return torch.randn(shape, generator=generator)


def draw_seeds(count: int, *, generator: torch.Generator) -> list[int]:
    """Draw a seed below 2^31 for each of `count` problems."""
    if isinstance(generator, ProblemGenerators) and len(generator.each) == count:
        return [int(torch.randint(2**31, (), generator=one)) for one in generator.each]
    seeds = torch.randint(2**31, (count,), generator=generator, device=generator.device)
    return seeds.tolist()
