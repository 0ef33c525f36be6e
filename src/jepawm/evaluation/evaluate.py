"""Measure a world model by planning with it, beside three agents that have none."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from jepawm.agent import PlanningAgent
from jepawm.contracts import Agent, Bounds, Objective, Planner, Simulator, WorldModel
from jepawm.engine.config import EngineConfig
from jepawm.errors import UserError
from jepawm.evaluation.baselines import DoNothing, Oracle, RandomActions
from jepawm.evaluation.episodes import Outcome, join, run_episodes
from jepawm.evaluation.recording import Probe, Recorder
from jepawm.evaluation.results import ROWS, Evaluation, JsonValue, describe, summarize, versions
from jepawm.evaluation.tasks import Split, draw_tasks, hash_tasks
from jepawm.normalizer import Normalizer
from jepawm.planning.objectives import LatentDistance, with_head
from jepawm.processes import count_processes, gather, is_first, process_rank, together
from jepawm.protocol import Protocol
from jepawm.types import Task

DEFAULT_TASKS_PER_BATCH = 16
"""Tasks that run in lockstep; with the paper's planner they fill the rollout engine."""


@dataclass(frozen=True, kw_only=True)
class PlanningSetup:
    """A world model and how it is planned with: what an evaluation measures."""

    model: WorldModel
    """The model, in evaluation mode, on the device of the normaliser."""
    normalizer: Normalizer
    """Statistics of the data that the model was trained on."""
    objective: Objective
    """Distance between predicted latents and the goal's; a dataclass."""
    planner: Planner
    """Planner of the model; a dataclass."""
    oracle_planner: Planner | None = None
    """Planner of the oracle; None: the same. A planner that follows gradients needs another one
    here, for simulators have none."""
    window: int
    """Plan context: observations that a plan starts from, at most the model's window."""
    bounds: Bounds | None = None
    """Lowest and highest normalised action block; None: the planner is free, as in the paper."""
    warm_start: bool = False
    """Whether a plan begins at what is left of the one before; the paper begins at 0."""
    engine: EngineConfig = EngineConfig()
    """How candidates are rolled out."""


def evaluate(
    env: Simulator,
    setup: PlanningSetup,
    *,
    env_name: str,
    protocol: Protocol,
    num_episodes: int = 96,
    seed: int = 0,
    split: Split = "test",
    tasks: Sequence[Task] | None = None,
    probe: Probe | None = None,
    num_recorded: int = 8,
    state_to_pixel: float | None = None,
    tasks_per_batch: int = DEFAULT_TASKS_PER_BATCH,
    show_progress: bool = True,
) -> Evaluation:
    """Run do-nothing, random, oracle and model on the same tasks.

    Tasks run in batches, dealt out to the processes. A batch has random numbers of its own, so
    that nothing depends on the number of processes; all must call this.

    The first `num_recorded` episodes (of the first batch) of the model are recorded for the
    report, in the first process; `probe` reads states out of what the model imagined, and
    `state_to_pixel` (pixels of a frame per unit of state; None: states are not places in the
    picture) lets the report draw them. `tasks` None draws them from the environment.

    Raises:
        UserError: if the parts do not fit together.
    """
    if tasks_per_batch < 1:
        raise UserError(f"tasks_per_batch = {tasks_per_batch}; give at least 1")
    if env.action_dim != setup.normalizer.action_dim:
        raise UserError(
            f"the environment takes actions of width {env.action_dim}, the checkpoint's "
            f"statistics have {setup.normalizer.action_dim}; it is for another environment"
        )
    if tasks is None:
        tasks = draw_tasks(env, num_tasks=num_episodes, seed=seed, split=split)
    batches = [tasks[i : i + tasks_per_batch] for i in range(0, len(tasks), tasks_per_batch)]
    recorder = Recorder(
        batches[0], num_tasks=num_recorded, frameskip=protocol.frameskip, probe=probe
    )
    described = _describe(setup, protocol)
    outcomes = _run_rows(
        env,
        setup,
        batches=batches,
        protocol=protocol,
        seed=seed,
        recorder=recorder,
        show_progress=show_progress,
    )
    results: dict[str, JsonValue] = {
        "env": env_name,
        "protocol": protocol.name,
        "episodes": len(tasks),
        "seed": seed,
        "split": split,
        "tasks_per_batch": tasks_per_batch,
        "tasks_sha256": hash_tasks(tasks),
        **summarize(outcomes, protocol),
        **described,
        "state_to_pixel": state_to_pixel,
        "versions": versions(),
    }
    rollouts = recorder.arrays(outcomes["model"].success(protocol)) if is_first() else {}
    return Evaluation(results=results, rollouts=rollouts)


def _run_rows(
    env: Simulator,
    setup: PlanningSetup,
    *,
    batches: Sequence[Sequence[Task]],
    protocol: Protocol,
    seed: int,
    recorder: Recorder,
    show_progress: bool,
) -> dict[str, Outcome]:
    """Run the batches of this process, and return the outcome of each row in all processes."""
    mine = range(process_rank(), len(batches), count_processes())
    agents = {n: row_agents(env, setup, protocol=protocol, seed=seed, batch=n) for n in mine}
    found: dict[tuple[str, int], Outcome] = {}
    with together(), _progress(show_progress and is_first()) as progress:
        for name in ROWS if mine else ():
            bar = progress.add_task(name, total=protocol.num_steps * len(mine))
            for number in mine:
                found[name, number] = run_episodes(
                    env,
                    batches[number],
                    agent=agents[number][name],
                    protocol=protocol,
                    on_block=lambda bar=bar: progress.advance(bar),
                    recorder=recorder if (name, number) == ("model", 0) else None,
                )
            rate = join([found[name, number] for number in mine]).success(protocol).mean()
            progress.update(bar, description=f"{name} {rate:.1%}")
    parts = {key: outcome for one in gather(found) for key, outcome in one.items()}
    return {name: join([parts[name, n] for n in range(len(batches))]) for name in ROWS}


def row_agents(
    env: Simulator, setup: PlanningSetup, *, protocol: Protocol, seed: int, batch: int
) -> dict[str, Agent]:
    """Return the agents of the four rows for one batch, each with random numbers of its own."""
    key = (batch,) if batch else ()
    streams = np.random.SeedSequence(seed, spawn_key=key).generate_state(3, np.uint64).tolist()
    random, oracle, model = (torch.Generator().manual_seed(word >> 1) for word in streams)
    normalizer, planner = setup.normalizer, setup.planner
    return {
        "do_nothing": DoNothing(action_dim=protocol.frameskip * env.action_dim),
        "random": RandomActions(
            normalizer=normalizer, frameskip=protocol.frameskip, generator=random
        ),
        "oracle": Oracle(
            env,
            planner=_oracle_planner(setup.oracle_planner or planner, protocol),
            normalizer=normalizer,
            protocol=protocol,
            generator=oracle,
            bounds=setup.bounds,
            warm_start=setup.warm_start,
        ),
        "model": planning_agent(setup, protocol, generator=model),
    }


def planning_agent(
    setup: PlanningSetup, protocol: Protocol, *, generator: torch.Generator
) -> PlanningAgent:
    """Return the agent that plans with the model as the protocol wants it."""
    objective = setup.objective
    if isinstance(objective, LatentDistance):
        objective = with_head(objective, getattr(setup.model, "step_distance", None))
    return PlanningAgent(
        model=setup.model,
        objective=objective,
        planner=setup.planner,
        normalizer=setup.normalizer,
        frameskip=protocol.frameskip,
        horizon=protocol.horizon,
        num_action_steps=protocol.num_action_steps,
        window=setup.window,
        generator=generator,
        bounds=setup.bounds,
        warm_start=setup.warm_start,
        engine=setup.engine,
    )


def _oracle_planner(planner: Planner, protocol: Protocol) -> Planner:
    """Return the planner with the protocol's numbers for the oracle.

    Raises:
        UserError: if the planner has no such numbers.
    """
    numbers = {
        "num_samples": protocol.oracle_samples,
        "num_iterations": protocol.oracle_iterations,
    }
    given = {name: number for name, number in numbers.items() if number is not None}
    missing = [name for name in given if not hasattr(planner, name)]
    if missing:
        raise UserError(
            f"protocol {protocol.name} sets {' and '.join(missing)} of the oracle's planner, which "
            f"{type(planner).__name__} does not have; choose another planner or protocol"
        )
    return replace(planner, **given) if given else planner  # pyright: ignore[reportArgumentType]


def _describe(setup: PlanningSetup, protocol: Protocol) -> dict[str, JsonValue]:
    agent: dict[str, JsonValue] = {
        "window": setup.window,
        "warm_start": setup.warm_start,
        "bounds": None if setup.bounds is None else [_finite(bound) for bound in setup.bounds],
    }
    return {
        "planner": describe(setup.planner),
        "oracle_planner": describe(setup.oracle_planner or setup.planner),
        "objective": describe(setup.objective),
        "agent": agent,
        "engine": asdict(setup.engine),
        "protocol_settings": asdict(protocol),
    }


def _finite(bound: Tensor) -> list[JsonValue]:
    """Return numbers for JSON, which knows no infinity: null where there is no bound."""
    return [value if math.isfinite(value) else None for value in bound.tolist()]


@contextmanager
def _progress(shown: bool) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as progress:
        yield progress
