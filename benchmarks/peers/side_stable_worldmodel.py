"""stable-worldmodel: its LeWM and PreJEPA (its DINO-WM), and its CEMSolver."""

from types import SimpleNamespace

import numpy as np
import torch
from gymnasium.spaces import Box
from job import GOAL, START, Job, StoredLatents, picture

try:
    import torchvision  # noqa: F401
except RuntimeError as error:
    # PyPI's torchvision is built for CUDA and loads no operators beside a CPU build of torch.
    # Planning uses none of them; its import asks only that two are declared.
    if "operator torchvision::" not in str(error):
        raise
    for operator in ("nms", "qnms"):
        torch.library.define(
            f"torchvision::{operator}",
            "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        )

from stable_worldmodel import PlanConfig
from stable_worldmodel.solver import CEMSolver
from stable_worldmodel.wm.lewm import LeWM
from stable_worldmodel.wm.lewm import module as lewm_parts
from stable_worldmodel.wm.prejepa import PreJEPA
from stable_worldmodel.wm.prejepa import module as prejepa_parts
from torch import Tensor, nn

PACKAGE = "stable-worldmodel"


class StableWorldmodel:
    """Plan with stable-worldmodel."""

    def __init__(self, job: Job) -> None:
        """Build the model of the job with random weights."""
        self._job = job
        self._model = (_prejepa(job) if job.feature_dim else _lewm(job)).eval()
        self._model.requires_grad_(requires_grad=False)
        self._num_plans = 0

    def plan(self, *, num_samples: int, num_iterations: int) -> Tensor:
        """Make one plan `[1, H, A]`."""
        solver = CEMSolver(
            self._model,
            num_samples=num_samples,
            n_steps=num_iterations,
            topk=min(self._job.num_elites, num_samples),
        )
        space = Box(-np.inf, np.inf, shape=(1, self._job.action_dim), dtype=np.float32)
        config = PlanConfig(horizon=self._job.horizon, receding_horizon=1)
        solver.configure(action_space=space, n_envs=1, config=config)
        return solver.solve(self._info())["actions"]

    @torch.inference_mode()
    def naive(self, num_candidates: int) -> None:
        """Score candidates as the solver does: it keeps the start's and the goal's latents only."""
        info = {
            key: value[:, None].expand(1, num_candidates, *value.shape[1:])
            for key, value in self._info().items()
        }
        actions = torch.randn(1, num_candidates, self._job.horizon, self._job.action_dim)
        self._model.get_cost(info, actions)

    def _info(self) -> dict[str, Tensor]:
        """Return what its environments give; a new step each time, so that no plan is the last's."""
        self._num_plans += 1
        return {
            "pixels": picture(START, 1, 1).float(),
            "goal": picture(GOAL, 1, 1).float(),
            "action": torch.zeros(1, 1, self._job.action_dim),
            "proprio": torch.full((1, 1, self._job.proprio_dim), float(START)),
            "goal_proprio": torch.full((1, 1, self._job.proprio_dim), float(GOAL)),
            "id": torch.zeros(1, 1, dtype=torch.long),
            "step_idx": torch.full((1, 1), self._num_plans),
        }


class HiddenStates(StoredLatents):
    """Stored latents in the form of a transformers model; `classes` tokens come first."""

    def __init__(self, job: Job, *, classes: int) -> None:
        """Draw the latents."""
        super().__init__(job)
        self._classes = classes

    def forward(self, pixels: Tensor, **_: bool) -> SimpleNamespace:
        """Return an object with `last_hidden_state` `[b, classes + N, D]`."""
        tokens = super().forward(pixels)
        first = tokens[:, :1].expand(-1, self._classes, -1)
        return SimpleNamespace(last_hidden_state=torch.cat([first, tokens], dim=1))


def _lewm(job: Job) -> nn.Module:
    return LeWM(
        encoder=HiddenStates(job, classes=0),
        predictor=lewm_parts.Predictor(
            num_frames=job.window,
            depth=job.depth,
            heads=job.num_heads,
            mlp_dim=job.mlp_dim,
            input_dim=job.dim,
            hidden_dim=job.dim,
            dim_head=job.head_dim,
        ),
        action_encoder=lewm_parts.Embedder(input_dim=job.action_dim, emb_dim=job.dim),
    )


def _prejepa(job: Job) -> nn.Module:
    encoders = nn.ModuleDict(
        {
            name: prejepa_parts.Embedder(in_chans=width, emb_dim=job.feature_dim)
            for name, width in (("proprio", job.proprio_dim), ("action", job.action_dim))
        }
    )
    return PreJEPA(
        encoder=HiddenStates(job, classes=1),
        predictor=prejepa_parts.CausalPredictor(
            num_patches=job.num_tokens,
            num_frames=job.window,
            dim=job.dim + 2 * job.feature_dim,
            depth=job.depth,
            heads=job.num_heads,
            mlp_dim=job.mlp_dim,
            dim_head=job.head_dim,
        ),
        extra_encoders=encoders,
        history_size=job.window,
    )


SIDE = StableWorldmodel
