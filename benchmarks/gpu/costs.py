"""Costs of random candidates at the size of a plan, to compare devices and configurations."""

import torch
from torch import Tensor

from jepawm.engine.config import EngineConfig
from jepawm.engine.rollout_engine import RolloutEngine
from jepawm.models.world_model import JEPAWorldModel
from jepawm.planning.objectives import LatentDistance
from jepawm.runs.bench import PlanJob, Size
from jepawm.types import Context, Latent


@torch.no_grad()
def random_costs(
    model: JEPAWorldModel,
    size: Size,
    job: PlanJob,
    *,
    num_candidates: int,
    engine: EngineConfig,
    device: torch.device,
) -> Tensor:
    """Return costs `[1, K]`; contexts, goals and candidates are the same each time.

    The model is given: for another one a rollout would be compiled again.
    """
    generator = torch.Generator().manual_seed(1)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    def latent(*batch: int) -> Latent:
        shape, feature = (*batch, size.side**2), size.proprio.mode == "feature"
        return Latent(
            tokens=randn(*shape, size.latent_dim),
            proprio=randn(*shape, size.proprio.dim) if feature else None,
        )

    context = Context(
        latents=latent(1, job.context), actions=randn(1, job.context - 1, size.action_dim)
    )
    goal, actions = latent(1), randn(1, num_candidates, job.horizon, size.action_dim)
    rolled = RolloutEngine(model, context, window=job.window, config=engine)
    return rolled.cost(actions, objective=LatentDistance(), goal=goal)
