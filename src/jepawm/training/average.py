"""An exponential moving average of the weights, beside those that learn (`optim.ema_decay`)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from jepawm.models.weight_files import stored_weights
from jepawm.processes import is_sharded
from jepawm.training.losses import Learner


class WeightAverage:
    """The average of a world model's weights and of what its norms remember; shards stay shards."""

    def __init__(self, learner: Learner) -> None:
        """Begin with the weights of this moment; the learner is where it trains already."""
        self._learner = learner
        model = learner.model
        found = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        kept = stored_weights(model)
        self.learning: dict[str, Tensor] = {
            name: found[name] for name, value in kept.items() if value.is_floating_point()
        }
        """The tensors that learn, by name."""
        self._averages = {name: value.detach().clone() for name, value in self.learning.items()}

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Move the average towards the weights: a part `decay` of it stays."""
        get_ema_multi_avg_fn(decay)(
            [_local(value) for value in self._averages.values()],
            [_local(value) for value in self.learning.values()],
            0,
        )

    @torch.no_grad()
    def start_anew(self) -> None:
        """Begin again with the weights of this moment."""
        for name, value in self.learning.items():
            _local(self._averages[name]).copy_(_local(value))

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint stores of the model: averages, and what has none as it is."""
        return {**stored_weights(self._learner.model), **self._averages}

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the model have its averages while this lasts, and then its weights again, bit for bit."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        from torch.distributed.fsdp import FSDPModule

        for part in self._learner.modules():
            if isinstance(part, FSDPModule):  # no whole tensors of before may stay
                part.reshard()
        for name, value in self.learning.items():
            mine, theirs = _local(self._averages[name]), _local(value)
            held = theirs.clone()
            theirs.copy_(mine)
            mine.copy_(held)


def _local(value: Tensor) -> Tensor:
    """Return what this process holds of a tensor."""
    return value.to_local() if is_sharded(value) else value.detach()
