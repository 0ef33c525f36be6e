"""The parts of `jepawm diagnose`, one function each: what is measured on a model, and what stands against it."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from jepawm.agent import PlanningAgent
from jepawm.checkpoint import find_checkpoint, read_record
from jepawm.contracts import Planner, Simulator
from jepawm.diagnosis.candidates import Candidates, rank_candidates, summarize_candidates
from jepawm.diagnosis.checkpoints import CheckpointFigures, Checkpoints, compare_checkpoints
from jepawm.diagnosis.experience import parts
from jepawm.diagnosis.failures import Episodes, Failures, summarize_failures, watch_episodes
from jepawm.diagnosis.landscape import Landscape, draw_landscapes
from jepawm.diagnosis.predictions import PredictionRules, Predictions, measure_predictions
from jepawm.diagnosis.problems import CatchProblem, pose_problem
from jepawm.diagnosis.results import PARTS, Part
from jepawm.errors import UserError
from jepawm.evaluation.evaluate import DEFAULT_TASKS_PER_BATCH
from jepawm.evaluation.results import MODEL
from jepawm.evaluation.seeds import reseed, row_seed
from jepawm.hub.load import LoadedModel, load
from jepawm.planning.cem import CEM
from jepawm.planning.draws import ProblemGenerators
from jepawm.protocol import MOST_TASKS, Protocol, Split
from jepawm.runs.evaluate import TaskRules, find_tasks
from jepawm.runs.experience import Acting, Experience, Recorded
from jepawm.runs.run_folder import KEPT
from jepawm.training.validation import spaced_indices
from jepawm.types import Observation, Task

LONGEST = 60
"""Action blocks of the longest predictions, if nobody says how many."""
_LEAST_STEPS, _LEAST_CHECKPOINTS = 3, 3
_LANDSCAPE_POINTS, _LANDSCAPE_EXTENT = 21, 2.0
_LOG = logging.getLogger(__name__)
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class DiagnosisRules:
    """What is measured, and how much of it."""

    parts: tuple[Part, ...] = PARTS
    """What is measured."""
    num_steps: int | None = None
    """Action blocks of the longest predictions; None: 60, on recordings at most half of the longest
    episode."""
    every: tuple[int, ...] = (1, 3, 6)
    """Action blocks between two real observations, one for each curve beside the open loop."""
    num_stretches: int = 96
    """Stretches of experience that are predicted."""
    num_tasks: int = 96
    """Tasks whose candidates are ranked and whose failures are counted."""
    num_candidates: int = 64
    """Candidates of each task that are carried out on the true dynamics, early and midway."""
    num_landscapes: int = 3
    """Tasks whose landscape is drawn."""
    directions: tuple[int, int] = (0, 1)
    """Numbers of an environment action that a landscape varies."""
    protocol: str = "paper"
    """Name of a protocol of the experiment."""
    split: Split = "val"
    """Which tasks and recordings."""
    seed: int = 0
    """Seed of experience, tasks and planner."""

    def __post_init__(self) -> None:
        """Check ranges; what fits the model and its recordings is checked later."""
        if not self.parts or not set(self.parts) <= set(PARTS):
            raise UserError(f"--parts {' '.join(self.parts)}: choose among {', '.join(PARTS)}")
        if self.split not in ("val", "test"):
            raise UserError(f"unknown split {self.split!r} (known: test, val)")
        least = {
            "steps": (self.num_steps, _LEAST_STEPS),
            "stretches": (self.num_stretches, 2),
            "tasks": (self.num_tasks, 2),
            "candidates": (self.num_candidates, 2),
            "landscapes": (self.num_landscapes, 1),
        }
        for name, (value, lowest) in least.items():
            if value is not None and not lowest <= value <= MOST_TASKS:
                raise UserError(f"--{name} {value}; give at least {lowest}, at most {MOST_TASKS}")
        if not 0 <= self.seed < 2**63:
            raise UserError(f"--seed {self.seed}; give 0 or more, below 2**63")
        if any(blocks < 1 for blocks in self.every):
            raise UserError(f"--every {' '.join(map(str, self.every))}; give numbers from 1 on")
        if len(set(self.directions)) != 2 or min(self.directions) < 0:
            raise UserError(
                f"--directions {self.directions[0]} {self.directions[1]}; give two different "
                "numbers of an action, from 0 on"
            )


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is diagnosed."""

    loaded: LoadedModel
    """The model."""
    rules: DiagnosisRules
    """What is measured."""
    experience: Experience
    """Where it is compared with what is real."""
    protocol: Protocol
    """How plans are made."""
    planner: Planner | None
    """Planner in place of the model's own; None keeps it."""
    data_root: Path
    """Folder of recordings that tasks may come from."""
    encoder_weights: str | None
    """Where the weights of a frozen encoder are here; None: where its training found them."""

    @property
    def simulator(self) -> Simulator | None:
        """Return the environment, if its states and dynamics are known."""
        env = self.experience.env if isinstance(self.experience, Acting) else None
        return env if isinstance(env, Simulator) else None

    @property
    def kept(self) -> list[Path]:
        """Return the kept checkpoints of the run, in the order of training."""
        folders = sorted((self.loaded.run / KEPT).glob("step-*"))
        return [folder for folder in folders if find_checkpoint(folder) == folder]

    def prediction_rules(self) -> PredictionRules:
        """Return what is predicted: as much as was asked for, on recordings as much as they allow."""
        experience, window = self.experience, self.loaded.experiment.agent.window
        most, num_steps = LONGEST, self.rules.num_steps
        num_stretches = self.rules.num_stretches
        if isinstance(experience, Recorded):
            longest = experience.longest(self.loaded.experiment.data.frameskip) - (window - 1)
            most = max(min(LONGEST, longest // 2), min(_LEAST_STEPS, longest))
            if (num_steps or most) > longest or longest < _LEAST_STEPS:
                raise UserError(
                    f"--steps {num_steps or _LEAST_STEPS}: the longest of the recordings has "
                    f"{longest} action blocks after its first {window} frames; give fewer, or "
                    "longer recordings by --data"
                )
            windows = experience.windows(self.loaded, num_steps=window - 1 + (num_steps or most))
            num_stretches = min(num_stretches, len(windows))
            if num_stretches < 2:
                raise UserError(
                    f"the recordings hold {num_stretches} stretch of {num_steps or most} action "
                    "blocks, an interval needs at least 2; lower --steps"
                )
        num_steps = num_steps or most
        return PredictionRules(
            num_stretches=num_stretches,
            num_steps=num_steps,
            window=window,
            every=tuple(one for one in dict.fromkeys(self.rules.every) if one < num_steps),
            horizon=min(self.protocol.horizon, num_steps),
        )

    def search(self) -> CEM:
        """Return the search whose candidates are ranked: CEM, as the model's planner if that is one."""
        own = self.loaded.experiment.planner
        planner = own if isinstance(own, CEM) else CEM()
        planner = replace(planner, patience=0, time_budget_s=None, num_proposals=0)
        if self.protocol.num_iterations is not None:
            planner = replace(planner, num_iterations=self.protocol.num_iterations)
        return planner

    def batches(self, title: str) -> Iterator[tuple[range, list[Task]]]:
        """Yield numbers and tasks of batches, as an evaluation runs them; shows progress."""
        tasks = self.tasks(self.rules.num_tasks)
        size = DEFAULT_TASKS_PER_BATCH
        numbers = [range(first, first + size) for first in range(0, len(tasks), size)]
        for batch in _shown(numbers, title, total=len(numbers)):
            chosen = batch[: len(tasks) - batch.start]
            yield chosen, tasks[chosen.start : chosen.stop]

    def tasks(self, count: int) -> list[Task]:
        """Draw tasks of the environment."""
        assert isinstance(self.experience, Acting)
        rules = TaskRules(
            protocol=self.protocol.name,
            num_tasks=count,
            seed=self.rules.seed,
            split=self.rules.split,
            data_root=self.data_root,
        )
        return find_tasks(
            self.loaded.experiment, self.experience.env, protocol=self.protocol, rules=rules
        )

    def catching_agent(self) -> PlanningAgent:
        """Return the model's agent, which poses problems and plans nothing."""
        return self.loaded.agent(protocol=self.protocol, planner=CatchProblem())


def obstacle(subject: Subject, part: Part) -> str:
    """Return why a part is not measured; empty if it is."""
    if part not in subject.rules.parts:
        return "not asked for"
    if part in ("candidates", "failures", "checkpoints") and subject.simulator is None:
        return "it needs a simulator: exact states, and what actions truly lead to"
    if part == "landscape" and subject.loaded.normalizer.action_dim < 2:
        return "an action has one number, so there are no two directions"
    if part == "checkpoints" and len(subject.kept) < _LEAST_CHECKPOINTS:
        return (
            f"the run has {len(subject.kept)} kept checkpoints, at least {_LEAST_CHECKPOINTS} are "
            "needed; train with --loop.keep-every"
        )
    return ""


def measure_drift(subject: Subject) -> Predictions:
    """Predict stretches of experience, and compare with what was seen."""
    return _predictions(subject, subject.loaded, subject.prediction_rules())


def measure_candidates(subject: Subject) -> Candidates:
    """Rank candidates of plans at the start of tasks, by cost and by true distance."""
    env, normalizer, rules = subject.simulator, subject.loaded.normalizer, subject.rules
    assert env is not None
    planner, agent = subject.search(), subject.catching_agent()
    found = []
    for numbers, tasks in subject.batches("ranking candidates"):
        obs = env.reset(tasks)
        problem = pose_problem(
            agent, obs, goal=env.goal_observation(), num_steps=subject.protocol.num_steps
        )
        seeds = [row_seed(MODEL, seed=rules.seed, task=number) for number in numbers]
        found.append(
            rank_candidates(
                problem,
                env,
                planner=planner,
                normalizer=normalizer,
                num_candidates=rules.num_candidates,
                generator=ProblemGenerators.seeded(seeds),
            )
        )
    return summarize_candidates(found, planner=planner)


def measure_landscapes(subject: Subject) -> list[Landscape]:
    """Draw the cost of the first tasks, or of stretches of recordings, over two directions of action."""
    normalizer, count, done = subject.loaded.normalizer, subject.rules.num_landscapes, None
    if isinstance(subject.experience, Recorded):
        horizon = subject.protocol.horizon
        clips = subject.experience.windows(subject.loaded, num_steps=horizon, normalize=False)
        batch = clips.batch(spaced_indices(clips, count))
        assert isinstance(batch.obs, Observation)  # these windows come without a feature cache
        obs, goal = batch.obs[:, 0], batch.obs[:, -1]
        done = normalizer.normalize_action(batch.actions.to(normalizer.action_mean.device))
    else:
        env = subject.experience.env
        obs = env.reset(subject.tasks(count))
        goal = env.goal_observation()
    return draw_landscapes(
        pose_problem(
            subject.catching_agent(), obs, goal=goal, num_steps=subject.protocol.num_steps
        ),
        subject.simulator,
        normalizer=normalizer,
        directions=subject.rules.directions,
        points=_LANDSCAPE_POINTS,
        extent=_LANDSCAPE_EXTENT,
        recorded=done,
    )


def measure_failures(subject: Subject) -> Failures:
    """Run the agent on tasks, and say where the episodes that fail stop."""
    agent = subject.loaded.agent(protocol=subject.protocol, planner=subject.planner)
    return summarize_failures(
        _episodes(subject, agent, "running episodes"),
        protocol=subject.protocol.name,
        planner=repr(agent.planner),
    )


def measure_checkpoints(subject: Subject) -> Checkpoints:
    """Measure error and success of the kept checkpoints of a run, on the same frames and tasks."""
    rules = subject.prediction_rules()
    rules = replace(rules, num_steps=max(rules.horizon, _LEAST_STEPS), every=())
    figures = []
    for folder in subject.kept:
        loaded = load(
            folder,
            device=str(subject.loaded.normalizer.action_mean.device),
            encoder_weights=subject.encoder_weights,
        )
        drift = _predictions(subject, loaded, rules).drift
        agent = loaded.agent(protocol=subject.protocol, planner=subject.planner)
        found = summarize_failures(
            _episodes(subject, agent, folder.name), protocol=subject.protocol.name, planner=""
        )
        if drift is None:  # collapsed: there is no error to speak of
            _LOG.warning("%s is left out: its latents do not vary", folder)
            continue
        figures.append(
            CheckpointFigures(
                step=read_record(folder).step or 0,
                errors=tuple(step.model for step in drift.curves["tokens"][0].steps),
                success=found.success,
                ci95=found.ci95,
            )
        )
    return compare_checkpoints(
        figures, protocol=subject.protocol.name, tasks=subject.rules.num_tasks
    )


def _predictions(subject: Subject, loaded: LoadedModel, rules: PredictionRules) -> Predictions:
    stretches = subject.experience.stretches(loaded, rules)
    total = len(parts(rules.num_stretches))
    return measure_predictions(
        loaded.model, _shown(stretches, "predicting", total=total), rules=rules
    )


def _episodes(subject: Subject, agent: PlanningAgent, title: str) -> list[Episodes]:
    """Run an agent on the tasks, with the random numbers that an evaluation gives it."""
    env = subject.simulator
    assert env is not None
    episodes = []
    for numbers, tasks in subject.batches(title):
        reseed(agent, MODEL, seed=subject.rules.seed, tasks=numbers)
        episodes.append(watch_episodes(env, tasks, agent=agent))
    return episodes


def _shown(items: Iterable[Item], title: str, *, total: int) -> Iterable[Item]:
    """Show on stderr how many of the items are done."""
    return track(items, title, total=total, console=Console(stderr=True))
