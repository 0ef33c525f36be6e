"""Our side: PlanningAgent with CEM, as `jepawm eval` plans."""

import torch
from job import GOAL, START, Job, StoredLatents, picture
from torch import Tensor

from jepawm.agent import AgentConfig, PlanningAgent
from jepawm.build import build_world_model
from jepawm.engine.config import EngineConfig
from jepawm.engine.process import tune_process
from jepawm.models.predictor import PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.models.world_model import JEPAWorldModel
from jepawm.normalizer import Normalizer
from jepawm.planning.cem import CEM
from jepawm.planning.objectives import LatentDistance
from jepawm.protocol import Protocol
from jepawm.types import Context, Observation

PACKAGE = "jepawm"


class Jepawm:
    """Plan with this library."""

    engine = EngineConfig()

    def __init__(self, job: Job) -> None:
        """Build the model of the job with random weights."""
        tune_process()
        self._job = job
        self.model = _model(job).eval().requires_grad_(requires_grad=False)
        self._normalizer = Normalizer.from_statistics(
            action_mean=[0.0] * job.action_dim,
            action_std=[1.0] * job.action_dim,
            proprio_mean=[0.0] * job.proprio_dim,
            proprio_std=[1.0] * job.proprio_dim,
        )

    def plan(self, *, num_samples: int, num_iterations: int) -> Tensor:
        """Make one plan `[1, H, A]`."""
        elites = min(self._job.num_elites, num_samples)
        agent = PlanningAgent(
            self.model,
            objective=LatentDistance(),
            planner=CEM(num_samples=num_samples, num_iterations=num_iterations, num_elites=elites),
            normalizer=self._normalizer,
            protocol=Protocol(
                name="job", frameskip=1, horizon=self._job.horizon, num_action_steps=1
            ),
            config=AgentConfig(window=self._job.window, engine=self.engine),
        )
        agent.reset(self._observation(GOAL))
        agent.act(self._observation(START))
        assert agent.last_plan is not None
        return agent.last_plan.actions

    @torch.no_grad()
    def naive(self, num_candidates: int) -> None:
        """Roll candidates out by the plain loop, whose latents the engine's are tested against."""
        job = self._job
        start = self.model.encode(self._observation(START))
        latents = start.map(lambda part: part[:, None].repeat_interleave(num_candidates, dim=0))
        none = torch.zeros(num_candidates, 0, job.action_dim)
        actions = torch.randn(num_candidates, job.horizon, job.action_dim)
        self.model.rollout(Context(latents=latents, actions=none), actions)

    def _observation(self, row: int) -> Observation:
        proprio = torch.full((1, self._job.proprio_dim), float(row))
        return Observation(pixels=picture(row, 1), proprio=proprio)


def _model(job: Job) -> JEPAWorldModel:
    features = job.feature_dim > 0
    predictor = PredictorConfig(
        conditioning="feature" if features else "adaln",
        positions="learned",
        window=job.window,
        depth=job.depth,
        num_heads=job.num_heads,
        head_dim=job.head_dim,
        hidden_dim=job.mlp_dim,
        action_dim=job.feature_dim or job.dim,
        projected=False,
        qkv_bias=False,
    )
    proprio = ProprioConfig(mode="feature" if features else "none", dim=job.feature_dim or 1)
    return build_world_model(
        StoredLatents(job),
        predictor,
        proprio=proprio,
        action_dim=job.action_dim,
        proprio_dim=job.proprio_dim,
    )


SIDE = Jepawm
