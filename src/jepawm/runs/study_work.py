"""The work of one worker of a sweep: train a model, evaluate it, or measure what acts without one."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from jepawm.build import build_windows, with_encoder_weights
from jepawm.contracts import Agent, Env
from jepawm.engine.process import tune_process
from jepawm.envs import build_env
from jepawm.errors import UserError
from jepawm.evaluation.evaluate import row_agents
from jepawm.evaluation.metrics import wilson_interval
from jepawm.evaluation.results import MODEL
from jepawm.files import alone
from jepawm.hub.load import LoadedModel, load
from jepawm.models.frozen.encoder import FrozenEncoder, SmallViTConfig
from jepawm.models.world_model import JEPAWorldModel
from jepawm.planning.ask_tell import require_package
from jepawm.protocol import hash_tasks
from jepawm.runs.datasets import find_or_collect, find_or_compute_features
from jepawm.runs.evaluate import TaskRules, find_tasks
from jepawm.runs.pretrain import pretrain_run
from jepawm.runs.run_folder import provenance
from jepawm.runs.train import train_run
from jepawm.study.folder import (
    TrainedModel,
    Work,
    read_pretrained,
    read_trained,
    read_work,
    write_measured,
    write_trained,
)
from jepawm.study.jobs import Job, JobKind
from jepawm.study.measures import (
    LatentErrors,
    latent_errors,
    rounded,
    run_tasks,
    windows_needed,
)
from jepawm.study.rows import Measured, Measures
from jepawm.training.pretraining.settings import METHODS, ViTConfig
from jepawm.types import Task


def do_work(path: Path) -> Job:
    """Do the job of a file, unless its result is there; returns it.

    A worker whose sweep was killed may still be at it: this one waits for it.
    """
    tune_process()
    work = read_work(path)
    place = work.folder.root / "working" / work.job.file_name
    with alone(place):
        if not work.folder.result(work.job).is_file():
            _WORK[work.job.kind](work)
    return work.job


def _pretrain(work: Work) -> None:
    setup = work.job.setup
    experiment, encoder = setup.experiment, setup.experiment.encoder
    assert isinstance(encoder, SmallViTConfig)
    vit = ViTConfig(size=encoder.size, patch_size=encoder.patch_size, image_size=encoder.image_size)
    config = replace(METHODS[str(setup.pretraining)], vit=vit, seed=experiment.seed)
    store = find_or_collect(experiment.env, experiment.data, data_root=work.data_root)
    out = work.folder.pretrained(setup)
    found = pretrain_run(store.path, config, out=out, device=work.device, resume=True)
    write_trained(work, TrainedModel(seconds=found.training_seconds, parameters=found.parameters))


def _train(work: Work) -> None:
    run = work.folder.model(work.job.id)
    experiment, before = work.job.setup.experiment, 0.0
    require_package(experiment.planner)  # the evaluation comes hours later
    build_env(experiment.env, image_size=experiment.data.image_size)
    if work.job.setup.pretraining is not None:
        folder = work.folder.pretrained(work.job.setup)
        experiment = with_encoder_weights(experiment, str(folder))
        before = read_pretrained(work.folder, work.job.setup).seconds
    trained = train_run(
        experiment,
        out=run,
        data_root=work.data_root,
        device=work.device,
        resume=True,
        explicit=False,
        trust=True,
    )
    model = load(run, trust=True).model
    parameters = sum(one.numel() for one in _learned(model))
    write_trained(
        work, TrainedModel(seconds=before + trained.training_seconds, parameters=parameters)
    )


def _learned(model: JEPAWorldModel) -> list[torch.nn.Parameter]:
    frozen = isinstance(model.encoder, FrozenEncoder)
    names = model.named_parameters()
    return [one for name, one in names if not (frozen and name.startswith("encoder."))]


def _evaluate(work: Work) -> None:
    began = perf_counter()
    setup = work.job.setup
    loaded = _load(work)
    env = loaded.make_env()
    tasks = _tasks(env, work)
    agent = loaded.agent(protocol=setup.protocol)
    measured = _measure(env, tasks, agent=agent, name=MODEL, work=work)
    errors = _latent_errors(loaded, work)
    measures = replace(
        measured.measures,
        error_over_copying=errors.over_copying,
        effective_rank=errors.effective_rank,
    )
    seconds = rounded(perf_counter() - began)
    write_measured(work, [replace(measured, measures=measures, evaluation_seconds=seconds)])


def _measure_references(work: Work) -> None:
    loaded = _load(work)
    env = loaded.make_env()
    tasks = _tasks(env, work)
    agent = loaded.agent(protocol=work.job.setup.protocol)
    rows = row_agents(env, {}, agent=agent, protocol=work.job.setup.protocol)
    found: list[Measured] = []
    for name, one in rows.items():
        if name != MODEL:
            began = perf_counter()
            measured = _measure(env, tasks, agent=one, name=name, work=work)
            seconds = rounded(perf_counter() - began)
            found.append(replace(measured, evaluation_seconds=seconds))
    write_measured(work, found)


def _load(work: Work) -> LoadedModel:
    """Load the model of a job, to plan as the job's experiment says."""
    loaded = load(work.folder.model(work.job.model), device=work.device, trust=True)
    encoder = loaded.experiment.encoder  # with the place of its weights
    return replace(loaded, experiment=replace(work.job.setup.experiment, encoder=encoder))


def _tasks(env: Env, work: Work) -> list[Task]:
    rules, setup = work.rules, work.job.setup
    return find_tasks(
        setup.experiment,
        env,
        protocol=setup.protocol,
        rules=TaskRules(
            num_tasks=rules.num_tasks,
            seed=rules.task_seed,
            split=rules.split,
            tasks_per_batch=rules.tasks_per_batch,
            data_root=work.data_root,
        ),
    )


def _measure(env: Env, tasks: list[Task], *, agent: Agent, name: str, work: Work) -> Measured:
    rules, setup = work.rules, work.job.setup
    found = run_tasks(env, tasks, agent=agent, name=name, protocol=setup.protocol, rules=rules)
    trained = read_trained(work.folder, work.job.model)
    known = bool(np.isfinite(found.distance).all())
    content = setup.to_json()
    source = provenance()
    protocol = content["protocol"]
    assert isinstance(protocol, dict)
    return Measured(
        row=name,
        env=setup.experiment.env,
        success=float(found.success.mean()),
        ci95=wilson_interval(int(found.success.sum()), len(tasks)),
        measures=Measures(
            final_distance=rounded(float(found.distance.mean())) if known else None,
            blocks_to_success=rounded(float(found.blocks.mean())),
        ),
        outcomes="".join("01"[int(one)] for one in found.success),
        distances=tuple(rounded(one) for one in found.distance.tolist()) if known else (),
        episodes=len(tasks),
        task_seed=rules.task_seed,
        split=rules.split,
        tasks_sha256=hash_tasks(tasks),
        protocol={"name": setup.protocol.name, **protocol},
        setup=work.job.id,
        model=work.job.model,
        parameters=trained.parameters,
        training_seconds=rounded(trained.seconds),
        evaluation_seconds=0.0,
        versions=source.versions,
        commit=source.commit,
        num_threads=source.num_threads,
    )


def _latent_errors(loaded: LoadedModel, work: Work) -> LatentErrors:
    experiment = loaded.experiment
    longest = experiment.data.episode_steps // experiment.data.frameskip
    steps, context = windows_needed(
        loaded.model.window, horizon=work.job.setup.protocol.horizon, longest=longest
    )
    device = torch.device(work.device)
    store = find_or_collect(experiment.env, experiment.data, data_root=work.data_root)
    features = find_or_compute_features(experiment, store, data_root=work.data_root, device=device)
    data = replace(experiment.data, num_steps=max(steps, experiment.loss.rollout_steps))
    _, held_out = build_windows(replace(experiment, data=data), store, features=features)
    if held_out is None:
        raise UserError("data.train_fraction = 1 leaves no episode to measure errors on; lower it")
    return latent_errors(loaded.model, held_out, context=context, device=device)


_WORK: Mapping[JobKind, Callable[[Work], None]] = {
    "pretrain": _pretrain,
    "train": _train,
    "evaluate": _evaluate,
    "references": _measure_references,
}
