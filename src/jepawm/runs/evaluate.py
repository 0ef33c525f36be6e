"""`jepawm eval` and `jepawm plan`: success of a trained model and of the baselines, and one plan."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from jepawm.agent import AgentConfig, PlanningAgent
from jepawm.compute import count_gflop, matmul_peak
from jepawm.contracts import Env, Objective, Planner, TaskSource
from jepawm.engine.config import Precision
from jepawm.engine.kernels.split_products import kernel_formulas
from jepawm.engine.process import tune_process
from jepawm.envs import RECORDINGS, build_env
from jepawm.errors import UserError
from jepawm.evaluation.evaluate import DEFAULT_TASKS_PER_BATCH, evaluate
from jepawm.evaluation.readings import unsolved_tasks
from jepawm.evaluation.result_files import check_output, write_results
from jepawm.evaluation.results import Efficiency, Results
from jepawm.evaluation.rollouts import Recorder
from jepawm.experiment import Experiment
from jepawm.files import complete_or_absent
from jepawm.files import data_root as default_data_root
from jepawm.hub.load import LoadedModel, load, load_experiment
from jepawm.planning.best_of import BestOf
from jepawm.processes import from_first, together
from jepawm.protocol import MOST_TASKS, Protocol, Split, draw_tasks, task_seed
from jepawm.report import write_report
from jepawm.report.animation import write_animation
from jepawm.runs.run_folder import EVALUATION, first_takes, training_files
from jepawm.training.devices import join_processes
from jepawm.types import Observation, Task

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TaskRules:
    """Which tasks are solved, and under which protocol."""

    protocol: str = "paper"
    """Name of a protocol of the experiment."""
    num_tasks: int = 96
    """Tasks to solve."""
    seed: int = 0
    """Seed of tasks and planner."""
    split: str = "test"
    """`test` or `val`."""
    tasks_per_batch: int = DEFAULT_TASKS_PER_BATCH
    """Tasks that run in lockstep; random numbers belong to a batch."""
    data_root: Path | None = None
    """Folder of recordings that tasks may come from; None: the default one."""
    env: str | None = None
    """Environment to act in; None: the one that the model was trained for."""
    hold_steps: int | None = None
    """Environment steps for which the goal must hold; None: those of the protocol."""
    swept: bool = False
    """Whether success counts no longer after a step through a wall."""
    object_only: bool = False
    """Whether the pose of what is moved alone counts."""

    def read(self, experiment: Experiment) -> Protocol:
        """Return the protocol of the experiment, read as strictly as these rules say."""
        return experiment.protocol(self.protocol).read_strictly(
            hold_steps=self.hold_steps, swept=self.swept, object_only=self.object_only
        )


@dataclass(frozen=True, kw_only=True)
class WrittenResults:
    """What an evaluation found, and where it is written."""

    results: Results
    """What was found."""
    written: Path
    """Path of `results.json`."""


@dataclass(frozen=True, kw_only=True)
class ExecutedPlan:
    """One task, planned and executed."""

    env: str
    """Name of the environment."""
    protocol: str
    """Name of the protocol."""
    seed: int
    """Seed of task and planner."""
    success: bool
    """Whether the goal was reached, as the protocol counts it."""
    final_distance: float
    """Distance between the last state and the goal's; NaN where states are unknown."""
    seconds_per_plan: float
    """Wall seconds of a plan."""
    animation: Path
    """Path of `plan.gif`."""
    report: Path
    """Path of `report.html`."""


def evaluate_run(
    source: str,
    rules: TaskRules,
    *,
    planner: Planner | None = None,
    objective: Objective | None = None,
    precision: Precision | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    device: str = "cpu",
    encoder_weights: str | None = None,
) -> WrittenResults:
    """Evaluate a run or a bundled checkpoint; writes `results.json` and `rollouts.npz`.

    Where a launcher started several processes, each calls this and the first one writes.

    Args:
        source: run folder or bundled name.
        rules: tasks and protocol.
        planner: planner in place of the experiment's; None keeps it.
        objective: what plans minimise in place of the experiment's; None keeps it.
        precision: precision of planning in place of the experiment's; None keeps it.
        out: folder for the results; None is the run's own folder, or a new one below `runs`.
        overwrite: replace results that are there.
        device: device to plan on.
        encoder_weights: where the weights of a frozen encoder are here; None: where its training
            found them.
    """
    tune_process()
    join_processes()
    folder = from_first(lambda: out or default_folder(source, rules.protocol))
    with first_takes(folder, by=EVALUATION):
        with together():
            check_output(folder, overwrite=overwrite)
            loaded = load(source, device=device, encoder_weights=encoder_weights)
            agent = loaded.agent(
                protocol=rules.read(loaded.experiment),
                planner=planner,
                objective=objective,
                config=with_precision(loaded.experiment.agent, precision),
            )
        recorder = new_recorder(loaded)
        results = _evaluate(loaded, agent, rules, recorder=recorder, show_progress=True)

        def write() -> WrittenResults:
            whole = replace(results, efficiency=_efficiency(loaded, agent, results))
            path = write_results(
                whole,
                folder,
                rollouts=recorder.rollouts(),
                beside=training_files(loaded.run, folder, overwrite=overwrite),
                overwrite=overwrite,
            )
            return WrittenResults(results=whole, written=path)

        return from_first(write)


def plan_run(
    source: str,
    *,
    seed: int,
    protocol: str,
    objective: Objective | None = None,
    out: Path | None = None,
    device: str = "cpu",
    encoder_weights: str | None = None,
    data_root: Path | None = None,
) -> ExecutedPlan:
    """Plan one task of the test split, execute the plan, write an animation and a report."""
    tune_process()
    name = Path(source).name
    folder = out or unused_folder(Path("runs") / f"plan-{name}-seed{seed}")
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} already holds files; choose another --out")
    loaded = load(source, device=device, encoder_weights=encoder_weights)
    recorder = new_recorder(loaded)
    rules = TaskRules(protocol=protocol, num_tasks=1, seed=seed, data_root=data_root)
    agent = loaded.agent(protocol=protocol, objective=objective)
    results = _evaluate(loaded, agent, rules, recorder=recorder, show_progress=False)
    rollouts = recorder.rollouts()
    with complete_or_absent(folder) as partial:
        write_animation(rollouts, partial / "plan.gif")
        beside = training_files(loaded.run, partial, overwrite=False)
        write_results(results, partial, rollouts=rollouts, beside=beside)
        write_report(partial)
    away = rollouts.states[0, -1] - rollouts.goal_states[0]  # [S]; tasks of a robot hold no state
    return ExecutedPlan(
        env=results.env,
        protocol=results.protocol,
        seed=seed,
        success=bool(rollouts.success[0]),
        final_distance=float(np.linalg.norm(away)) if away.size else float("nan"),
        seconds_per_plan=results.seconds_per_plan,
        animation=folder / "plan.gif",
        report=folder / "report.html",
    )


def _evaluate(
    loaded: LoadedModel,
    agent: PlanningAgent,
    rules: TaskRules,
    *,
    recorder: Recorder,
    show_progress: bool,
) -> Results:
    name = rules.env or loaded.experiment.env
    env = loaded.make_env() if rules.env is None else build_env(name, image_size=loaded.image_size)
    return evaluate(
        env,
        agent,
        tasks=find_tasks(loaded.experiment, env, protocol=agent.protocol, rules=rules),
        seed=rules.seed,
        split=split_of(rules.split),
        env_name=name,
        recorder=recorder,
        tasks_per_batch=rules.tasks_per_batch,
        show_progress=show_progress,
    )


def new_recorder(loaded: LoadedModel) -> Recorder:
    """Return a recorder that sees with the probe and, where it has one that fits, the decoder of a model."""
    try:
        decoder = loaded.decoder
    except UserError as error:
        _LOG.warning("%s; the report will show no imagined pictures", error)
        decoder = None
    return Recorder(probe=loaded.probe, decoder=None if decoder is None else decoder.pixels)


def find_tasks(
    experiment: Experiment, env: Env, *, protocol: Protocol, rules: TaskRules
) -> list[Task]:
    """Draw tasks: from the experiment's recorded behaviour where it has any, else from `env`."""
    split, source = split_of(rules.split), experiment.data.policy
    if not 1 <= rules.num_tasks <= MOST_TASKS:
        raise UserError(f"--episodes {rules.num_tasks}; give at least 1, at most {MOST_TASKS}")

    def draw(count: int) -> list[Task]:
        if not isinstance(source, TaskSource):
            return draw_tasks(env, num_tasks=count, seed=rules.seed, split=split)
        return source.draw_tasks(
            task_seed(rules.seed, split),
            num_tasks=count,
            num_steps=protocol.goal_steps or protocol.max_env_steps,
            split=split,
            data_root=default_data_root(rules.data_root),
        )

    return unsolved_tasks(env, draw, num_tasks=rules.num_tasks, protocol=protocol)


def split_of(name: str) -> Split:
    """Return the split called `name`."""
    if name not in ("val", "test"):
        raise UserError(f"unknown split {name!r} (known: test, val)")
    return name


def with_precision(config: AgentConfig, precision: Precision | None) -> AgentConfig:
    """Return the agent's settings with another precision of planning; None keeps it."""
    if precision is None:
        return config
    return replace(config, engine=replace(config.engine, precision=precision))


def default_planner(source: str) -> Planner:
    """Return the planner that a run was configured with."""
    return load_experiment(source).planner


def has_simulator(source: str) -> bool:
    """Return whether a model was trained for an environment, and not on recordings alone."""
    return load_experiment(source).env != RECORDINGS


def default_folder(source: str, protocol: str) -> Path:
    """Return where results go if the user names no folder: the run, or a new folder."""
    if Path(source).is_dir():
        return Path(source)
    return unused_folder(Path("runs") / f"eval-{source}-{protocol}")


def unused_folder(folder: Path) -> Path:
    """Return `folder`, or the first of `folder-2`, `folder-3`, ... that does not exist."""
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def _efficiency(loaded: LoadedModel, agent: PlanningAgent, results: Results) -> Efficiency:
    """Return GFLOP of a plan, counted in one of full length, and the fraction of the matmul peak."""
    protocol = agent.protocol
    lengths = [
        min(protocol.horizon, protocol.num_steps - start)
        for start in range(0, protocol.num_steps, protocol.num_action_steps)
    ]
    mean_length = sum(lengths) / len(lengths) / protocol.horizon  # plans shorten near the end
    gflop = mean_length * gflop_per_plan(loaded, agent)
    peak = matmul_peak(loaded.normalizer.action_mean.device)
    return Efficiency(
        gflop_per_plan=gflop, fraction_of_peak=gflop / results.seconds_per_plan / peak
    )


def gflop_per_plan(loaded: LoadedModel, agent: PlanningAgent) -> float:
    """Count the GFLOP of one plan of full length, without the encoding of the observation.

    Proposals are refined in it, and not searched: what `best_of` does for most problems at most.
    """
    size = loaded.image_size
    mean = loaded.normalizer.proprio_mean
    obs = Observation(
        pixels=torch.zeros(1, 3, size, size, dtype=torch.uint8),
        proprio=None if mean is None else mean[None].cpu(),
    )
    engine = replace(agent.config.engine, num_threads=1)  # only this one is counted
    planner = agent.planner
    if isinstance(planner, BestOf):
        planner = replace(planner, refine_above=0.0, poor_above=None)
    alone = loaded.agent(
        protocol=agent.protocol,
        planner=planner,
        objective=agent.objective,
        config=replace(agent.config, engine=engine),
    )
    alone.reset(obs)
    with torch.no_grad():
        encoding = count_gflop(
            lambda: loaded.model.encode(obs.to(loaded.normalizer.action_mean.device))
        )
    return count_gflop(lambda: alone.act(obs), formulas=kernel_formulas()) - encoding
