"""Planners from other packages, which are asked for candidates and told their costs."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.contracts import Bounds, CostFn
from jepawm.errors import missing_extra
from jepawm.planning.draws import draw_seeds
from jepawm.planning.limits import Limits, check_count, check_positive
from jepawm.planning.sampling import clamp
from jepawm.planning.search import Search
from jepawm.types import Plan

_FAR = 100.0
"""A bound that no plan reaches, in normalised actions, for a package that knows no infinite ones."""


def require_package(planner: object) -> None:
    """Refuse a planner whose package is not installed, before work begins that needs its plans."""
    if isinstance(planner, CMAES):
        _import("cma", extra="cma")
    if isinstance(planner, Nevergrad):
        _import("nevergrad", extra="nevergrad")


@dataclass(frozen=True, kw_only=True)
class CMAES:
    """Covariance matrix adaptation by the package `cma`; return the best candidate."""

    num_samples: int = 300
    """Candidates per problem and iteration."""
    num_iterations: int = 30
    """Iterations."""
    init_std: float = 1.0
    """Standard deviation at the start, in units of normalised actions."""
    patience: int = 0
    """Iterations without a lower cost after which the search ends; 0: never."""
    time_budget_s: float | None = None
    """Wall seconds of a plan, after which the best candidate is returned; None: no limit."""
    needs_gradients: ClassVar[bool] = False
    """Whether the cost must be differentiable."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        check_count("num_samples", self.num_samples, least=2)
        check_positive(init_std=self.init_std)
        self.limits.check()

    @property
    def limits(self) -> Limits:
        """Return what ends the search."""
        return Limits(
            num_iterations=self.num_iterations,
            patience=self.patience,
            time_budget_s=self.time_budget_s,
        )

    def plan(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,
    ) -> Plan:
        """Plan from the initial guess `init` `[B, H, A]`."""
        cma = _import("cma", extra="cma")

        def build(problem: _Problem) -> _Population:
            # With a number as seed the package would seed all of NumPy.
            draws = np.random.default_rng(problem.seed)
            options = {
                "popsize": self.num_samples,
                "bounds": [problem.low, problem.high],
                "randn": lambda *shape: draws.standard_normal(shape),
                "seed": np.nan,
                "verbose": -9,
            }
            return _CMAPopulation(cma.CMAEvolutionStrategy(problem.start, self.init_std, options))

        return _ask_and_tell(self, build, cost, init=init, bounds=bounds, generator=generator)


@dataclass(frozen=True, kw_only=True)
class Nevergrad:
    """Search by an optimiser of the package `nevergrad`; return the best candidate."""

    num_samples: int = 300
    """Candidates per problem and iteration."""
    num_iterations: int = 30
    """Iterations."""
    optimizer: Literal["NGOpt", "DiagonalCMA"] = "NGOpt"
    """`NGOpt` chooses by the size of the problem; the paper's choice."""
    init_std: float = 1.0
    """Standard deviation at the start, in units of normalised actions."""
    patience: int = 0
    """Iterations without a lower cost after which the search ends; 0: never."""
    time_budget_s: float | None = None
    """Wall seconds of a plan, after which the best candidate is returned; None: no limit."""
    needs_gradients: ClassVar[bool] = False
    """Whether the cost must be differentiable."""

    def __post_init__(self) -> None:
        """Refuse numbers that are out of range."""
        check_count("num_samples", self.num_samples, least=2)
        check_positive(init_std=self.init_std)
        self.limits.check()

    @property
    def limits(self) -> Limits:
        """Return what ends the search."""
        return Limits(
            num_iterations=self.num_iterations,
            patience=self.patience,
            time_budget_s=self.time_budget_s,
        )

    def plan(
        self,
        cost: CostFn,
        init: Float[Tensor, "B H A"],
        *,
        bounds: Bounds | None,
        generator: torch.Generator,
    ) -> Plan:
        """Plan from the initial guess `init` `[B, H, A]`."""
        nevergrad = _import("nevergrad", extra="nevergrad")

        def build(problem: _Problem) -> _Population:
            array = nevergrad.p.Array(init=problem.start).set_mutation(sigma=self.init_std)
            if np.isfinite(problem.low).any() or np.isfinite(problem.high).any():
                low = np.nan_to_num(problem.low, neginf=-_FAR)
                high = np.nan_to_num(problem.high, posinf=_FAR)
                array = array.set_bounds(low, high, method="bouncing")
            array.random_state = np.random.RandomState(problem.seed)
            built = self._build(nevergrad.optimizers.registry, array)
            return _NevergradPopulation(built, self.num_samples)

        return _ask_and_tell(self, build, cost, init=init, bounds=bounds, generator=generator)

    def _build(
        self, registry: Mapping[str, Callable[..., "_Nevergrad"]], array: object
    ) -> "_Nevergrad":
        """Return the optimiser; where NGOpt chooses a meta-model take DiagonalCMA, as the paper."""
        settings = {
            "budget": self.num_iterations * self.num_samples,
            "num_workers": self.num_samples,
        }
        built = registry[self.optimizer](array, **settings)
        chosen = getattr(getattr(built, "optim", None), "name", None)
        return registry["DiagonalCMA"](array, **settings) if chosen == "MetaModel" else built


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """One problem as flat arrays `[H A]`; bounds are infinite where the plan is free."""

    start: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seed: int


@runtime_checkable
class _Population(Protocol):
    """The optimiser of one problem."""

    def ask(self) -> Sequence[np.ndarray]:
        """Return flat candidates."""
        ...

    def tell(self, costs: Sequence[float]) -> None:
        """Take the costs of the candidates of the last `ask`, all finite."""
        ...


@runtime_checkable
class _Strategy(Protocol):
    """The part of `cma.CMAEvolutionStrategy` that is used."""

    def ask(self) -> list[np.ndarray]: ...
    def tell(self, candidates: Sequence[np.ndarray], costs: Sequence[float]) -> None: ...


class _CMAPopulation:
    def __init__(self, strategy: _Strategy) -> None:
        self._strategy = strategy
        self._asked: list[np.ndarray] = []

    def ask(self) -> list[np.ndarray]:
        self._asked = self._strategy.ask()
        return self._asked

    def tell(self, costs: Sequence[float]) -> None:
        self._strategy.tell(self._asked, costs)


@runtime_checkable
class _Candidate(Protocol):
    """A candidate of Nevergrad."""

    value: np.ndarray


@runtime_checkable
class _Nevergrad(Protocol):
    """The part of a Nevergrad optimiser that is used."""

    def ask(self) -> _Candidate: ...
    def tell(self, candidate: _Candidate, cost: float) -> None: ...


class _NevergradPopulation:
    def __init__(self, optimizer: _Nevergrad, num_samples: int) -> None:
        self._optimizer = optimizer
        self._num_samples = num_samples
        self._asked: list[_Candidate] = []

    def ask(self) -> list[np.ndarray]:
        self._asked = [self._optimizer.ask() for _ in range(self._num_samples)]
        return [candidate.value for candidate in self._asked]

    def tell(self, costs: Sequence[float]) -> None:
        for candidate, cost in zip(self._asked, costs, strict=True):
            self._optimizer.tell(candidate, cost)


def _ask_and_tell(
    settings: CMAES | Nevergrad,
    build: Callable[[_Problem], _Population],
    cost: CostFn,
    *,
    init: Float[Tensor, "B H A"],
    bounds: Bounds | None,
    generator: torch.Generator,
) -> Plan:
    """Give every problem an optimiser of its own; their candidates are evaluated as one batch."""
    search = Search(cost, init, bounds=bounds, limits=settings.limits)
    low, high = _flat_bounds(bounds, horizon=init.shape[1], width=init.shape[2])
    starts = clamp(init[:, None], bounds)[:, 0].flatten(1).cpu().double().numpy()  # [B, H A]
    seeds = draw_seeds(len(init), generator=generator)
    populations = [
        build(_Problem(start=start, low=low, high=high, seed=seed))
        for start, seed in zip(starts, seeds, strict=True)
    ]
    for _ in search.iterations():
        asked = np.stack([np.stack(population.ask()) for population in populations])
        flat = torch.from_numpy(asked).to(init)  # [B, K, H A]
        samples = clamp(flat.unflatten(2, init.shape[1:]), bounds)
        costs = search.evaluate(samples)
        worst = costs.masked_fill(~costs.isfinite(), -float("inf")).amax(1, keepdim=True)
        told = torch.minimum(costs, worst).double().tolist()
        for population, values in zip(populations, told, strict=True):
            population.tell(values)
    return search.best_plan()


def _flat_bounds(
    bounds: Bounds | None, *, horizon: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest entry of a flat plan `[H A]`, infinite where it is free."""
    if bounds is None:
        return np.full(horizon * width, -np.inf), np.full(horizon * width, np.inf)
    low, high = (np.tile(bound.cpu().double().numpy(), horizon) for bound in bounds)
    return low, high


def _import(name: str, *, extra: str) -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cma misses a plotting library that is not needed
            return import_module(name)
    except ImportError as error:
        raise missing_extra("this planner", error, package=name, extra=extra) from error
