"""`jepawm eval --instructions` and `jepawm plan --goal`: goals in words, measured and shown."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jepawm.agent import PlanningAgent
from jepawm.captions import SPLITS, CaptionSplit, Instruction
from jepawm.contracts import KnowsCaptions, Objective, Planner, Simulator
from jepawm.engine.config import Precision
from jepawm.engine.process import tune_process
from jepawm.envs import build_env
from jepawm.errors import UserError, plain_text
from jepawm.evaluation.evaluate import evaluate
from jepawm.evaluation.instructions import InstructedEnv, Misled, draw_instructions, swap
from jepawm.evaluation.result_files import write_json
from jepawm.evaluation.results import MODEL, Results
from jepawm.evaluation.rollouts import Recorder
from jepawm.files import complete_or_absent
from jepawm.hub.load import LoadedModel, load
from jepawm.planning.binding import takes_text
from jepawm.planning.terms.text import TextDistance
from jepawm.report.animation import write_animation
from jepawm.runs.caption_sources import known_captions
from jepawm.runs.evaluate import (
    TaskRules,
    default_folder,
    find_tasks,
    new_recorder,
    split_of,
    unused_folder,
    with_precision,
)
from jepawm.runs.run_folder import EVALUATION, first_takes, training_files
from jepawm.texts import Text
from jepawm.types import Task


@dataclass(frozen=True, kw_only=True)
class WrittenLanguage:
    """How well instructions are carried out, and where that is written."""

    results: Results
    """Success of every row; `swapped` is the model with the instruction of another task."""
    instructions: CaptionSplit
    """Which sentences were given."""
    texts: tuple[str, ...]
    """The sentence of each task."""
    written: Path
    """Path of the file."""


@dataclass(frozen=True, kw_only=True)
class SpokenPlan:
    """One plan for a text, executed."""

    env: str
    """Name of the environment."""
    protocol: str
    """Name of the protocol."""
    seed: int
    """Seed of the start and of the planner."""
    text: str
    """The goal."""
    place: str | None
    """Which place it names; None where the environment does not know the sentence."""
    success: bool | None
    """Whether the sentence holds at the end; None where nobody can say."""
    animation: Path
    """Path of `plan.gif`."""


def evaluate_language(
    source: str,
    rules: TaskRules,
    *,
    instructions: str,
    objective: Objective | None = None,
    planner: Planner | None = None,
    precision: Precision | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    device: str = "cpu",
    encoder_weights: str | None = None,
) -> WrittenLanguage:
    """Measure how often instructions are carried out; writes `language_<instructions>.json`.

    Args:
        source: run folder.
        rules: tasks and protocol; the starts are theirs.
        instructions: `seen`, `paraphrases` or `compositions`.
        objective: what plans minimise; None: the distance to the text.
        planner: planner in place of the experiment's; None keeps it.
        precision: precision of planning in place of the experiment's; None keeps it.
        out: folder for the results; None is the run's own folder, or a new one below `runs`.
        overwrite: replace results that are there.
        device: device to plan on.
        encoder_weights: where the weights of a frozen encoder are here; None: where its training
            found them.
    """
    tune_process()
    split = _split(instructions)
    objective = objective or TextDistance()
    if not takes_text(objective):
        raise UserError(
            "--instructions are goals in words, and the objective compares with none; add `text` to it"
        )
    folder = out or default_folder(source, f"{rules.protocol}-{split}")
    with first_takes(folder, by=EVALUATION):
        path = folder / f"language_{split}.json"
        if path.exists() and not overwrite:
            raise UserError(
                f"{folder} already holds {path.name}; give another --out, or --overwrite"
            )
        loaded = load(source, device=device, encoder_weights=encoder_weights)
        agent = loaded.agent(
            protocol=rules.read(loaded.experiment),
            planner=planner,
            objective=objective,
            config=with_precision(loaded.experiment.agent, precision),
        )
        results, drawn = _measure(loaded, agent, rules, split=split)
        texts = tuple(one.text for one in drawn)
        content = {
            **results.to_json(),
            "instructions": split,
            "texts": list(texts),
            "texts_sha256": hashlib.sha256(json.dumps(texts).encode()).hexdigest(),
        }
        beside = training_files(loaded.run, folder, overwrite=overwrite)
        write_json(path, content, beside=beside)
    return WrittenLanguage(results=results, instructions=split, texts=texts, written=path)


def plan_text_run(
    source: str,
    text: str,
    *,
    seed: int,
    protocol: str,
    objective: Objective | None = None,
    out: Path | None = None,
    device: str = "cpu",
    encoder_weights: str | None = None,
    data_root: Path | None = None,
) -> SpokenPlan:
    """Plan from the start of one task of the test split towards a text; write an animation."""
    tune_process()
    goal = Text(text)
    folder = out or unused_folder(Path("runs") / f"plan-{Path(source).name}-text-seed{seed}")
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} already holds files; choose another --out")
    loaded = load(source, device=device, encoder_weights=encoder_weights)
    env = _simulator(loaded, None)
    name = loaded.experiment.env
    agent = loaded.agent(protocol=protocol, objective=objective or TextDistance(), seed=seed)
    rules = TaskRules(protocol=protocol, num_tasks=1, seed=seed, data_root=data_root)
    (task,) = find_tasks(loaded.experiment, env, protocol=agent.protocol, rules=rules)
    known = env.captions.find(text) if isinstance(env, KnowsCaptions) else None
    shown = task.start if known is None else known.place.middle_from(task.start)
    recorder = new_recorder(loaded)
    success = _carry_out(
        env, agent, replace(task, goal=shown), goal=goal, recorder=recorder, known=known
    )
    with complete_or_absent(folder) as partial:
        write_animation(recorder.rollouts(), partial / "plan.gif")
    return SpokenPlan(
        env=name,
        protocol=protocol,
        seed=seed,
        text=text,
        place=None if known is None else known.place.name,
        success=success,
        animation=folder / "plan.gif",
    )


def _split(name: str) -> CaptionSplit:
    for known in SPLITS:
        if name == known:
            return known
    raise UserError(f"--instructions {plain_text(name)}; choose {', '.join(SPLITS)}")


def _simulator(loaded: LoadedModel, env: str | None) -> Simulator:
    built = loaded.make_env() if env is None else build_env(env, image_size=loaded.image_size)
    if not isinstance(built, Simulator):
        raise UserError("the environment is no simulator, so nobody knows whether a text holds")
    return built


def _measure(
    loaded: LoadedModel, agent: PlanningAgent, rules: TaskRules, *, split: CaptionSplit
) -> tuple[Results, list[Instruction]]:
    """Run all rows on the same instructions."""
    name = rules.env or loaded.experiment.env
    env = _simulator(loaded, rules.env)
    tasks, drawn = draw_instructions(
        known_captions(env, name=name),
        find_tasks(loaded.experiment, env, protocol=agent.protocol, rules=rules),
        split=split,
        seed=rules.seed,
    )
    told = InstructedEnv(env, drawn)
    results = evaluate(
        told,
        {MODEL: agent, "swapped": Misled(agent, told, texts=swap(drawn))},
        tasks=tasks,
        seed=rules.seed,
        split=split_of(rules.split),
        env_name=name,
        tasks_per_batch=rules.tasks_per_batch,
    )
    return results, drawn


def _carry_out(
    env: Simulator,
    agent: PlanningAgent,
    task: Task,
    *,
    goal: Text,
    recorder: Recorder,
    known: Instruction | None,
) -> bool | None:
    """Run one episode; returns whether the sentence holds at its end, None where nobody can say."""
    obs, rules = env.reset([task]), agent.protocol
    agent.reset(goal, rules.num_steps)
    recorder.start([task], env.goal_observation(), frameskip=rules.frameskip)
    recorder.record_step(obs, env)
    for _ in range(rules.num_steps):
        block = agent.act(obs).cpu().numpy()
        recorder.record_plan(agent)
        for actions in np.split(block, rules.frameskip, axis=1):
            obs = env.step(actions)
            recorder.record_step(obs, env)
    success = None if known is None else bool(known.place.holds(env.states()[0]))
    recorder.finish(np.array([success is True]))
    return success
