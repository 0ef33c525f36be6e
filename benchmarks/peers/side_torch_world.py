"""torch-world: its LeWM and DINOWM, and its CEM."""

import torch
from job import GOAL, START, Job, StoredLatents, picture
from torch import Tensor, nn
from torch_world.models import DINOWM, LeWM
from torch_world.planning import CEM

PACKAGE = "torch-world"


class TorchWorld:
    """Plan with torch-world."""

    def __init__(self, job: Job) -> None:
        """Build the model of the job with random weights."""
        self._job = job
        self.model = _model(job).eval().requires_grad_(requires_grad=False)

    @torch.no_grad()
    def plan(self, *, num_samples: int, num_iterations: int) -> Tensor:
        """Make one plan `[1, H, A]`."""
        planner = CEM(
            horizon=self._job.horizon,
            action_dim=self._job.action_dim,
            num_samples=num_samples,
            num_elites=min(self._job.num_elites, num_samples),
            iterations=num_iterations,
        )
        start, goal = self._encode(START), self._encode(GOAL)[:, 0]
        generator = torch.Generator(start.device).manual_seed(0)
        return planner(self.model, start, goal, generator=generator)

    @torch.no_grad()
    def naive(self, num_candidates: int) -> None:
        """Roll candidates out as the planner does: torch-world saves nothing."""
        start = self._encode(START).repeat_interleave(num_candidates, dim=0)
        actions = torch.randn(num_candidates, self._job.horizon, self._job.action_dim)
        self.model.rollout(start, actions.to(start))

    def _encode(self, row: int) -> Tensor:
        device = next(self.model.parameters()).device
        pixels = picture(row, 1, 1).to(device)
        if isinstance(self.model, DINOWM):
            proprio = torch.full((1, 1, self._job.proprio_dim), float(row), device=device)
            return self.model.encode(pixels, proprio)
        return self.model.encode(pixels)


class OneToken(StoredLatents):
    """Stored latents without the axis of tokens, as LeWM takes them."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Return latents `[b, D]`."""
        return super().forward(pixels)[:, 0]


def _model(job: Job) -> nn.Module:
    shape = {
        "action_dim": job.action_dim,
        "embed_dim": job.dim,
        "history": job.window,
        "depth": job.depth,
        "num_heads": job.num_heads,
        "head_dim": job.head_dim,
        "mlp_dim": job.mlp_dim,
        "dropout": 0.0,
    }
    if job.feature_dim == 0:
        # Its projection heads cannot be left out; one hidden channel makes them cost nothing.
        return LeWM(OneToken(job), proj_dim=1, **shape)
    return DINOWM(
        StoredLatents(job),
        num_patches=job.num_tokens,
        proprio_dim=job.proprio_dim,
        action_emb_dim=job.feature_dim,
        proprio_emb_dim=job.feature_dim,
        **shape,
    )


SIDE = TorchWorld
