"""What a command line chooses by a name: device, planner, encoder. Devices are named here only."""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from jepawm.cli.parsing import take_option
from jepawm.envs import POLICIES
from jepawm.errors import UserError
from jepawm.launch import read_launch
from jepawm.models import ENCODERS
from jepawm.planning import OBJECTIVES, PLANNERS
from jepawm.registry import Registry

if TYPE_CHECKING:  # at run time they are imported when needed: help does not wait for torch
    from jepawm.contracts import Objective
    from jepawm.experiment import Experiment

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
TrackerChoice = Literal["wandb", "trackio", "tensorboard"]


def choose_device(name: DeviceName) -> str:
    """Return the device to compute on; `auto` takes an accelerator if there is one."""
    import torch

    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    present = [device for device, here in available.items() if here]
    if name == "auto":
        return present[0]
    if not available[name]:
        here = ", ".join(present)
        raise UserError(f"--device {name} is not on this machine (there are: auto, {here})")
    return name


def own_device(device: str) -> str:
    """Return the device of this process; those of a machine are dealt out to its processes."""
    launch = read_launch()
    if device != "cuda" or launch.count == 1:
        return device
    import torch

    return f"cuda:{launch.local_rank % torch.cuda.device_count()}"


def new_part(registry: Registry, name: str) -> Any:  # noqa: ANN401 - what the registry holds
    """Build the part called `name`, or `module:Class`, with its defaults."""
    kind = registry.get(name)
    if isinstance(kind, type) and is_dataclass(kind):
        required = [one.name for one in fields(kind) if one.init and _has_no_default(one)]
        if required:
            raise UserError(
                f"{registry.title} {name!r} has no default for {', '.join(required)}; give its "
                "fields defaults, so that the command line can change them one by one"
            )
    return cast(Callable[[], object], kind)()


def choose_parts(experiment: "Experiment", argv: Sequence[str]) -> tuple["Experiment", list[str]]:
    """Take `--encoder`, `--objective`, `--planner` and `--policy` out of a command line.

    Returns the experiment with these parts in place of its own, and the rest of the line. Loss
    terms that only learned encoders need are turned off with a frozen one.
    """
    from jepawm.models.frozen.encoder import AnyFrozenConfig

    names: dict[str, str | None] = {}
    rest = list(argv)
    for option in ("encoder", "objective", "planner", "policy"):
        names[option], rest = take_option(f"--{option}", rest)
    if names["encoder"] is not None:
        encoder, loss = new_part(ENCODERS, names["encoder"]), experiment.loss
        if isinstance(encoder, AnyFrozenConfig):
            loss = replace(
                loss, regularizer="none", inverse_dynamics_weight=0.0, temporal_weight=0.0
            )
        experiment = replace(experiment, encoder=encoder, loss=loss)
    if names["objective"] is not None:
        experiment = replace(experiment, objective=read_objective(names["objective"]))
    if names["planner"] is not None:
        experiment = replace(experiment, planner=new_part(PLANNERS, names["planner"]))
    if names["policy"] is not None:
        data = replace(experiment.data, policy=new_part(POLICIES, names["policy"]))
        experiment = replace(experiment, data=data)
    return experiment, rest


def read_objective(text: str) -> "Objective":
    """Build the objective that a word of the command line names or composes."""
    from jepawm.planning.terms.expression import parse_objective

    return parse_objective(text)


def trust_source(source: str | None, *, trust: bool) -> None:
    """Count the modules that a run names as named by the user, where `--trust` is given."""
    if trust and source is not None:
        from jepawm.hub.load import load_experiment

        load_experiment(source, trust=True)


def part_names() -> str:
    """Say what `choose_parts` takes."""
    choices = {
        "encoder": ENCODERS,
        "objective": OBJECTIVES,
        "planner": PLANNERS,
        "policy": POLICIES,
    }
    lines = [f"--{option} NAME ({', '.join(one.names())})" for option, one in choices.items()]
    return (
        f"Parts are chosen by {'; '.join(lines)}; NAME may be your own, as my_module:MyClass; "
        "objectives are added and weighted, as 'goal + 0.2 * smoothness'"
    )


def _has_no_default(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING
