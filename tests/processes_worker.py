"""One process of `test_processes.py`: write what it found as JSON."""

import json
import sys
from pathlib import Path

import torch

import jepawm.processes
from jepawm.errors import UserError
from jepawm.models.encoders import BatchNorm, PositionNorm
from jepawm.processes import any_process, from_first, gather, mean_over_processes, together
from jepawm.training.regularizers import sigreg, vicreg


def latents() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 12, 4, generator=generator, dtype=torch.float64) * 0.7 + 0.3


def losses(values: torch.Tensor) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [
        sigreg(values, num_directions=6, generator=generator),
        vicreg(values, covariance_weight=2.0),
        (BatchNorm(4)(values.float().flatten(0, 1)) ** 3).mean(),
        (PositionNorm(3, 4)(values.float().transpose(0, 1)) ** 3).mean(),
    ]


def gradients(values: torch.Tensor) -> dict[str, object]:
    """Return losses and their gradients at a factor and at a shift of each feature."""
    found = []
    for index in range(4):
        factor = torch.ones(4, dtype=torch.float64, requires_grad=True)
        shift = torch.zeros(4, dtype=torch.float64, requires_grad=True)
        loss = losses(torch.sin(values * factor + shift))[index]
        loss.backward()
        terms = torch.cat([loss.detach()[None], factor.grad, shift.grad])
        means = mean_over_processes({str(k): term for k, term in enumerate(terms)})
        found.append([value.item() for value in means.values()])
    return {"gradients": found}


def message(rank: int) -> str:
    try:
        with together():
            if rank == 1:
                raise UserError("disk full in the second")
    except UserError as error:
        return str(error)
    return ""


def words_beside_an_accelerator(rank: int) -> list[object]:
    """Speak as where tensors have a group of accelerators: in another group."""
    tensors = torch.distributed.group.WORLD
    real, made = torch.distributed.get_backend, []
    new_group = torch.distributed.new_group

    def note(**options):
        made.append(options["backend"])
        return new_group(**options)

    torch.distributed.get_backend, torch.distributed.new_group = lambda: "nccl", note
    jepawm.processes._new_host_group.cache_clear()
    said = [message(rank), gather(rank), from_first(lambda: rank), made]
    jepawm.processes._new_host_group.cache_clear()
    torch.distributed.get_backend, torch.distributed.new_group = real, new_group
    assert torch.distributed.group.WORLD is tensors
    return said


def main() -> None:
    torch.distributed.init_process_group("gloo")
    rank, count = torch.distributed.get_rank(), torch.distributed.get_world_size()
    found = gradients(latents().chunk(count, dim=1)[rank]) | {
        "message": message(rank),
        "any": [any_process(rank == 1), any_process(rank == 2)],
        "first": from_first(lambda: f"rank {rank}"),
        "gathered": gather(rank),
        "beside": words_beside_an_accelerator(rank),
    }
    Path(sys.argv[1], f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
