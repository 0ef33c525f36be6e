"""The model card of a run: what a repository on the hub says of a model, to people and to machines."""

import json
from collections.abc import Mapping
from pathlib import Path

from jepawm.evaluation.result_files import read_results
from jepawm.evaluation.results import Results, row_text
from jepawm.experiment import experiment_from_json
from jepawm.records import ModelRecord

_LIBRARY = "jepawm"
_TAGS = ("world-model", "jepa", "planning", "robotics")


def render_card(
    record: ModelRecord, *, repo: str, results: Path | None, license_name: str | None, source: str
) -> str:
    """Return the text of README.md, with the head that the hub reads.

    Args:
        record: what the checkpoint says of the model.
        repo: repository, `user/name`.
        results: `results.json` of its evaluation; None: it was not evaluated.
        license_name: licence of the weights, as the hub names them; None: the card says that none is
            given.
        source: where the checkpoint is, for messages.
    """
    experiment = experiment_from_json(record.experiment, source=source)
    found = None if results is None else read_results(results)
    text = [
        f"# {repo.rsplit('/', maxsplit=1)[-1]}",
        f"A world model that plans in `{experiment.env}`, trained by the recipe `{experiment.name}` of "
        "jepawm.",
        "```python\nimport jepawm\n\n"
        f'model = jepawm.load("hf://{repo}")\n'
        "agent = model.agent(seed=0)  # agent.reset(goal), then agent.act(observation)\n```",
        f"```sh\njepawm eval hf://{repo} --episodes 96\n```",
        "## Results",
        _results_table(found),
        "## Recipe",
        _recipe(experiment.name, record),
        "## Data",
        _data(record, experiment.env),
        "## Licence",
        f"The weights are under `{license_name}`."
        if license_name
        else "No licence is given for the weights: ask their owner before you use them.",
    ]
    return _head(repo, experiment.env, found, license_name) + "\n\n".join(text) + "\n"


def _head(repo: str, env: str, results: Results | None, license_name: str | None) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    found = None
    if results is not None:
        found = [
            EvalResult(
                task_type="robotics",
                task_name="planning",
                dataset_type=env,
                dataset_name=f"{results.env}, protocol {results.protocol}",
                metric_type="success_rate",
                metric_name=f"success of {results.num_tasks} tasks",
                metric_value=round(results.model.success, 4),
            )
        ]
    head = ModelCardData(
        library_name=_LIBRARY,
        license=license_name,
        pipeline_tag="robotics",
        tags=list(_TAGS),
        model_name=repo.rsplit("/", maxsplit=1)[-1] if found else None,
        eval_results=found,
    )
    return f"---\n{head.to_yaml()}\n---\n\n"


def _results_table(results: Results | None) -> str:
    if results is None:
        return "Not evaluated yet: `jepawm eval` writes the table."
    lines = ["| | success | 95 % interval |", "|---|---|---|"]
    for name, row in list(results.rows.items())[::-1]:
        interval = "" if row.interval is None else "{:.1%} to {:.1%}".format(*row.interval)
        lines.append(f"| {row_text(name).heading} | {row.success:.1%} | {interval} |")
    settings = (
        f"{results.env}, protocol `{results.protocol}`, {results.num_tasks} tasks of the split "
        f"`{results.split}`, seed {results.seed}; {results.seconds_per_plan:.3g} s a plan."
    )
    planner = "" if results.planner is None else f" Planner: `{results.planner.type}`."
    return "\n".join(lines) + f"\n\n{settings}{planner}"


def _recipe(name: str, record: ModelRecord) -> str:
    made: Mapping[str, object] = {} if record.provenance is None else record.provenance.versions
    with_what = ", ".join(f"{key} {value}" for key, value in sorted(made.items()))
    text = json.dumps(record.experiment, indent=1)
    steps = f"`{name}`, {record.step} optimiser steps" if record.step else f"`{name}`"
    return (
        f"{steps}{f' ({with_what})' if with_what else ''}.\n\n"
        f"<details><summary>Whole configuration</summary>\n\n```json\n{text}\n```\n\n</details>"
    )


def _data(record: ModelRecord, env: str) -> str:
    widths = f"actions of {record.action_dim} numbers, proprioception of {record.proprio_dim}"
    if record.imported is not None:
        return f"Imported from `{record.imported.get('file')}` of another project; {widths}."
    if record.data is None:
        return f"Episodes of `{env}`; {widths}."
    return (
        f"Episodes of `{env}`, frames of {record.data.image_size} pixels a side, {widths}. SHA-256 of the "
        f"store: `{record.data.sha256}`."
    )
