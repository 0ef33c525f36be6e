"""`jepawm eval`: success of a trained model beside the baselines, and what planning costs."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch

from jepawm.compute import count_gflop, matmul_peak
from jepawm.contracts import Planner, Simulator, TaskSource
from jepawm.engine.config import Precision
from jepawm.envs import ENVIRONMENTS, RECORDINGS
from jepawm.errors import UserError
from jepawm.evaluation.evaluate import (
    DEFAULT_TASKS_PER_BATCH,
    PlanningSetup,
    evaluate,
    planning_agent,
)
from jepawm.evaluation.results import Evaluation, check_output, write_evaluation
from jepawm.evaluation.tasks import Split, task_seed
from jepawm.experiment import Experiment
from jepawm.files import data_root as default_data_root
from jepawm.hub.load import LoadedModel, load, load_experiment
from jepawm.planning.cem import CEM
from jepawm.planning.presets import find_preset
from jepawm.processes import from_first, together
from jepawm.protocol import Protocol
from jepawm.training.devices import join_processes
from jepawm.types import Observation, Task

RECORD = ("experiment.json", "metrics.jsonl")
"""Files of a run that tell of its training."""


def evaluate_run(
    source: str,
    *,
    protocol: str,
    num_tasks: int,
    seed: int,
    split: str,
    out: Path | None,
    device: str,
    planner: object | None,
    precision: Precision | None = None,
    overwrite: bool = False,
    encoder_weights: str | None = None,
    tasks_per_batch: int = DEFAULT_TASKS_PER_BATCH,
    data_root: Path | None = None,
) -> dict[str, object]:
    """Evaluate a run or a bundled checkpoint; writes `results.json` and `rollouts.npz`.

    Where a launcher started several processes, each calls this and the first one writes.

    Args:
        source: run folder or bundled name.
        protocol: name of a protocol of the experiment.
        num_tasks: tasks to solve.
        seed: seed of tasks and planner.
        split: "val" or "test".
        out: folder for the results; None is the run's own folder, or a new one below `runs`.
        device: device to plan on.
        planner: planner in place of the experiment's; None keeps it.
        precision: precision of planning in place of the experiment's; None keeps it.
        overwrite: replace results that are there.
        encoder_weights: where the weights of a frozen encoder are here; None: where its training
            found them.
        tasks_per_batch: tasks that run in lockstep; random numbers belong to a batch.
        data_root: folder of recordings that tasks may come from; None means the default one.

    Raises:
        UserError: if anything does not fit.
    """
    torch.set_flush_denormal(True)
    join_processes()
    folder = from_first(lambda: out or default_folder(source, protocol))
    with together():
        check_output(folder, overwrite=overwrite)
        loaded = load(source, device=device, encoder_weights=encoder_weights)
        rules = loaded.experiment.protocol(protocol)
        setup = planning_setup(loaded, rules, planner=planner, precision=precision)
    evaluation = run_evaluation(
        loaded,
        setup,
        protocol=rules,
        num_tasks=num_tasks,
        seed=seed,
        split=split,
        tasks_per_batch=tasks_per_batch,
        data_root=data_root,
        show_progress=True,
    )

    def write() -> dict[str, object]:
        results = {**evaluation.results, **_efficiency(loaded, setup, rules, evaluation)}
        whole = replace(evaluation, results=results)
        path = write_evaluation(whole, folder, overwrite=overwrite)
        copy_record(loaded.record, folder)
        return {**results, "written": path}

    return from_first(write)


def run_evaluation(
    loaded: LoadedModel,
    setup: PlanningSetup,
    *,
    protocol: Protocol,
    num_tasks: int,
    seed: int,
    split: str,
    tasks_per_batch: int = DEFAULT_TASKS_PER_BATCH,
    data_root: Path | None = None,
    show_progress: bool,
) -> Evaluation:
    """Evaluate a loaded model in its environment, on tasks of recorded behaviour where it has any."""
    if split not in ("val", "test"):
        raise UserError(f"unknown split {split!r} (known: test, val)")
    if num_tasks < 1:
        raise UserError(f"--episodes {num_tasks}; give at least 1")
    experiment = loaded.experiment
    size = experiment.data.image_size
    env = build_env(experiment.env, image_size=size)
    checked = cast(Split, split)
    return evaluate(
        env,
        setup,
        env_name=experiment.env,
        protocol=protocol,
        num_episodes=num_tasks,
        seed=seed,
        split=checked,
        tasks=recorded_tasks(
            experiment,
            protocol=protocol,
            num_tasks=num_tasks,
            seed=seed,
            split=checked,
            data_root=data_root,
        ),
        probe=loaded.probe,
        state_to_pixel=env.state_to_pixel,
        tasks_per_batch=tasks_per_batch,
        show_progress=show_progress,
    )


def recorded_tasks(
    experiment: Experiment,
    *,
    protocol: Protocol,
    num_tasks: int,
    seed: int,
    split: Split,
    data_root: Path | None,
) -> list[Task] | None:
    """Draw tasks from the experiment's recorded behaviour; None where it has none.

    Raises:
        UserError: if the recordings are not below the data root (None: the default one).
    """
    source = experiment.data.policy
    if not isinstance(source, TaskSource):
        return None
    return source.draw_tasks(
        task_seed(seed, split),
        num_tasks=num_tasks,
        num_steps=protocol.goal_steps or protocol.max_env_steps,
        split=split,
        data_root=default_data_root(data_root),
    )


def build_env(name: str, *, image_size: int) -> Simulator:
    """Build the batched environment called `name`."""
    build = cast(Callable[..., Simulator], ENVIRONMENTS.get(name))
    return build(image_size=image_size)


def planning_setup(
    loaded: LoadedModel,
    protocol: Protocol,
    *,
    planner: object | None = None,
    precision: Precision | None = None,
) -> PlanningSetup:
    """Put a loaded model together with how it is planned with.

    `planner` None takes the experiment's, with the protocol's number of iterations; `precision`
    None takes the experiment's.
    """
    experiment = loaded.experiment
    engine = experiment.agent.engine
    if planner is None:
        planner = experiment.planner
        if protocol.num_iterations is not None and hasattr(planner, "num_iterations"):
            planner = replace(planner, num_iterations=protocol.num_iterations)  # pyright: ignore[reportArgumentType]
    chosen = cast(Planner, planner)
    return PlanningSetup(
        model=loaded.model,
        normalizer=loaded.normalizer,
        objective=experiment.objective,
        planner=chosen,
        oracle_planner=CEM() if chosen.needs_gradients else None,  # simulators have no gradients
        window=experiment.agent.window,
        warm_start=experiment.agent.warm_start,
        bounds=experiment.agent.bounds(
            action_dim=loaded.normalizer.action_dim,
            frameskip=protocol.frameskip,
            device=loaded.normalizer.action_mean.device,
        ),
        engine=engine if precision is None else replace(engine, precision=precision),
    )


def copy_record(source: Path, folder: Path) -> None:
    """Copy what tells of the training, so that the report of `folder` shows it too.

    Files that `folder` has already stay.
    """
    for name in RECORD:
        if (source / name).is_file() and not (folder / name).exists():
            shutil.copyfile(source / name, folder / name)


def default_planner(source: str) -> Planner:
    """Return the planner that a run was configured with."""
    return load_experiment(source).planner


def has_simulator(source: str) -> bool:
    """Return whether a model was trained for an environment, and not on recordings alone."""
    return load_experiment(source).env != RECORDINGS


def preset_planner(source: str, preset: str) -> Planner:
    """Return the planner of a preset for the action blocks of a run.

    Raises:
        UserError: if there is no such run or preset.
    """
    return find_preset(preset, frameskip=load_experiment(source).data.frameskip)


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


def _efficiency(
    loaded: LoadedModel, setup: PlanningSetup, protocol: Protocol, evaluation: Evaluation
) -> dict[str, float]:
    """Return GFLOP of a plan, counted in one of full length, and the fraction of the matmul peak."""
    seconds = evaluation.results["seconds_per_plan"]
    assert isinstance(seconds, float)
    lengths = [
        min(protocol.horizon, protocol.num_steps - start)
        for start in range(0, protocol.num_steps, protocol.num_action_steps)
    ]
    mean_length = sum(lengths) / len(lengths) / protocol.horizon  # plans shorten near the end
    gflop = mean_length * gflop_per_plan(loaded, setup, protocol=protocol)
    peak = matmul_peak(loaded.normalizer.action_mean.device)
    return {"gflop_per_plan": gflop, "fraction_of_peak": gflop / seconds / peak}


def gflop_per_plan(loaded: LoadedModel, setup: PlanningSetup, *, protocol: Protocol) -> float:
    """Count the GFLOP of one plan of full length, without the encoding of the observation."""
    device = loaded.normalizer.action_mean.device
    generator = torch.Generator(device).manual_seed(0)
    size = loaded.experiment.data.image_size
    mean = loaded.normalizer.proprio_mean
    obs = Observation(
        pixels=torch.zeros(1, 3, size, size, dtype=torch.uint8),
        proprio=None if mean is None else mean[None].cpu(),
    )
    alone = replace(setup, engine=replace(setup.engine, num_threads=1))  # only this one is counted
    agent = planning_agent(alone, protocol, generator=generator)
    agent.reset(obs)
    with torch.no_grad():
        encoding = count_gflop(lambda: loaded.model.encode(obs.to(device)))
    return count_gflop(lambda: agent.act(obs)) - encoding
