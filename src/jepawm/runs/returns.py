"""`jepawm eval --objective reward`: what plans on a learned reward earn in the true one."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from jepawm.agent import PlanningAgent
from jepawm.checkpoint import load_checkpoint
from jepawm.contracts import Objective, Planner, Simulator, TaskSource
from jepawm.engine.config import Precision
from jepawm.engine.process import tune_process
from jepawm.envs import build_env
from jepawm.envs.rewards import require_reward, rewarding
from jepawm.errors import UserError
from jepawm.evaluation.result_files import write_json
from jepawm.evaluation.returns import (
    ReturnResults,
    RewardedSimulator,
    draw_behaviour,
    evaluate_returns,
)
from jepawm.files import data_root as default_data_root
from jepawm.hub.load import LoadedModel, load
from jepawm.hub.rewards import require_reward_record
from jepawm.planning.terms.composition import needs_goal, parts_of
from jepawm.planning.terms.reward import Reward
from jepawm.records import RewardRecord
from jepawm.runs.evaluate import TaskRules, default_folder, find_tasks, split_of, with_precision
from jepawm.runs.run_folder import EVALUATION, first_takes, training_files

FILE = "returns.json"
"""Name of the file with what was earned."""


@dataclass(frozen=True, kw_only=True)
class WrittenReturns:
    """What an agent earned, and where that is written."""

    results: ReturnResults
    """What was found."""
    written: Path
    """Path of `returns.json`."""


def is_goal_free(objective: Objective | None) -> bool:
    """Return whether an objective is there and compares with no goal."""
    return objective is not None and not needs_goal(objective)


def evaluate_reward(
    source: str,
    rules: TaskRules,
    *,
    objective: Objective,
    reward: str | None,
    planner: Planner | None = None,
    precision: Precision | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    device: str = "cpu",
    encoder_weights: str | None = None,
) -> WrittenReturns:
    """Measure what plans without a goal earn; writes `returns.json`.

    Args:
        source: run folder.
        rules: tasks and protocol.
        objective: what plans minimise.
        reward: name of the true reward; None: the one that the objective's reward learned from.
        planner: planner in place of the experiment's; None keeps it.
        precision: precision of planning in place of the experiment's; None keeps it.
        out: folder for the results; None is the run's own folder, or a new one below `runs`.
        overwrite: replace results that are there.
        device: device to plan on.
        encoder_weights: where the weights of a frozen encoder are here; None: where its training
            found them.
    """
    if rules.hold_steps is not None or rules.swept or rules.object_only:
        raise UserError(
            "--hold-steps, --swept and --object-only say when a goal is reached, and this objective "
            "has none; leave them out"
        )
    tune_process()
    folder = out or default_folder(source, f"{rules.protocol}-reward")
    with first_takes(folder, by=EVALUATION):
        if (folder / FILE).exists() and not overwrite:
            raise UserError(f"{folder} already holds {FILE}; give another --out, or --overwrite")
        loaded = load(source, device=device, encoder_weights=encoder_weights)
        agent = loaded.agent(
            protocol=rules.protocol,
            planner=planner,
            objective=objective,
            config=with_precision(loaded.experiment.agent, precision),
        )
        results = _measure(loaded, agent, rules, reward=reward)
        beside = training_files(loaded.run, folder, overwrite=overwrite)
        path = write_json(folder / FILE, results.to_json(), beside=beside)
    return WrittenReturns(results=results, written=path)


def _measure(
    loaded: LoadedModel, agent: PlanningAgent, rules: TaskRules, *, reward: str | None
) -> ReturnResults:
    """Run all rows in the environment, measured by the reward of that name."""
    name = rules.env or loaded.experiment.env
    env = loaded.make_env() if rules.env is None else build_env(name, image_size=loaded.image_size)
    known = rewarding(env, name=name).reward_names
    wanted = reward or _learned_from(loaded, agent.objective)
    if wanted is None:
        raise UserError(
            f"name the true reward that is measured by --reward (known: {', '.join(known)})"
        )
    require_reward(wanted, known)
    if not isinstance(env, Simulator):
        raise UserError(f"{name} is no simulator, so there is no oracle of its rewards")
    policy = loaded.experiment.data.policy
    behaviour = None
    if not isinstance(policy, TaskSource):  # which replays recordings, from their own starts
        behaviour = draw_behaviour(
            policy,
            num_tasks=rules.num_tasks,
            protocol=agent.protocol,
            seed=rules.seed,
            data_root=default_data_root(rules.data_root),
        )
    return evaluate_returns(
        cast(RewardedSimulator, env),
        agent,
        reward=wanted,
        tasks=find_tasks(loaded.experiment, env, protocol=agent.protocol, rules=rules),
        env_name=name,
        behaviour=behaviour,
        seed=rules.seed,
        split=split_of(rules.split),
        tasks_per_batch=rules.tasks_per_batch,
    )


def _learned_from(loaded: LoadedModel, objective: Objective) -> str | None:
    """Return the name of the true reward that a reward of the objective learned from."""
    for part in parts_of(objective):
        if isinstance(part, Reward) and part.head is None:
            record = read_reward(loaded.run / part.folder)
            column = record.source.get("column")
            return column if isinstance(column, str) else None
    return None


def read_reward(folder: Path) -> RewardRecord:
    """Return what a reward on the disk says of itself."""
    return require_reward_record(load_checkpoint(folder), source=folder)


__all__ = ["WrittenReturns", "evaluate_reward", "is_goal_free", "read_reward"]
