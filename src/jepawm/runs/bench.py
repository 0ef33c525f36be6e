"""`jepawm bench planning`: seconds of a plan, its FLOP, the fraction of the peak, its memory.

Weights are random and the encoder is left out: a plan starts from random latents.
"""

import math
import resource
import sys
from dataclasses import replace
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from jepawm.compute import count_gflop, matmul_peak
from jepawm.engine.config import EngineConfig
from jepawm.engine.rollout_engine import RolloutEngine, computing
from jepawm.golden.predictors import GivenTokens
from jepawm.models.predictor import Predictor
from jepawm.models.world_model import JEPAWorldModel
from jepawm.planning.cem import CEM
from jepawm.planning.objectives import LatentDistance
from jepawm.runs.bench_sizes import PlanJob, Size
from jepawm.types import Context, Latent

MEASURE_SECONDS = 60.0
"""After this time no further plan is measured."""


def bench_planning(
    size: Size, job: PlanJob, *, engine: EngineConfig, device: str, repeats: int
) -> dict[str, object]:
    """Measure plans of one job, the peak of the machine before and after.

    Args:
        size: the model.
        job: what is planned.
        engine: how candidates are rolled out.
        device: where.
        repeats: plans at most; the median counts.

    Raises:
        UserError: if the memory is too small for one candidate.
    """
    place = torch.device(device)
    bench = PlanningBench(size, job, engine=engine, device=place)
    peaks = [_peak(engine, place)]
    bench.plan(num_iterations=1)  # warm
    seconds: list[float] = []
    while not seconds or (len(seconds) < repeats and sum(seconds) < MEASURE_SECONDS):
        start = perf_counter()
        bench.plan(num_iterations=job.num_iterations)
        seconds.append(perf_counter() - start)
    peaks.append(_peak(engine, place))
    memory = peak_memory_mib(place)
    gflop, plain = bench.count()
    peak, middle = sum(peaks) / 2, median(seconds)
    return {
        "seconds_per_plan": middle,
        "seconds_from_to": [min(seconds), max(seconds)],
        "plans_measured": len(seconds),
        "gflop": gflop,
        "gflop_plain": plain,
        "peak_gflop_per_second": peak,
        "floor_seconds": gflop / peak,
        "fraction_of_peak": gflop / middle / peak,
        "peak_memory_mib": memory,
        "parameters": sum(one.numel() for one in bench.model.parameters()),
        "job": vars(job),
        "engine": vars(engine),
        "threads": engine.num_threads or torch.get_num_threads(),
        "device": device,
    }


class PlanningBench:
    """A model with random weights, a random problem, and the planner of the paper."""

    def __init__(
        self, size: Size, job: PlanJob, *, engine: EngineConfig, device: torch.device
    ) -> None:
        """Build them on a device; the same numbers each time."""
        torch.set_flush_denormal(True)
        generator = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            predictor = Predictor(
                size.predictor,
                size.proprio,
                latent_dim=size.latent_dim,
                grid=(size.side, size.side),
                action_dim=size.action_dim,
            )
        encoder = GivenTokens(dim=size.latent_dim, grid=(size.side, size.side))
        self.model = JEPAWorldModel(encoder, predictor).eval().to(device)
        self._job, self._engine = job, engine
        tokens = size.side**2

        def randn(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator).to(device)

        def latent(*batch: int) -> Latent:
            width = size.proprio.dim
            proprio = randn(*batch, tokens, width) if size.proprio.mode == "feature" else None
            return Latent(tokens=randn(*batch, tokens, size.latent_dim), proprio=proprio)

        self._context = Context(
            latents=latent(job.num_tasks, job.context),
            actions=randn(job.num_tasks, job.context - 1, size.action_dim),
        )
        self._goal = latent(job.num_tasks)
        self._init = torch.zeros(job.num_tasks, job.horizon, size.action_dim, device=device)
        self._num_evaluated = 0

    @torch.no_grad()
    def plan(self, *, num_iterations: int) -> None:
        """Plan once, from contexts to the cost of the plan."""
        job, num_evaluated = self._job, 0
        engine = self._start(self._engine)

        def cost(actions: Tensor) -> Tensor:
            nonlocal num_evaluated
            num_evaluated += actions.shape[1]
            return engine.cost(actions, objective=LatentDistance(), goal=self._goal)

        planner = CEM(
            num_samples=job.num_samples,
            num_elites=min(10, job.num_samples),
            num_iterations=num_iterations,
        )
        generator = torch.Generator(self._init.device).manual_seed(0)
        plan = planner.plan(cost, self._init, bounds=None, generator=generator)
        plan.actions.sum().item()  # waits for an asynchronous device
        self._num_evaluated = num_evaluated

    @torch.no_grad()
    def count(self) -> tuple[float, float]:
        """Return the GFLOP that the last plan executed, and those of plain rollouts for the same.

        Counted on one candidate of each problem, by one thread, without compilation, which hides
        its kernels.
        """
        plainly = replace(self._engine, compile="off", num_threads=1)  # only this one is counted
        one = self._init[:, None]  # [B, 1, H, A]
        shared = count_gflop(lambda: self._start(plainly))
        engine = self._start(plainly)
        each = count_gflop(lambda: engine.latents(one))
        context, window = self._context, self._job.window
        plain = count_gflop(lambda: self.model.rollout(context, one[:, 0], window=window))
        return shared + self._num_evaluated * each, self._num_evaluated * plain

    def _start(self, config: EngineConfig) -> RolloutEngine:
        return RolloutEngine(self.model, self._context, window=self._job.window, config=config)


def _peak(engine: EngineConfig, device: torch.device) -> float:
    """Return the matmul peak of the threads and the precision that the plan has."""
    with computing(engine, device, flop=math.inf):
        return matmul_peak(device, size=1536 if device.type == "cpu" else 8192)


def peak_memory_mib(device: torch.device) -> float:
    """Return the largest memory of this process so far, or of the accelerator that it uses."""
    if device.type != "cpu":
        return torch.accelerator.max_memory_allocated(device) / 2**20
    kilo = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilo / 2**20
