"""Measure a world model by planning with it, beside agents that have none."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from jepawm.agent import PlanningAgent
from jepawm.contracts import Agent, Env, Simulator
from jepawm.errors import UserError
from jepawm.evaluation.baselines import DoNothing, Oracle, RandomActions, oracle_planner
from jepawm.evaluation.episodes import Outcome, join, run_episodes
from jepawm.evaluation.metrics import paired_difference, wilson_interval
from jepawm.evaluation.motion import row_motion
from jepawm.evaluation.readings import unsolved_tasks
from jepawm.evaluation.results import MODEL, ROWS, Results, Row, describe, versions
from jepawm.evaluation.rollouts import Recorder
from jepawm.evaluation.seeds import reseed
from jepawm.processes import count_processes, gather, is_first, process_rank, together
from jepawm.protocol import Protocol, Split, draw_tasks, hash_tasks
from jepawm.records import JsonValue
from jepawm.types import Task

DEFAULT_TASKS_PER_BATCH = 16
"""Tasks that run in lockstep; with the paper's planner they fill the rollout engine."""


def evaluate(
    env: Env,
    agents: PlanningAgent | Mapping[str, Agent],
    *,
    num_tasks: int = 96,
    seed: int = 0,
    split: Split = "test",
    tasks: Sequence[Task] | None = None,
    protocol: Protocol | None = None,
    env_name: str | None = None,
    recorder: Recorder | None = None,
    tasks_per_batch: int = DEFAULT_TASKS_PER_BATCH,
    show_progress: bool = True,
) -> Results:
    """Run an agent on tasks, beside doing nothing, random actions and the oracle.

    The oracle plans on true dynamics: it runs where `env` is a `Simulator`. Tasks run in batches,
    dealt out to the processes. A batch has random numbers of its own, so that nothing depends on
    the number of processes; all must call this.

    Args:
        env: the environment.
        agents: the agent, or agents by name: `model`, with which all are compared, and your own.
        num_tasks: tasks to draw.
        seed: seed of the tasks and of all random numbers.
        split: `test`, or `val` for choices made during development.
        tasks: tasks in place of drawn ones.
        protocol: length of the episodes and when success is read; None: that of the agent.
        env_name: name of the environment in the results; None: that of its class.
        recorder: keeps the model's first episodes, in the first process.
        tasks_per_batch: tasks that run in lockstep.
        show_progress: show bars on stderr.
    """
    if tasks_per_batch < 1:
        raise UserError(f"tasks_per_batch = {tasks_per_batch}; give at least 1")
    given = {MODEL: agents} if isinstance(agents, PlanningAgent) else dict(agents)
    agent = _model_agent(given, env)
    rules = _rules(protocol, agent)
    if tasks is None:
        draw = partial(_draw, env, seed=seed, split=split)
        tasks = unsolved_tasks(env, draw, num_tasks=num_tasks, protocol=rules)
    planner, objective = describe(agent.planner), describe(agent.objective)
    searches = describe(oracle_planner(agent.planner)) if isinstance(env, Simulator) else None
    outcomes = _run_rows(
        env,
        row_agents(env, given, agent=agent, protocol=rules),
        batches=[tasks[i : i + tasks_per_batch] for i in range(0, len(tasks), tasks_per_batch)],
        protocol=rules,
        seed=seed,
        recorder=recorder,
        show_progress=show_progress,
    )
    oracle = outcomes.get("oracle")
    return Results(
        env=env_name or type(env).__name__,
        protocol=rules.name,
        num_tasks=len(tasks),
        seed=seed,
        split=split,
        tasks_per_batch=tasks_per_batch,
        tasks_sha256=hash_tasks(tasks),
        rows=summarize(outcomes, rules),
        seconds_per_plan=outcomes[MODEL].seconds_per_plan(rules),
        oracle_seconds_per_plan=None if oracle is None else oracle.seconds_per_plan(rules),
        dropped_candidates=outcomes[MODEL].num_dropped,
        searched_plans=outcomes[MODEL].num_searched,
        planner=planner,
        oracle_planner=searches,
        objective=objective,
        agent={
            "window": agent.config.window,
            "warm_start": agent.config.warm_start,
            "bounds": None if agent.bounds is None else [_finite(bound) for bound in agent.bounds],
        },
        engine=asdict(agent.config.engine),
        protocol_settings=rules,
        state_to_pixel=env.state_to_pixel if isinstance(env, Simulator) else None,
        versions=versions(),
    )


def summarize(outcomes: Mapping[str, Outcome], protocol: Protocol) -> dict[str, Row]:
    """Return success rates and intervals of the rows, and how the model compares with each."""
    success = {name: outcome.success(protocol) for name, outcome in outcomes.items()}
    oracle = outcomes.get("oracle")
    return {
        name: Row(
            success=float(success[name].mean()),
            interval=wilson_interval(int(success[name].sum()), len(success[name])),
            at_any_time=float(outcome.at_any_time.mean()),
            model_minus=(
                None if name == MODEL else paired_difference(success[MODEL], success[name])
            ),
            motion=row_motion(
                outcome.motion,
                success[name],
                oracle=None if oracle is None else oracle.motion,
                oracle_success=success.get("oracle"),
            ),
        )
        for name, outcome in outcomes.items()
    }


def _model_agent(agents: Mapping[str, Agent], env: Env) -> PlanningAgent:
    """Return the agent that is measured; the names of the others must be free."""
    agent = agents.get(MODEL)
    if not isinstance(agent, PlanningAgent):
        raise UserError(
            f"evaluate needs an agent that plans with a world model, called {MODEL!r}; among "
            f"{', '.join(agents) or 'none'} there is none"
        )
    taken = sorted(agents.keys() & ROWS.keys() - {MODEL})
    if taken:
        raise UserError(f"{taken[0]!r} is a row of every evaluation; give your own another name")
    if env.action_dim != agent.normalizer.action_dim:
        raise UserError(
            f"the environment takes actions of width {env.action_dim}, the checkpoint's "
            f"statistics have {agent.normalizer.action_dim}; it is for another environment"
        )
    return agent


def _draw(env: Env, count: int, *, seed: int, split: Split) -> list[Task]:
    return draw_tasks(env, num_tasks=count, seed=seed, split=split)


def _rules(protocol: Protocol | None, agent: PlanningAgent) -> Protocol:
    """Return the rules of the evaluation, under which the agent must plan."""
    if protocol is None:
        return agent.protocol
    for name in ("horizon", "num_action_steps", "frameskip"):
        wanted, own = getattr(protocol, name), getattr(agent.protocol, name)
        if wanted != own:
            raise UserError(
                f"protocol.{name} = {wanted} of the evaluation, {own} of the agent; make the agent "
                f"with protocol {protocol.name!r}"
            )
    return protocol


def row_agents(
    env: Env, agents: Mapping[str, Agent], *, agent: PlanningAgent, protocol: Protocol
) -> dict[str, Agent]:
    """Return the agents of all rows in the order in which they run."""
    normalizer, frameskip = agent.normalizer, protocol.frameskip
    rows: dict[str, Agent] = {
        "do_nothing": DoNothing(action_dim=frameskip * env.action_dim),
        "random": RandomActions(normalizer=normalizer, frameskip=frameskip),
    }
    if isinstance(env, Simulator):
        rows["oracle"] = Oracle(
            env,
            planner=agent.planner,
            normalizer=normalizer,
            protocol=protocol,
            config=agent.config,
        )
    own = {name: one for name, one in agents.items() if name != MODEL}
    return {**rows, **own, MODEL: agent}


def _run_rows(
    env: Env,
    agents: Mapping[str, Agent],
    *,
    batches: Sequence[Sequence[Task]],
    protocol: Protocol,
    seed: int,
    recorder: Recorder | None,
    show_progress: bool,
) -> dict[str, Outcome]:
    """Run the batches of this process, and return the outcome of each row in all processes."""
    mine = range(process_rank(), len(batches), count_processes())
    found: dict[tuple[str, int], Outcome] = {}
    with together(), _progress(show_progress and is_first()) as progress:
        for name, agent in agents.items() if mine else ():
            bar = progress.add_task(name, total=protocol.num_steps * len(mine))
            for number in mine:
                first = sum(len(batch) for batch in batches[:number])
                numbers = range(first, first + len(batches[number]))
                reseed(agent, name, seed=seed, tasks=numbers)
                found[name, number] = run_episodes(
                    env,
                    batches[number],
                    agent=agent,
                    protocol=protocol,
                    on_block=lambda bar=bar: progress.advance(bar),
                    recorder=recorder if (name, number) == (MODEL, 0) else None,
                )
            rate = join([found[name, number] for number in mine]).success(protocol).mean()
            progress.update(bar, description=f"{name} {rate:.1%}")
    parts = {key: outcome for one in gather(found) for key, outcome in one.items()}
    return {name: join([parts[name, n] for n in range(len(batches))]) for name in agents}


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
