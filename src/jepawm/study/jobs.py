"""What a sweep has to do: models to train, setups to evaluate, each once, whatever asks for them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jepawm.files import content_hash
from jepawm.records import JsonValue
from jepawm.study.axes import Axis, Variant, own_value, variants
from jepawm.study.setup import Rules, Setup

JobKind = Literal["pretrain", "train", "evaluate", "references"]
"""`pretrain` makes a frozen encoder, `references` are the rows without a model: doing nothing, random actions, the oracle."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One process's work."""

    kind: JobKind
    """What it does."""
    id: str
    """Hash of what decides its result; names its files."""
    setup: Setup
    """What is trained or evaluated."""
    model: str
    """Hash of the model that it trains or needs."""
    title: str
    """What it is for, in words."""
    needs: str | None = None
    """Job that must be done before, as kind and hash: `train-ID`; None: it can start at once."""

    @property
    def file_name(self) -> str:
        """Return the stem of its files."""
        return f"{self.kind}-{self.id}"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One row to be had: a value, a seed, and the job that measures it."""

    value: str
    """Name of the value; that of the row for `references`."""
    seed: int
    """Seed of the training."""
    settings: dict[str, JsonValue]
    """What the value sets, as JSON."""
    own: bool
    """Whether the value leaves the recipe as it is."""
    job: str
    """Hash of the evaluation."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A sweep: jobs in the order in which they start, and the rows that come of them."""

    axis: Axis
    """What is varied."""
    recipe: str
    """On which recipe."""
    jobs: tuple[Job, ...]
    """Each model and each evaluation once."""
    cells: tuple[Cell, ...]
    """One for each row."""


def plan_sweep(
    axis: Axis,
    base: Setup,
    *,
    recipe: str,
    values: Sequence[str],
    seeds: Iterable[int],
    rules: Rules,
    references: bool = True,
) -> Plan:
    """List the jobs and rows of an axis on a base.

    Args:
        axis: what is varied.
        base: recipe and protocol.
        recipe: its name.
        values: names of the values; none: the axis's own choice.
        seeds: seeds of the trainings.
        rules: which tasks are solved.
        references: measure the rows without a model, too, once.
    """
    jobs: dict[tuple[JobKind, str], Job] = {}
    cells: dict[tuple[str, int], Cell] = {}
    for seed in seeds:
        seeded = Setup(
            experiment=replace(base.experiment, seed=seed, name=recipe), protocol=base.protocol
        )
        found_variants = variants(axis, seeded, values=values)
        own = own_value(axis, found_variants, base=seeded)
        for variant in found_variants:
            found = _jobs_of(axis, variant, seeded, rules=rules)
            if references and not cells:
                found.insert(-1, _references_of(found[-1], seeded, rules=rules))
            for job in found:
                jobs.setdefault((job.kind, job.id), job)
            cells[variant.value, seed] = Cell(
                value=variant.value,
                seed=seed,
                settings=_settings_json(variant),
                own=variant.value == own,
                job=found[-1].id,
            )
    return Plan(axis=axis, recipe=recipe, jobs=tuple(jobs.values()), cells=tuple(cells.values()))


def _jobs_of(axis: Axis, variant: Variant, base: Setup, *, rules: Rules) -> list[Job]:
    """Return the training of a variant and its evaluation, after that of its encoder if need be."""
    setup, seed = variant.setup, variant.setup.experiment.seed
    trained = Setup(experiment=setup.for_training(base.experiment), protocol=base.protocol)
    model = trained.model_id()
    title = f"{axis.name} {variant.value}, seed {seed}"
    pretrains = _pretraining_of(trained, title=title)
    trains = Job(
        kind="train",
        id=model,
        setup=trained,
        model=model,
        title=f"train {title}" if axis.trains else f"train {base.experiment.name}, seed {seed}",
        needs=pretrains[0].file_name if pretrains else None,
    )
    evaluates = Job(
        kind="evaluate",
        id=setup.evaluation_id(rules),
        setup=setup,
        model=model,
        title=f"evaluate {title}",
        needs=trains.file_name,
    )
    return [*pretrains, trains, evaluates]


def _pretraining_of(setup: Setup, *, title: str) -> list[Job]:
    """Return the job that pretrains the encoder of a setup, where it has to be."""
    if setup.pretraining is None:
        return []
    name = setup.pretraining_id()
    return [Job(kind="pretrain", id=name, setup=setup, model=name, title=f"pretrain {title}")]


def _references_of(job: Job, base: Setup, *, rules: Rules) -> Job:
    """Return the job that measures what acts without a model, on the tasks of another job.

    The planner of the oracle is the base's, whatever the axis varies; it sees no observations.
    """
    experiment = replace(
        base.experiment,
        env=job.setup.experiment.env,
        agent=replace(base.experiment.agent, window=1),
    )
    setup = Setup(experiment=experiment, protocol=job.setup.protocol)
    content = setup.to_json()
    decisive = {name: content[name] for name in ("env", "planner", "agent", "protocol")}
    known = content_hash({**decisive, **vars(rules), "kind": "references"})[: len(job.id)]
    title = "do nothing, random actions, oracle"
    return replace(job, kind="references", id=known, setup=setup, title=title)


def _settings_json(variant: Variant) -> dict[str, JsonValue]:
    """Return what a value sets, as it stands in the JSON of the whole."""
    content = variant.setup.to_json()
    found: dict[str, JsonValue] = {}
    for path in variant.settings:
        inner: JsonValue = content
        for name in path.split("."):
            assert isinstance(inner, dict)
            inner = inner[name]
        found[path] = inner
    return found
