"""Plan with a planner of your own: a frozen dataclass with a method `plan`.

A planner sees a cost function, never a model. Put the class into a module, my_planner.py, to name
it elsewhere: `jepawm eval wall --planner my_planner:LocalSearch --planner.num-samples 256`.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

import jepawm
from jepawm.contracts import Bounds, CostFn
from jepawm.testing import check_planner


@dataclass(frozen=True, kw_only=True)
class LocalSearch:
    """Keep the best plan so far and try steps around it, smaller ones after each round."""

    num_samples: int = 128
    """Candidates per problem and round."""
    num_iterations: int = 30
    """Rounds."""
    shrink: float = 0.85
    """Factor of the standard deviation from round to round."""
    needs_gradients: ClassVar[bool] = False

    def plan(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,
    ) -> jepawm.Plan:
        """Plan from the initial guess `init` `[B, H, A]`."""
        best, problems, history = init, torch.arange(len(init)), []
        for iteration in range(self.num_iterations):
            size = (len(init), self.num_samples, *init.shape[1:])
            step = self.shrink**iteration * torch.randn(size, generator=generator).to(init)
            candidates = best[:, None] + step  # [B, K, H, A]
            candidates[:, 0] = best  # never worse than before
            if bounds is not None:
                candidates = candidates.clamp(*bounds)
            lowest, index = cost(candidates).min(1)  # [B] each
            best = candidates[problems, index]
            history.append(lowest)
        return jepawm.Plan(actions=best, cost=history[-1], history=torch.stack(history))


check_planner(LocalSearch())  # says which rule of the contract does not hold, if any
wall = jepawm.load("wall")
agent = wall.agent(planner=LocalSearch(), seed=0)
results = jepawm.evaluate(wall.make_env(), agent, num_tasks=16, split="val")
for name, row in results.rows.items():
    print(f"{name}: {row.success:.0%} of the goals reached")
assert results.rows["model"].success >= 0.6
