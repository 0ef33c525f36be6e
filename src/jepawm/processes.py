"""What several processes of one run do together; with one process each function does nothing.

`training/devices.py` opens the process group that these functions ask.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeGuard, TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.errors import UserError

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

Value = TypeVar("Value")


def count_processes() -> int:
    """Return the number of processes of this run."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def process_rank() -> int:
    """Return the number of this process, from 0."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def is_first() -> bool:
    """Return whether this process is the one that writes files and speaks to the user."""
    return process_rank() == 0


def sum_over_processes(value: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Add up a tensor over all processes, with gradients.

    The gradient that comes back is the sum of those of all processes: right where gradients of
    parameters are averaged afterwards and each process counts a shared term of the loss in full.
    """
    return value if count_processes() == 1 else _Sum.apply(value)  # pyright: ignore[reportReturnType]


def mean_over_processes(values: Mapping[str, Float[Tensor, ""]]) -> dict[str, Float[Tensor, ""]]:
    """Average numbers over all processes, without gradients."""
    count = count_processes()
    stacked = torch.stack([value.detach().float() for value in values.values()])
    if count > 1:
        torch.distributed.all_reduce(stacked)
    return dict(zip(values, stacked / count, strict=True))


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Average gradients over all processes, after backward passes that no wrapper of theirs saw."""
    count = count_processes()
    for parameter in parameters if count > 1 else ():
        if parameter.grad is not None:
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad.div_(count)


def any_process(flag: bool) -> bool:
    """Return whether the flag is set in some process; all must ask."""
    if count_processes() == 1:
        return flag
    flags: list[bool] = [False] * count_processes()
    torch.distributed.all_gather_object(flags, flag, group=_host_group())
    return any(flags)


@contextmanager
def together() -> Iterator[None]:
    """Let an error that the user can fix end all processes with the same message.

    All processes enter and leave; inside they must not wait for each other.
    """
    problem: UserError | OSError | None = None
    try:
        yield
    except (UserError, OSError) as error:
        if count_processes() == 1:
            raise
        problem = error
    if count_processes() == 1:
        return
    problems: list[str | None] = [None] * count_processes()
    message = None if problem is None else str(problem)
    torch.distributed.all_gather_object(problems, message, group=_host_group())
    for message in problems:
        if message is not None:
            raise UserError(message) from problem


def from_first(function: Callable[[], Value]) -> Value:
    """Call a function in the first process; returns its value in all."""
    found: list[Value | None] = [None]
    with together():
        if is_first():
            found = [function()]
    if count_processes() > 1:
        torch.distributed.broadcast_object_list(found, src=0, group=_host_group())
    return found[0]  # pyright: ignore[reportReturnType]


def gather(value: Value) -> list[Value]:
    """Return the values of all processes, in order; all must ask."""
    values = [value] * count_processes()
    if len(values) > 1:
        torch.distributed.all_gather_object(values, value, group=_host_group())
    return values


def is_sharded(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Return whether a tensor is sharded over processes.

    Its class takes half a second to import, and is there wherever there is such a tensor.
    """
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def gather_shards(named: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Put sharded tensors together, one by one; all must ask.

    Returns them on the CPU in the first process, and nothing in the others.
    """
    whole: dict[str, Tensor] = {}
    for name, value in named:
        full = value.full_tensor() if is_sharded(value) else value
        if is_first():
            whole[name] = full.detach().cpu()
    return whole


def _host_group() -> "torch.distributed.ProcessGroup | None":
    """Return the group in which processes speak of errors, stops and files; None: the one of tensors.

    Beside a group of accelerators it is one of CPUs: words through an accelerator would wait for it in
    every step.
    """
    return _new_host_group(torch.distributed.group.WORLD)


def forget_groups() -> None:
    """Let go of groups of processes, which are about to be destroyed."""
    _new_host_group.cache_clear()


@cache
def _new_host_group(_world: object) -> "torch.distributed.ProcessGroup | None":
    if torch.distributed.get_backend() == "gloo":
        return None
    group = torch.distributed.new_group(backend="gloo")
    return cast("torch.distributed.ProcessGroup | None", group)  # all processes are members


class _Sum(torch.autograd.Function):
    """All-reduce whose gradient is all-reduced as well."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, value: Tensor) -> Tensor:  # noqa: ARG004
        total = value.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total
