"""Plan towards frames of recordings, and what rows without a model would do in their place."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter

import torch
from jaxtyping import Float
from torch import Tensor

from jepawm.agent import PlanningAgent
from jepawm.data.windows import Windows
from jepawm.normalizer import Normalizer
from jepawm.training.validation import spaced_indices
from jepawm.types import Observation

_BATCH = 32
BASELINES = ("zero", "mean", "random", "previous", "steady")
"""Rows without a model: zero and the mean action of the training data, normal actions with their
mean and standard deviation, the action recorded last before the clip, held, and that action going on as
fast as it changed in the block before (where a block has two actions)."""
STRAIGHT = "straight"
"""A row that knows the future: at constant speed to where the recording ends. A perfect model that plans
towards the goal can know no more, so this is about as near as plans can come."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OfflinePlans:
    """Commands towards a recorded frame, all `[n, H * f, a]` in the units of `command_units`.

    They are in order of time.
    """

    recorded: Float[Tensor, "n T a"]
    """What was done."""
    rows: Mapping[str, Float[Tensor, "n T a"]]
    """What the model's plans and the baselines do."""
    seconds_per_plan: float
    """Wall seconds of planning, encoding included, divided by the number of plans."""


def command_units(normalizer: Normalizer) -> Normalizer:
    """Return the statistics of commands as they are recorded, in whatever form a model takes them."""
    commands = normalizer.commands
    if commands is None or commands.is_absolute:
        return normalizer
    plain = Normalizer.from_statistics(action_mean=commands.mean, action_std=commands.std)
    return replace(plain, proprio_mean=normalizer.proprio_mean, proprio_std=normalizer.proprio_std)


def plan_clips(
    agent: PlanningAgent,
    clips: Windows,
    *,
    num_clips: int,
    normalizer: Normalizer,
    generator: torch.Generator,
) -> OfflinePlans:
    """Plan from the second frame of evenly spaced clips to their last, and score the baselines too.

    Args:
        agent: agent whose horizon is the number of action blocks of a clip, less one.
        clips: clips in environment units, actions as recorded; their first block only gives what
            was done before.
        num_clips: clips, at most those there are.
        normalizer: statistics of the training data, on the CPU.
        generator: draws the random row.
    """
    recorded, planned, before = [], [], []
    units, seconds = command_units(normalizer), 0.0
    for part in spaced_indices(clips, num_clips).split(_BATCH):
        batch = clips.batch(part)
        assert isinstance(batch.obs, Observation)  # these windows come without a feature cache
        began = perf_counter()
        agent.reset(batch.obs[:, -1], num_steps=clips.num_steps - 1)
        agent.act(batch.obs[:, 1])
        plan = agent.last_plan
        assert plan is not None
        seconds += perf_counter() - began
        last = _single(batch.actions[:, :1], normalizer.action_dim)[:, -1]  # [b, a]
        planned.append(
            _as_commands(plan.actions.cpu(), batch.obs[:, 1], before=last, normalizer=normalizer)
        )
        actions = units.normalize_action(batch.actions)  # [b, 1 + H, A]
        recorded.append(actions[:, 1:])
        before.append(actions[:, :1])
    width = normalizer.action_dim
    truth = _single(torch.cat(recorded), width)
    rows = _baselines(
        truth, before=_single(torch.cat(before), width), normalizer=normalizer, generator=generator
    )
    rows = {"model": _single(torch.cat(planned), width), **rows}
    return OfflinePlans(recorded=truth, rows=rows, seconds_per_plan=seconds / len(truth))


def _as_commands(
    plan: Float[Tensor, "b H A"],
    obs: Observation,
    *,
    before: Float[Tensor, "b a"],
    normalizer: Normalizer,
) -> Float[Tensor, "b H A"]:
    """Return a plan as commands, in standard deviations of the data, after the command `before`."""
    commands, width = normalizer.commands, normalizer.action_dim
    if commands is None or commands.is_absolute:
        return plan
    told = commands.to_commands(
        _single(normalizer.unnormalize_action(plan), width),
        before=before,
        proprio=obs.proprio,
        frameskip=plan.shape[2] // width,
    )
    return command_units(normalizer).normalize_action(told.reshape(plan.shape))


def _baselines(
    truth: Float[Tensor, "n T a"],
    *,
    before: Float[Tensor, "n f a"],
    normalizer: Normalizer,
    generator: torch.Generator,
) -> dict[str, Float[Tensor, "n T a"]]:
    """Return the rows without a model, of clips `[n, T, a]` and the commands before them."""
    last, commands = before[:, -1:], normalizer.commands
    done = torch.arange(1, truth.shape[1] + 1, device=truth.device)[:, None] / truth.shape[1]
    straight = last + done * (truth[:, -1:] - last)
    if commands is not None:  # motions add up: as far in the same time
        motion = torch.tensor([rest == "zero" for rest in commands.rest])
        straight = torch.where(motion, truth.mean(1, keepdim=True), straight)
    rows = {
        "zero": command_units(normalizer).normalize_action(torch.zeros_like(truth)),
        "mean": torch.zeros_like(truth),
        "random": torch.randn(truth.shape, generator=generator),
        "previous": last.expand_as(truth),
    }
    if before.shape[1] > 1:
        speed = (last - before[:, :1]) / (before.shape[1] - 1)
        rows["steady"] = last + speed * done * truth.shape[1]
    return {**rows, STRAIGHT: straight}


def _single(blocks: Float[Tensor, "n H A"], width: int) -> Float[Tensor, "n T a"]:
    """Cut action blocks into single actions `[n, H * f, a]`."""
    return blocks.reshape(len(blocks), -1, width)
