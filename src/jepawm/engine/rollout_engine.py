"""Cost and latents of many candidate plans of many problems; where the speed of planning lives."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from jepawm.contracts import CandidateRollout, Objective, SharesContext, WorldModel
from jepawm.engine.config import CompileMode, EngineConfig
from jepawm.engine.process import keep_compiled_code_private
from jepawm.engine.shared_context import share_context
from jepawm.errors import UserError
from jepawm.models.world_model import JEPAWorldModel
from jepawm.planning.binding import ANY_NUMBER
from jepawm.planning.gradients import differentiate
from jepawm.types import Context, Latent, concatenate

WORTH_THREADS = 8e6
"""FLOP of a matrix product above which more than one thread pays; below, threads wait."""
WORTH_READING = 1e6
"""FLOP of a matrix product for one token above which more than one thread pays for any number of
tokens: its weight is so large that reading it takes longest."""
WORTH_WORKERS = 64
"""Tokens of a thread from which it pays that each thread rolls out candidates of its own: no thread
waits for another at the end of each product, but each reads all weights."""

WORTH_COMPILING = 16
"""A chunk this many times smaller than the largest before it is not compiled: it is what a planner
asks for once in a plan, such as the cost of its mean."""

Piece = tuple[slice, slice]
"""Problems and candidates."""
Result = TypeVar("Result")


class RolloutEngine:
    """Roll candidates out of contexts `[B]`, which are encoded and projected once for all."""

    def __init__(
        self,
        model: WorldModel,
        context: Context,
        *,
        window: int | None = None,
        config: EngineConfig | None = None,
    ) -> None:
        """Take contexts; each prediction sees the last `window` latents (None: the model's).

        A model with our predictor computes nothing twice, and so may one that shares contexts by
        itself (`SharesContext`); any other is rolled out plainly, from contexts that are repeated.
        """
        self._config = config or EngineConfig()
        self._model, self._context, self._window = model, context, window or model.window
        self._with_gradients = torch.is_grad_enabled()
        self._roll = _compiled(self._config.compile)
        self._largest_chunk = 0  # candidates
        self._workers: Workers | None = None

    @cached_property
    def _rollout(self) -> CandidateRollout:
        """Return the contexts, prepared at the first rollout: some planners need none."""
        config, device = self._config, self._context.actions.device
        with (
            torch.set_grad_enabled(self._with_gradients),  # those of the weights, as at the start
            computing(config, device, flop=float("inf")),
        ):
            return _share(self._model, self._context, window=self._window, config=config)

    def prepared(self) -> "RolloutEngine":
        """Return this engine with its contexts prepared already."""
        _ = self._rollout
        return self

    def latents(self, actions: Float[Tensor, "B K H A"]) -> Latent:
        """Return predicted latents `[B, K, H]`, equal to plain rollouts."""
        pieces = self._each(
            actions, lambda piece: self._kept(actions, piece).map(lambda part: part.flatten(0, 1))
        )
        joined = pieces[0] if len(pieces) == 1 else concatenate(pieces, dim=0)  # [B * K, H]
        return joined.map(lambda part: part.unflatten(0, actions.shape[:2]))

    def cost(
        self, actions: Float[Tensor, "B K H A"], *, objective: Objective, goal: Latent
    ) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]` for goals `[B]`; the latents of one chunk are kept at a time."""

        def one(piece: Piece) -> Tensor:
            predicted = self._chunk(actions[piece], piece[0])
            return objective(predicted, goal[piece[0]], actions[piece]).flatten()

        return torch.cat(self._each(actions, one)).view(actions.shape[:2])

    def cost_and_gradient(
        self, actions: Float[Tensor, "B K H A"], *, objective: Objective, goal: Latent
    ) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B K H A"]]:
        """Return costs `[B, K]` and the gradient of each; threads have candidates of their own."""

        def one(piece: Piece) -> tuple[Tensor, Tensor]:
            def cost(chosen: Tensor) -> Tensor:
                predicted = self._chunk(chosen, piece[0])
                return objective(predicted, goal[piece[0]], chosen)

            found, gradient = differentiate(cost, actions[piece])
            return found.flatten(), gradient.flatten(0, 1)

        costs, gradients = zip(*self._each(actions, one), strict=True)
        return torch.cat(costs).view(actions.shape[:2]), torch.cat(gradients).view_as(actions)

    def cost_to(self, goal: Latent, *, objective: Objective) -> "GoalCost":
        """Return the cost function for goals `[B]`, or for one that stands for any number."""
        count, problems = goal.batch_shape[0], len(self._context.actions)
        if count not in (problems, ANY_NUMBER):
            raise UserError(
                f"{count} goals for {problems} observations; give one for each, or one for all"
            )
        return GoalCost(engine=self, goal=goal, objective=objective)

    def of(self, problems: Int[Tensor, " b"]) -> "RolloutEngine":
        """Return the engine of some of the problems."""
        context = self._context[problems]
        return RolloutEngine(self._model, context, window=self._window, config=self._config)

    def _each(self, actions: Tensor, function: Callable[[Piece], Result]) -> list[Result]:
        """Apply a function to every piece; where it pays, each thread has pieces of its own."""
        config, device, rollout = self._config, actions.device, self._rollout
        pieces, num_workers = self._cut(actions)
        if num_workers == 1:
            num_candidates = actions.shape[0] * actions.shape[1] // len(pieces)
            flop = num_candidates * rollout.tokens_per_candidate * rollout.flop_per_token
            flop = float("inf") if rollout.flop_per_token > WORTH_READING else flop
            with computing(config, device, flop=flop):
                return [function(piece) for piece in pieces]

        def alone(piece: Piece) -> Result:
            with computing(replace(config, num_threads=1), device, flop=0.0):
                return function(piece)

        if self._workers is None:
            self._workers = Workers(config.num_threads or torch.get_num_threads())
        return self._workers.map(alone, pieces)

    def _cut(self, actions: Tensor) -> tuple[list[Piece], int]:
        """Return pieces that fit into memory and cache, and how many are computed at a time."""
        config, on_cpu = self._config, actions.device.type == "cpu"
        num_candidates, each = (
            actions.shape[0] * actions.shape[1],
            self._rollout.tokens_per_candidate,
        )
        needed = self._rollout.bytes_per_candidate(actions.shape[2])
        most = config.max_memory_bytes // needed
        if most < 1:
            raise UserError(
                f"engine.max_memory_bytes = {config.max_memory_bytes} is too little for one "
                f"candidate of {actions.shape[2]} steps; the least that works is {needed}"
            )
        num_workers = 1
        whole = isinstance(self._rollout, PlainRollout) or config.compile != "off"
        if on_cpu and not whole and not torch.is_grad_enabled():
            threads = config.num_threads or torch.get_num_threads()
            num_workers = max(1, min(threads, num_candidates * each // WORTH_WORKERS, most))
        most = most // num_workers
        if on_cpu:
            most = min(most, max(1, config.chunk_tokens // each))
        if num_workers > 1:  # all have the same to do
            rounds = -(-num_candidates // (most * num_workers))
            most = -(-num_candidates // (rounds * num_workers))
        return list(chunks(*actions.shape[:2], max_candidates=most)), num_workers

    def _kept(self, actions: Tensor, piece: Piece) -> Latent:
        """Roll a chunk out whose latents outlast the next one: graphs write into their own memory."""
        rolled = self._chunk(actions[piece], piece[0])
        return rolled if self._config.compile == "off" else rolled.map(torch.clone)

    def _chunk(self, chosen: Tensor, problems: slice) -> Latent:
        """Roll a chunk out; with CUDA graphs the next one overwrites its latents."""
        num_candidates = chosen.shape[0] * chosen.shape[1]
        self._largest_chunk = max(self._largest_chunk, num_candidates)
        compiled = num_candidates * WORTH_COMPILING >= self._largest_chunk
        roll = self._roll if compiled else _roll
        return roll(self._rollout.part(problems), chosen).to(chosen.dtype)


@dataclass(frozen=True, kw_only=True, eq=False)
class GoalCost:
    """The cost of candidates for given goals, a `CostFn` that can be had for some problems."""

    engine: RolloutEngine
    """What rolls them out."""
    goal: Latent
    """Goals `[B]`."""
    objective: Objective
    """What scores them."""

    def __call__(self, actions: Float[Tensor, "B K H A"]) -> Float[Tensor, "B K"]:
        """Return costs `[B, K]`."""
        return self.engine.cost(actions, objective=self.objective, goal=self.goal)

    def with_gradient(
        self, actions: Float[Tensor, "B K H A"]
    ) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B K H A"]]:
        """Return costs `[B, K]` and their gradient."""
        return self.engine.cost_and_gradient(actions, objective=self.objective, goal=self.goal)

    def of(self, problems: Int[Tensor, " b"]) -> "GoalCost":
        """Return the cost function of some of the problems."""
        return replace(self, engine=self.engine.of(problems), goal=self.goal[problems])


@contextmanager
def computing(config: EngineConfig, device: torch.device, *, flop: float) -> Iterator[None]:
    """Compute products of `flop` with the threads and precision of `config`, then as before."""
    if config.precision == "bfloat16x3" and device.type != "cpu":
        raise UserError(
            f"engine.precision = bfloat16x3 is for CPUs; on {device.type} take tf32 or bfloat16"
        )
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    chosen = config.num_threads or (threads if flop > WORTH_THREADS else 1)
    halved = torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16")
    if chosen != threads:
        torch.set_num_threads(chosen)
    if config.precision == "tf32":
        torch.set_float32_matmul_precision("high")
    try:
        with halved:
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
        if chosen != threads:
            torch.set_num_threads(threads)


def chunks(
    num_problems: int, num_candidates: int, *, max_candidates: int
) -> Iterator[tuple[slice, slice]]:
    """Yield slices of problems and candidates that cover all in order, evenly and within the cap."""
    if max_candidates < 1:
        raise ValueError(f"max_candidates = {max_candidates}; give at least 1")
    if num_candidates <= max_candidates:
        for problems in _even_slices(num_problems, max_candidates // num_candidates):
            yield problems, slice(0, num_candidates)
        return
    for problem in range(num_problems):
        for candidates in _even_slices(num_candidates, max_candidates):
            yield slice(problem, problem + 1), candidates


def _even_slices(length: int, most: int) -> list[slice]:
    """Cut `length` into as few slices as possible, of at most `most`, that differ by 1 at most."""
    count = -(-length // most)
    edges = [length * index // count for index in range(count + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def _share(
    model: WorldModel, context: Context, *, window: int, config: EngineConfig
) -> CandidateRollout:
    if isinstance(model, JEPAWorldModel) and not isinstance(model, SharesContext):
        return share_context(model.predictor, context, window=window, precision=config.precision)
    if config.precision == "bfloat16x3":
        raise UserError(
            "engine.precision = bfloat16x3 is for the predictors of this library, and "
            f"{type(model).__name__} has its own; take float32"
        )
    if isinstance(model, SharesContext):
        return model.share_context(context, window=window)
    return PlainRollout(model, context, window=window)


class PlainRollout:
    """Roll out a model that knows nothing of candidates, from contexts repeated for each."""

    flop_per_token = float("inf")

    def __init__(self, model: WorldModel, context: Context, *, window: int) -> None:
        """Take the model, contexts `[B]` and the latents that each prediction sees."""
        self._model = model
        self._context = context
        self._window = window
        self.tokens_per_candidate = window * context.latents.tokens.shape[-2]

    def bytes_per_candidate(self, horizon: int) -> int:
        """Return the memory of one candidate's latents; what the model needs inside is unknown."""
        latents = self._context.latents
        parts = [part for part in (latents.tokens, latents.proprio) if part is not None]
        one = sum(part[0, 0].nbytes for part in parts)
        return (2 * self._window + 3 * horizon) * one

    def part(self, problems: slice) -> "PlainRollout":
        """Return what rolls out some of the problems."""
        return PlainRollout(self._model, self._context[problems], window=self._window)

    def __call__(self, actions: Float[Tensor, "b K H A"]) -> Latent:
        """Roll candidates out; returns latents `[b, K, H]`."""
        shape = actions.shape[:2]

        def repeat(tensor: Tensor) -> Tensor:  # a view without a copy if there is one problem
            return tensor[:, None].expand(-1, shape[1], *tensor.shape[1:]).flatten(0, 1)

        contexts = self._context.map(repeat)
        rolled = self._model.rollout(contexts, actions.flatten(0, 1), window=self._window)
        return rolled.map(lambda tensor: tensor.unflatten(0, shape))


def _roll(rollout: CandidateRollout, actions: Float[Tensor, "b K H A"]) -> Latent:
    return rollout(actions)


def _compiled(mode: CompileMode) -> Callable[[CandidateRollout, Tensor], Latent]:
    if mode == "off":
        return _roll
    keep_compiled_code_private()
    return torch.compile(_roll, mode=mode, dynamic=False)


Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Some threads, started when they are first needed; they end with the object.

    Two threads that share each matrix product wait for each other at its end, which costs a little
    on an idle machine and most of the time on a busy one. Threads with work of their own do not wait.
    """

    def __init__(self, num_threads: int) -> None:
        """Take the number of threads."""
        self._pool = ThreadPoolExecutor(num_threads, initializer=_begin)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Apply a function to every item; an exception in a thread is raised here."""

        def work(item: Item) -> Result:
            with torch.no_grad():
                return function(item)

        threads = torch.get_num_threads()
        try:
            return list(self._pool.map(work, items))
        finally:
            torch.set_num_threads(threads)  # `_begin` changed what later threads would get


def _begin() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # each thread has its own setting
