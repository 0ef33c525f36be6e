"""Several data sets in one store, mixed by weight: how often training draws from each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from jepawm.data.windows import Windows
from jepawm.errors import UserError

SETTING = "mixture"
"""Entry of a store's settings: `episodes` of each data set, in order, and its `weights`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """Windows by the data set that they are from, and how often each is drawn."""

    shares: Float[Tensor, " s"]
    """Part of the windows of a batch, expected, that is from each data set."""
    windows: tuple[Int64[Tensor, "_"], ...]
    """Indices of the windows of each."""

    def draw(self, count: int, *, generator: torch.Generator) -> Int64[Tensor, " b"]:
        """Draw `count` windows: a data set by its share, then one of its windows, evenly."""
        sources = torch.multinomial(self.shares, count, replacement=True, generator=generator)
        places = torch.rand(count, generator=generator, dtype=torch.float64)
        sizes = torch.tensor([len(one) for one in self.windows])[sources]
        inside = (places * sizes).long().clamp(max=sizes - 1)
        pairs = zip(sources.tolist(), inside.tolist(), strict=True)
        return torch.stack([self.windows[source][place] for source, place in pairs])


def require_weights(weights: Sequence[float], *, count: int) -> None:
    """Refuse weights that are not one positive number for each of `count` data sets."""
    good = all(np.isfinite(one) and one > 0 for one in weights)
    if len(weights) != count or not good:
        raise UserError(
            f"--weights {' '.join(f'{one:g}' for one in weights)}: give one number above 0 for each of "
            f"the {count} stores"
        )


def mixture_setting(episodes: Sequence[int], weights: Sequence[float]) -> dict[str, list[float]]:
    """Return the entry of a store's settings."""
    return {"episodes": list(map(float, episodes)), "weights": list(map(float, weights))}


def mixture_of(windows: Windows) -> Mixture | None:
    """Return how the windows of a joined store are drawn; None where each counts once.

    Data sets without a window here are left out, the shares of the others add up to 1.
    """
    setting = windows.store.manifest.settings.get(SETTING)
    if not isinstance(setting, dict):
        return None
    ends = np.cumsum(setting["episodes"])
    source = np.searchsorted(ends, windows.table[:, 0], side="right")
    groups = [torch.from_numpy(np.flatnonzero(source == at)) for at in range(len(ends))]
    weights = [
        weight if len(one) else 0.0 for weight, one in zip(setting["weights"], groups, strict=True)
    ]
    kept = [at for at, weight in enumerate(weights) if weight > 0]
    shares = torch.tensor([weights[at] for at in kept], dtype=torch.float64)
    return Mixture(shares=shares / shares.sum(), windows=tuple(groups[at] for at in kept))
