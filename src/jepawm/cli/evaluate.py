"""`jepawm eval`, `plan` and `collect-plans`: act with a trained model."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import tyro

from jepawm.cli.choices import (
    DeviceName,
    choose_device,
    new_part,
    own_device,
    read_objective,
    trust_source,
)
from jepawm.cli.output import (
    render_evaluation,
    render_fields,
    render_offline,
    render_returns,
    to_json,
)
from jepawm.cli.parsing import Command, Outcome, first_name, parse, take_option
from jepawm.engine.config import Precision
from jepawm.errors import UserError
from jepawm.planning import PLANNERS
from jepawm.planning.presets import preset_names

if TYPE_CHECKING:  # at run time it is imported when needed: help does not wait for torch
    from jepawm.contracts import Objective, Planner
    from jepawm.runs import TaskRules


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """Options of `eval`."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run or checkpoint folder, or the name of a bundled or released checkpoint."""
    protocol: str = "paper"
    """Evaluation protocol: `paper` (one open-loop plan) or `mpc` (replan)."""
    hold_steps: int | None = None
    """Steps in a row for which the goal must hold; those of the protocol, mostly 1, if not given."""
    swept: bool = False
    """Count no success after a step that passed through a wall."""
    object_only: bool = False
    """Count the pose of what is moved alone, and leave out tasks that start with it at its goal."""
    num_tasks: Annotated[int, tyro.conf.arg(name="episodes")] = 96
    """Tasks to solve."""
    seed: int = 0
    """Seed of the tasks and of the planner."""
    split: str = "test"
    """Which tasks, or episodes of recordings: `test` or `val`."""
    reward: str | None = None
    """True reward to measure where no goal is needed; the one that its reward learned if not given."""
    instructions: str | None = None
    """Goals in words in place of pictures: sentences of the training (`seen`), the same places in other
    words (`paraphrases`), or words that were never together (`compositions`)."""
    env: str | None = None
    """Environment to act in, as noisy:wall@0.5; the one that the model was trained for if not given."""
    offline: bool = False
    """Measure on recordings instead of acting in a simulator, as models of recordings are anyway."""
    data: Path | None = None
    """Recordings to measure on, of any known format; held-out episodes of the training if not given."""
    horizon: int = 3
    """Action blocks to the goal in plans on recordings."""
    data_root: Path | None = None
    """Folder for data sets; `$JEPAWM_DATA` or the user's cache folder if not given."""
    out: Path | None = None
    """Folder for `results.json` and `rollouts.npz`; the run's own folder if not given."""
    overwrite: bool = False
    """Replace results that are in `--out` already."""
    encoder_weights: str | None = None
    """Where the weights of a frozen encoder are here: `hub`, a path, or random:SEED; where its
    training found them if not given."""
    processes: int = 1
    """Processes on this machine that share the tasks; the results are the same."""
    tasks_per_batch: int = 16
    """Tasks that run in lockstep in one process; each batch has random numbers of its own."""
    precision: Precision | None = None
    """Precision of planning; `bfloat16` is rounder and faster; the run's own if not given."""
    device: DeviceName = "auto"
    """Device to compute on."""
    trust: bool = False
    """Run code of other people that only the run names: parts given as my_module:MyThing."""
    json: bool = False
    """Print the result as one JSON object."""


def prepare_eval(argv: list[str]) -> Command:
    """Parse `jepawm eval`."""
    trust_source(first_name(argv, known=[]), trust="--trust" in argv)  # the planner may need it
    objective, rest = take_objective(argv)
    parts, rest = take_planner(rest)
    options, parsed = parse(
        EvalOptions,
        rest,
        verb="eval",
        description=f"Evaluate a run. --planner NAME chooses among {', '.join(PLANNERS.names())}; "
        "with it, --help lists the fields, as --planner.num-samples. "
        f"--preset NAME takes settings that are known to do well: {', '.join(preset_names())}. "
        "--objective 'goal + 0.2 * smoothness' composes what plans minimise; `jepawm list` has the names.",
        parts=parts,
    )

    def run() -> Outcome:
        from jepawm.runs import TaskRules, evaluate_run, has_simulator, is_goal_free

        trust_source(options.source, trust=options.trust)
        planner, offline = parsed.get("planner"), options.offline or options.data is not None
        if offline or not (options.env or has_simulator(options.source)):
            _refuse_acting(options)
            return _run_offline(options, planner, objective)
        rules = TaskRules(
            protocol=options.protocol,
            num_tasks=options.num_tasks,
            seed=options.seed,
            split=options.split,
            tasks_per_batch=options.tasks_per_batch,
            data_root=options.data_root,
            env=options.env,
            hold_steps=options.hold_steps,
            swept=options.swept,
            object_only=options.object_only,
        )
        if options.instructions is not None:
            return _run_language(options, rules, planner, objective)
        if objective is not None and is_goal_free(objective):
            return _run_returns(options, rules, planner, objective)
        if options.reward is not None:
            raise UserError(
                "--reward is measured where nothing is to be reached; give an --objective without a goal"
            )
        done = evaluate_run(
            options.source,
            rules,
            planner=cast("Planner | None", planner),
            objective=objective,
            precision=options.precision,
            out=options.out,
            overwrite=options.overwrite,
            device=own_device(choose_device(options.device)),
            encoder_weights=options.encoder_weights,
        )
        return Outcome(
            result={**done.results.to_json(), "written": done.written},
            text=render_evaluation(done.results, done.written),
        )

    return Command(run=run, as_json=options.json, processes=options.processes)


def _refuse_acting(options: EvalOptions) -> None:
    for name in ("env", "hold_steps", "swept", "object_only"):
        if getattr(options, name):
            option = name.replace("_", "-")
            raise UserError(
                f"--{option} is for acting in an environment, recordings are measured without; drop one"
            )


def _run_language(
    options: EvalOptions, rules: "TaskRules", planner: object | None, objective: "Objective | None"
) -> Outcome:
    from jepawm.launch import read_launch
    from jepawm.runs import evaluate_language

    if read_launch().count > 1:
        raise UserError("instructions are measured in one process; leave out --processes")
    done = evaluate_language(
        options.source,
        rules,
        instructions=cast(str, options.instructions),
        objective=objective,
        planner=cast("Planner | None", planner),
        precision=options.precision,
        out=options.out,
        overwrite=options.overwrite,
        device=own_device(choose_device(options.device)),
        encoder_weights=options.encoder_weights,
    )
    result = {
        **done.results.to_json(),
        "instructions": done.instructions,
        "texts": list(done.texts),
        "written": done.written,
    }
    return Outcome(result=result, text=render_evaluation(done.results, done.written))


def _run_returns(
    options: EvalOptions, rules: "TaskRules", planner: object | None, objective: "Objective"
) -> Outcome:
    from jepawm.launch import read_launch
    from jepawm.runs import evaluate_reward

    if read_launch().count > 1:
        raise UserError("returns are measured in one process; leave out --processes")
    done = evaluate_reward(
        options.source,
        rules,
        objective=objective,
        reward=options.reward,
        planner=cast("Planner | None", planner),
        precision=options.precision,
        out=options.out,
        overwrite=options.overwrite,
        device=own_device(choose_device(options.device)),
        encoder_weights=options.encoder_weights,
    )
    return Outcome(
        result={**done.results.to_json(), "written": done.written},
        text=render_returns(done.results, done.written),
    )


def _run_offline(
    options: EvalOptions, planner: object | None, objective: "Objective | None"
) -> Outcome:
    from jepawm.files import data_root
    from jepawm.launch import read_launch
    from jepawm.runs import OfflineRules, evaluate_offline

    if read_launch().count > 1:
        raise UserError("recordings are measured in one process; leave out --processes")
    done = evaluate_offline(
        options.source,
        rules=OfflineRules(
            horizon=options.horizon,
            num_clips=options.num_tasks,
            seed=options.seed,
            split=options.split,
        ),
        data=options.data,
        data_root=data_root(options.data_root),
        out=options.out,
        device=own_device(choose_device(options.device)),
        planner=cast("Planner | None", planner),
        objective=objective,
        precision=options.precision,
        overwrite=options.overwrite,
        encoder_weights=options.encoder_weights,
    )
    return Outcome(
        result={**done.results.to_json(), "written": done.written},
        text=render_offline(done.results, done.written),
    )


def take_objective(argv: list[str]) -> tuple["Objective | None", list[str]]:
    """Take `--objective` out of a command line; None if it is not there."""
    text, rest = take_option("--objective", argv)
    return None if text is None else read_objective(text), rest


def take_planner(argv: list[str]) -> tuple[dict[str, object], list[str]]:
    """Take `--planner` and `--preset` out of a command line; returns the planner, if it needs one."""
    name, rest = take_option("--planner", argv)
    preset, rest = take_option("--preset", rest)
    if name is not None and preset is not None:
        raise UserError("--planner and --preset both choose the planner; give one of them")
    if name is not None:
        return {"planner": new_part(PLANNERS, name)}, rest
    if preset is None and not any(token.startswith("--planner.") for token in rest):
        return {}, rest
    source = first_name(rest, known=[])
    if source is None:
        raise UserError("name the run first: jepawm eval RUN --preset NAME --planner.FIELD VALUE")
    from jepawm.runs import default_planner, preset_planner

    if preset is None:
        return {"planner": default_planner(source)}, rest
    return {"planner": preset_planner(source, preset)}, rest


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Options of `plan`."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run or checkpoint folder, or the name of a bundled or released checkpoint."""
    protocol: str = "paper"
    """Evaluation protocol: `paper` (one open-loop plan) or `mpc` (replan)."""
    goal: str | None = None
    """Goal in words, as "the lower left corner", in place of the picture of a task's goal."""
    seed: int = 0
    """Seed of the task and of the planner."""
    data_root: Path | None = None
    """Folder for data sets; `$JEPAWM_DATA` or the user's cache folder if not given."""
    out: Path | None = None
    """Folder for the animation; `runs/plan` if not given."""
    encoder_weights: str | None = None
    """Where the weights of a frozen encoder are here: `hub`, a path, or random:SEED; where its
    training found them if not given."""
    device: DeviceName = "auto"
    """Device to compute on."""
    trust: bool = False
    """Run code of other people that only the run names: parts given as my_module:MyThing."""
    json: bool = False
    """Print the result as one JSON object."""


def prepare_plan(argv: list[str]) -> Command:
    """Parse `jepawm plan`."""
    text = (
        "Plan one task, act, and show what happened. --objective 'goal + 0.2 * smoothness' composes "
        "what plans minimise."
    )
    objective, rest = take_objective(argv)
    options, _ = parse(PlanOptions, rest, verb="plan", description=text, parts={})

    def run() -> Outcome:
        from jepawm.runs import plan_run, plan_text_run

        trust_source(options.source, trust=options.trust)
        plan = plan_run if options.goal is None else partial(plan_text_run, text=options.goal)
        done = plan(
            options.source,
            seed=options.seed,
            out=options.out,
            device=choose_device(options.device),
            protocol=options.protocol,
            objective=objective,
            encoder_weights=options.encoder_weights,
            data_root=options.data_root,
        )
        result = to_json(done)
        return Outcome(result=result, text=render_fields(result))

    return Command(run=run, as_json=options.json)


@dataclass(frozen=True, kw_only=True)
class CollectPlansOptions:
    """Options of `collect-plans`."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder, or the name of a bundled checkpoint."""
    out: Path
    """Folder of the store to create."""
    preset: str = "propose"
    """What plans: `propose` where there is a proposer, or another preset."""
    num_episodes: int = 4000
    """Plans, and so episodes."""
    nearer: float = 0.3
    """Part of the plans whose goal is reached sooner than the plan ends."""
    noisy: float = 0.5
    """Part of the plans to which noise is added, so that what lies beside them is seen too."""
    noise: float = 0.3
    """Largest standard deviation of that noise, in units of normalised actions."""
    seed: int = 1
    """Seed of starts, goals, noise and planner; another than that of the run's own data."""
    data_root: Path | None = None
    """Folder of recordings that the policy replays; `$JEPAWM_DATA` or the user's cache folder if not
    given."""
    processes: int | None = None
    """Processes that simulate and draw; one for each thread if not given."""
    trust: bool = False
    """Run code of other people that only the run names: parts given as my_module:MyThing."""
    json: bool = False
    """Print the result as one JSON object."""


def prepare_collect_plans(argv: list[str]) -> Command:
    """Parse `jepawm collect-plans RUN`."""
    options, _ = parse(
        CollectPlansOptions,
        argv,
        verb="collect-plans",
        description="Execute plans of a run in its environment and store the episodes, to learn from "
        "them as well: where a planner goes, its data hardly do. Then `jepawm data join` and "
        f"`jepawm train --init-from`. Presets: {', '.join(preset_names())}.",
        parts={},
    )

    def run() -> Outcome:
        from jepawm.files import data_root
        from jepawm.runs import PlanRules, collect_plans, preset_planner

        trust_source(options.source, trust=options.trust)
        collected = collect_plans(
            options.source,
            out=options.out,
            planner=preset_planner(options.source, options.preset),
            rules=PlanRules(
                num_episodes=options.num_episodes,
                nearer=options.nearer,
                noisy=options.noisy,
                noise=options.noise,
                seed=options.seed,
            ),
            data_root=data_root(options.data_root),
            processes=options.processes,
        )
        result = to_json(collected)
        return Outcome(result=result, text=render_fields(result))

    return Command(run=run, as_json=options.json)
