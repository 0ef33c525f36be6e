"""`jepawm bench planning`: seconds of a plan, its FLOP, the fraction of the peak, its memory.

Weights are random and the encoder is left out: a plan starts from random latents.
"""

import math
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from jepawm.compute import count_gflop, matmul_peak
from jepawm.engine.config import EngineConfig
from jepawm.engine.kernels.split_products import kernel_formulas
from jepawm.engine.process import tune_process
from jepawm.engine.rollout_engine import RolloutEngine, computing
from jepawm.errors import UserError
from jepawm.golden.predictors import GivenTokens
from jepawm.hub.released import released_experiment
from jepawm.models.predictor import Predictor, PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.models.world_model import JEPAWorldModel
from jepawm.planning.cem import CEM
from jepawm.planning.objectives import LatentDistance
from jepawm.types import Context, Latent

MEASURE_SECONDS = 60.0
"""After this time no further plan is measured."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """A world model without its encoder, and the plan that is measured unless another is wanted."""

    predictor: PredictorConfig
    """The predictor."""
    proprio: ProprioConfig
    """How proprioception enters."""
    latent_dim: int
    """Width of the encoder's tokens."""
    side: int
    """Rows and columns of tokens."""
    action_dim: int
    """Width of an action block."""
    window: int
    """Latents that each prediction sees."""
    num_samples: int
    """Candidates of an iteration."""
    num_iterations: int
    """Iterations of a plan."""


@dataclass(frozen=True, kw_only=True)
class PlanJob:
    """What is planned."""

    num_samples: int
    """Candidates of an iteration."""
    num_iterations: int
    """Iterations of the cross-entropy method."""
    horizon: int
    """Steps of each candidate."""
    num_tasks: int
    """Problems in one batch."""
    window: int
    """Latents that each prediction sees."""
    context: int
    """Observed latents that a plan starts from."""

    def __post_init__(self) -> None:
        for name, least in (("num_samples", 2), ("num_iterations", 1), ("horizon", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{_option(name)} {getattr(self, name)}; give at least {least}")
        if self.num_tasks < 1 or self.window < 1 or not 1 <= self.context <= self.window:
            raise UserError(
                f"--tasks {self.num_tasks} --window {self.window} --context {self.context}; give "
                "at least 1, and a context of at most the window"
            )


@dataclass(frozen=True, kw_only=True)
class PlanMeasurement:
    """What plans of one job take."""

    seconds_per_plan: float
    """Median seconds of a plan."""
    seconds_from_to: tuple[float, float]
    """Shortest and longest seconds of a plan."""
    plans_measured: int
    """Plans."""
    gflop: float
    """GFLOP that a plan executes."""
    gflop_plain: float
    """GFLOP of plain rollouts for the same plan."""
    peak_gflop_per_second: float
    """Peak of the machine's matrix products, mean of before and after."""
    floor_seconds: float
    """Seconds of a plan at the peak."""
    fraction_of_peak: float
    """Fraction of the peak that the median plan reaches."""
    peak_memory_mib: float
    """Largest memory of the process or the accelerator so far, in MiB."""
    parameters: int
    """Parameters of the model."""
    job: PlanJob
    """What was planned."""
    engine: EngineConfig
    """How candidates were rolled out."""
    threads: int
    """Threads of a CPU."""
    device: str
    """Where."""


@dataclass(frozen=True, kw_only=True)
class AxisGrowth:
    """How the time of an iteration grows along one axis."""

    values: Sequence[float]
    """Sizes along the axis, ascending."""
    seconds: Sequence[float]
    """Median seconds of an iteration at each."""
    exponent: float
    """Exponent of the power law fitted to them."""


def sizes() -> dict[str, Size]:
    """Return the sizes by name."""
    lewm = PredictorConfig(
        conditioning="adaln",
        positions="learned",
        window=3,
        projected=False,
        head_dim=64,
        hidden_dim=2048,
    )
    return {
        "lewm": Size(
            predictor=lewm,
            proprio=ProprioConfig(),
            latent_dim=192,
            side=1,
            action_dim=10,
            window=3,
            num_samples=300,
            num_iterations=30,
        ),
        "dino_wm": _released("dino_wm_wall", latent_dim=384, action_dim=10, window=3),
        "jepa_wm": _released("jepa_wm_metaworld", latent_dim=384, action_dim=20, window=2),
        "droid": _released("jepa_wm_droid", latent_dim=1024, action_dim=7, window=2, num_samples=8),
    }


def plan_job(
    size: Size,
    *,
    horizon: int,
    num_tasks: int,
    num_samples: int | None = None,
    num_iterations: int | None = None,
    window: int | None = None,
    context: int | None = None,
) -> PlanJob:
    """Return the job of a size; None takes the size's own number, a whole window of context."""
    window = size.window if window is None else window
    if window > size.predictor.window:
        raise UserError(f"--window {window}; this size allows 1 to {size.predictor.window}")
    return PlanJob(
        num_samples=size.num_samples if num_samples is None else num_samples,
        num_iterations=size.num_iterations if num_iterations is None else num_iterations,
        horizon=horizon,
        num_tasks=num_tasks,
        window=window,
        context=window if context is None else context,
    )


def _released(
    name: str,
    *,
    latent_dim: int,
    action_dim: int,
    window: int,
    num_samples: int = 64,
) -> Size:
    experiment = released_experiment(name)
    return Size(
        predictor=experiment.predictor,
        proprio=experiment.proprio,
        latent_dim=latent_dim,
        side=16,
        action_dim=action_dim,
        window=window,
        num_samples=num_samples,
        num_iterations=1,
    )


def _option(field: str) -> str:
    return "--" + field.removeprefix("num_").replace("_", "-")


def bench_planning(
    size: Size, job: PlanJob, *, engine: EngineConfig, device: str, repeats: int
) -> PlanMeasurement:
    """Measure plans of one job, the peak of the machine before and after.

    Args:
        size: the model.
        job: what is planned.
        engine: how candidates are rolled out.
        device: where.
        repeats: plans at most; the median counts.
    """
    tune_process()
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
    return PlanMeasurement(
        seconds_per_plan=middle,
        seconds_from_to=(min(seconds), max(seconds)),
        plans_measured=len(seconds),
        gflop=gflop,
        gflop_plain=plain,
        peak_gflop_per_second=peak,
        floor_seconds=gflop / peak,
        fraction_of_peak=gflop / middle / peak,
        peak_memory_mib=memory,
        parameters=sum(one.numel() for one in bench.model.parameters()),
        job=job,
        engine=engine,
        threads=engine.num_threads or torch.get_num_threads(),
        device=device,
    )


class PlanningBench:
    """A model with random weights, a random problem, and the planner of the paper."""

    def __init__(
        self, size: Size, job: PlanJob, *, engine: EngineConfig, device: torch.device
    ) -> None:
        """Build them on a device; the same numbers each time."""
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

        Counted on one candidate of each problem, by one thread, uncompiled: that hides kernels.
        """
        plainly = replace(self._engine, compile="off", num_threads=1)  # only this one is counted
        one = self._init[:, None]  # [B, 1, H, A]
        formulas = kernel_formulas()
        engine = self._start(plainly)
        shared = count_gflop(lambda: self._start(plainly), formulas=formulas)
        each = count_gflop(lambda: engine.latents(one), formulas=formulas)
        rollout, window = self.model.rollout, self._job.window
        plain = count_gflop(lambda: rollout(self._context, one[:, 0], window=window))
        return shared + self._num_evaluated * each, self._num_evaluated * plain

    def _start(self, config: EngineConfig) -> RolloutEngine:
        window = self._job.window
        return RolloutEngine(self.model, self._context, window=window, config=config).prepared()


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


def bench_growth(
    size: Size, job: PlanJob, *, engine: EngineConfig, device: str, repeats: int
) -> dict[str, AxisGrowth]:
    """Measure one iteration while samples, horizon, tokens and tasks each grow tenfold.

    Samples start from the job's number; the other parts start from 1, tokens from 1 or 16.
    """
    tune_process()
    axes: dict[str, list[tuple[int, Size, PlanJob]]] = {
        "samples": [
            (n, size, replace(job, num_samples=n))
            for n in (job.num_samples * factor for factor in (1, 2, 5, 10))
        ],
        "horizon": [(n, size, replace(job, horizon=n)) for n in (1, 2, 5, 10)],
        "tokens": [
            (n * n, replace(size, side=n), job)
            for n in ((1, 2, 3, 4) if size.side == 1 else (4, 7, 10, 13))
        ],
        "tasks": [(n, size, replace(job, num_tasks=n)) for n in (1, 2, 5, 10)],
    }
    grown: dict[str, AxisGrowth] = {}
    for name, cases in axes.items():
        benches = [
            PlanningBench(one, task, engine=engine, device=torch.device(device))
            for _, one, task in cases
        ]
        times: list[list[float]] = [[] for _ in cases]
        for _ in range(repeats + 1):  # in turns, so that a slow minute slows all
            for index, bench in enumerate(benches):
                start = perf_counter()
                bench.plan(num_iterations=1)
                times[index].append(perf_counter() - start)
        values = [float(value) for value, _, _ in cases]
        seconds = [median(one[1:]) for one in times]
        exponent = fitted_exponent(values, seconds)
        grown[name] = AxisGrowth(values=values, seconds=seconds, exponent=exponent)
    return grown


def fitted_exponent(values: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the exponent of the power law through points, by least squares of the logarithms."""
    x, y = [math.log(value) for value in values], [math.log(second) for second in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)


def render_growth(growth: Mapping[str, AxisGrowth]) -> str:
    """Render one line per axis."""
    lines = []
    for name, axis in growth.items():
        pairs = zip(axis.values, axis.seconds, strict=True)
        points = ", ".join(f"{value:.0f}: {1e3 * second:.1f} ms" for value, second in pairs)
        lines.append(f"{name:<8} exponent {axis.exponent:.2f}   {points}")
    return "\n".join(lines)
