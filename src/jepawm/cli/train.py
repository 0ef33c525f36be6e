"""`jepawm train`, `train-proposer` and `collect`: make a model, its proposer, its data."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import tyro

from jepawm.cli.choices import (
    DeviceName,
    TrackerChoice,
    choose_device,
    choose_parts,
    new_part,
    part_names,
    trust_source,
)
from jepawm.cli.output import render_fields, to_json
from jepawm.cli.parsing import (
    Command,
    Outcome,
    close_choices,
    first_name,
    open_choices,
    parse,
    take_option,
    wants_help,
)
from jepawm.cli.parts import PartOptions
from jepawm.envs import POLICIES
from jepawm.errors import UserError
from jepawm.launch import restarted
from jepawm.proposals import ProposalConfig
from jepawm.recipes import RECIPES

if TYPE_CHECKING:
    from jepawm.contracts import CollectionPolicy
    from jepawm.data.recording import ReadOptions
    from jepawm.experiment import Experiment


_OF_RECORDINGS = ("--camera", "--action-key", "--proprio-key", "--fit")
"""Options of `train` that are those of `data import`."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of `train` besides the fields of the recipe."""

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """Recipe to train."""
    data: Path | None = None
    """Recordings to train on: a store, or a data set of any known format (LeRobot, ...), imported
    below the data root at first use."""
    camera: str | None = None
    """Camera of the data set, where there are several; more than one joined by commas, or `all`."""
    action_key: str | None = None
    """Name of its actions, where it is not the usual one."""
    proprio_key: str | None = None
    """Names of its proprioception, joined by commas; `none` leaves it out."""
    fit: Literal["crop", "stretch"] = "crop"
    """How its frames become square: `crop` cuts out the centre, `stretch` keeps everything."""
    out: Path | None = None
    """Folder of the run; `runs/<recipe>-seed<seed>` if not given."""
    data_root: Path | None = None
    """Folder for data sets; `$JEPAWM_DATA` or the user's cache folder if not given."""
    device: DeviceName = "auto"
    """Device to compute on."""
    resume: bool = False
    """Go on with the run in `--out`, from the start where there is none; implied where SLURM or
    torchrun started a job again."""
    processes: int | None = None
    """Processes that collect a missing data set; one for each thread if not given."""
    dry_run: bool = False
    """Train nothing: print parameters, operations, memory and hours, from one step on synthetic
    data with random weights."""
    dry_run_windows: int = 1
    """Windows in the batch of that step; the figures are for the recipe's batch."""
    dry_run_devices: int = 1
    """Devices that share the batch, for its memory per device."""
    tflops: float | None = None
    """Throughput of all devices together for the hours of --dry-run; that of its step if not
    given."""
    devices: int = 1
    """Devices of this machine to train on, a process each; torchrun and SLURM start their own."""
    log: tyro.conf.UseAppendAction[tuple[TrackerChoice, ...]] = ()
    """Where metrics go beside metrics.jsonl: wandb, trackio or tensorboard (event files in the
    run), more than one by more than one --log; extra `loggers`."""
    trust: bool = False
    """Run code of other people that only the run to resume names: parts given as my_module:MyThing."""
    json: bool = False
    """Print the result as one JSON object."""


def prepare_train(argv: list[str]) -> Command:
    """Parse `jepawm train`."""
    known = RECIPES.names()
    name = first_name(argv, known=known)
    if name is None:
        if wants_help(argv):
            text = (
                f"Train a recipe ({', '.join(known)}). `jepawm train RECIPE --help` lists fields."
            )
            parse(TrainOptions, ["--help"], verb="train", description=text, parts={})
        raise UserError(f"name a recipe: jepawm train RECIPE (known: {', '.join(known)})")
    from jepawm.experiment import Experiment

    recipe = replace(cast(Experiment, RECIPES.get(name)), name=name)  # as it is found again
    start, rest = choose_parts(_for_environment(recipe, argv), argv)
    options, parts = parse(
        TrainOptions,
        rest,
        verb=f"train {name}",
        description=f"Train the recipe {name}. {part_names()}.",
        parts={"": open_choices(start)},
    )
    experiment = close_choices(parts[""], Experiment)

    def run() -> Outcome:
        return _train(options, experiment, explicit=experiment != recipe)

    return Command(run=run, as_json=options.json, processes=options.devices)


def _for_environment(recipe: "Experiment", argv: list[str]) -> "Experiment":
    """Return the recipe with the policy of the environment that `--env` puts in place of its own."""
    from jepawm.collection import has_policy, new_policy

    env, _ = take_option("--env", argv)
    if env is None or env == recipe.env or not has_policy(env):
        return recipe
    return replace(recipe, data=replace(recipe.data, policy=new_policy(env)))


def _train(options: TrainOptions, experiment: "Experiment", *, explicit: bool) -> Outcome:
    from jepawm.data.recording import ReadOptions
    from jepawm.files import data_root
    from jepawm.runs import (
        dry_run,
        render_dry_run,
        require_trackers,
        train_own_proposer,
        train_run,
        use_recordings,
    )

    require_trackers(options.log)
    device, root = choose_device(options.device), data_root(options.data_root)
    out = options.out or Path("runs") / f"{options.recipe.replace(':', '-')}-seed{experiment.seed}"
    if options.data is not None:
        experiment = use_recordings(
            experiment,
            options.data,
            data_root=root,
            read_options=_read_options(options),
            fit=options.fit,
            takes=_OF_RECORDINGS,
        )
    elif _read_options(options) != ReadOptions() or options.fit != "crop":
        raise UserError(f"{', '.join(_OF_RECORDINGS)} choose from recordings; name them by --data")
    if options.dry_run:
        cost = dry_run(
            experiment,
            data_root=root,
            device=device,
            num_windows=options.dry_run_windows,
            num_devices=options.dry_run_devices,
            tflops=options.tflops,
        )
        return Outcome(result=to_json(cost), text=render_dry_run(cost))
    trained = train_run(
        experiment,
        out=out,
        data_root=root,
        device=device,
        resume=options.resume or restarted(),
        explicit=explicit or options.data is not None,
        processes=options.processes,
        trust=options.trust,
        trackers=options.log,
    )
    result = to_json(trained)
    more = {"data_root": root, "device": device, "processes": options.processes}
    proposer = train_own_proposer(trained.run, **more, trackers=options.log)
    if proposer is None:
        return Outcome(result=result, text=render_fields(result))
    last = to_json(proposer)
    text = f"{render_fields(result)}\n\nproposer\n{render_fields(last)}"
    return Outcome(result={**result, "proposer": last}, text=text)


def _read_options(options: TrainOptions) -> "ReadOptions":
    from jepawm.data.recording import ReadOptions

    return ReadOptions(
        camera=options.camera, action_key=options.action_key, proprio_key=options.proprio_key
    )


@dataclass(frozen=True, kw_only=True)
class ProposerOptions(PartOptions):
    """Options of `train-proposer` besides how it is trained."""

    horizon: int | None = None
    """Action blocks of the longest plan; the longest of the run's protocols if not given."""
    num_tasks: Annotated[int, tyro.conf.arg(name="episodes")] = 96
    """Validation tasks to solve at the end; 0: none."""
    log: tyro.conf.UseAppendAction[tuple[TrackerChoice, ...]] = ()
    """Where metrics go beside proposer.jsonl: wandb, trackio or tensorboard (event files in the
    run), more than one by more than one --log; extra `loggers`."""


def prepare_train_proposer(argv: list[str]) -> Command:
    """Parse `jepawm train-proposer RUN`."""
    source = first_name(argv, known=[])
    if source is not None and not wants_help(argv):
        from jepawm.runs import own_proposals

        trust_source(source, trust="--trust" in argv)
        start = own_proposals(source)
    else:
        start = ProposalConfig()
    options, parts = parse(
        ProposerOptions,
        argv,
        verb="train-proposer",
        description="Train a proposer through the world model of a run: whole plans in one pass, for "
        "`--preset direct` and `--preset propose`.",
        parts={"": start},
    )

    def run() -> Outcome:
        from jepawm.files import data_root
        from jepawm.runs import ProposerRules, train_proposer_run

        trained = train_proposer_run(
            options.source,
            cast(ProposalConfig, parts[""]),
            rules=ProposerRules(
                out=options.out,
                num_episodes=options.num_episodes,
                horizon=options.horizon,
                seed=options.seed,
                num_tasks=options.num_tasks,
            ),
            data_root=data_root(options.data_root),
            device=choose_device(options.device),
            resume=options.resume,
            overwrite=options.overwrite,
            processes=options.processes,
            encoder_weights=options.encoder_weights,
            trackers=options.log,
        )
        result = to_json(trained)
        return Outcome(result=result, text=render_fields(result))

    return Command(run=run, as_json=options.json)


@dataclass(frozen=True, kw_only=True)
class CollectOptions:
    """Options of `collect`."""

    environment: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENVIRONMENT")]
    """Environment to collect in."""
    num_episodes: int = 1920
    """Episodes."""
    num_steps: int = 50
    """Environment steps in each episode; at most, where recordings are replayed."""
    image_size: int = 64
    """Side of the frames in pixels."""
    seed: int = 0
    """Seed of starts and actions."""
    processes: int | None = None
    """Processes that simulate and draw; one for each thread if not given."""
    out: Path | None = None
    """Folder of the store; below the data root if not given."""
    data_root: Path | None = None
    """Folder for data sets; `$JEPAWM_DATA` or the user's cache folder if not given."""
    json: bool = False
    """Print the result as one JSON object."""


def prepare_collect(argv: list[str]) -> Command:
    """Parse `jepawm collect`."""
    known = POLICIES.names()
    name = first_name(argv, known=known)
    text = (
        f"Collect episodes of an environment ({', '.join(known)}, or your own as my_module:make_env) "
        "by its own policy, or by --policy NAME or my_module:MyPolicy."
    )
    parts = {}
    policy, argv = take_option("--policy", argv)
    if policy is not None:
        parts["policy"] = new_part(POLICIES, policy)
    elif name is not None:
        from jepawm.collection import new_policy

        parts["policy"] = new_policy(name)
    options, chosen = parse(CollectOptions, argv, verb="collect", description=text, parts=parts)

    def run() -> Outcome:
        from jepawm.experiment import DataConfig
        from jepawm.files import data_root
        from jepawm.runs import collect_run

        data = DataConfig(
            num_episodes=options.num_episodes,
            episode_steps=options.num_steps,
            image_size=options.image_size,
            seed=options.seed,
            policy=cast("CollectionPolicy", chosen["policy"]),
        )
        collected = collect_run(
            options.environment,
            data=data,
            out=options.out,
            data_root=data_root(options.data_root),
            processes=options.processes,
        )
        result = to_json(collected)
        return Outcome(result=result, text=render_fields(result))

    return Command(run=run, as_json=options.json)
