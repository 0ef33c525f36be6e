"""Measure a world model on recordings, where there is no simulator: what it predicts and plans.

Predictions are compared with copying the last latent, planned actions with the recorded ones and
with those of rows that have no model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from jepawm.agent import PlanningAgent
from jepawm.contracts import WorldModel
from jepawm.data.windows import Windows
from jepawm.evaluation.metrics import mean_interval
from jepawm.evaluation.results import JsonValue
from jepawm.normalizer import Normalizer
from jepawm.training.validation import spaced_indices
from jepawm.types import Context, Observation

_BATCH = 32
BASELINES = ("zero", "mean", "random", "previous")
"""Rows without a model: zero and the mean action of the training data, normal actions with their
mean and standard deviation, and the action recorded last before the clip, held."""


@torch.no_grad()
def prediction_errors(
    model: WorldModel, windows: Windows, *, num_windows: int, device: torch.device
) -> dict[str, JsonValue]:
    """Compare predictions 1 to T steps after the first frame with copying its latent.

    Returns, for `tokens` and, where there is one, `proprio`, a list over the steps k: mean squared
    errors of model and copy over the same windows, their ratio and their difference.
    """
    errors: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for part in spaced_indices(windows, num_windows).split(_BATCH):
        batch = windows.batch(part).to(device)
        assert isinstance(batch.obs, Observation)  # these windows come without a feature cache
        latents = model.encode(batch.obs)  # [b, T+1]
        context = Context(latents=latents[:, :1], actions=batch.actions[:, :0])
        predicted = model.rollout(context, batch.actions)  # [b, T]
        for name in ("tokens", "proprio"):
            codes, found = getattr(latents, name), getattr(predicted, name)
            if codes is not None:
                wanted = codes[:, 1:]
                pair = tuple((x - wanted).square().mean((2, 3)) for x in (found, codes[:, :1]))
                errors.setdefault(name, []).append((pair[0].cpu(), pair[1].cpu()))
    return {
        name: _steps(*(torch.cat(parts).double().numpy() for parts in zip(*pairs, strict=True)))
        for name, pairs in errors.items()
    }


def _steps(model: Float[np.ndarray, "n T"], copy: Float[np.ndarray, "n T"]) -> list[JsonValue]:
    return [
        {
            "k": k,
            "model": float(ours.mean()),
            "copy": float(theirs.mean()),
            "ratio": float(ours.mean() / theirs.mean()),
            "model_minus_copy": _difference(ours - theirs),
        }
        for k, (ours, theirs) in enumerate(zip(model.T, copy.T, strict=True), start=1)
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class OfflinePlans:
    """Actions towards a recorded frame, all normalised `[n, H * f, a]`, in order of time."""

    recorded: Float[Tensor, "n T a"]
    """What was done."""
    rows: Mapping[str, Float[Tensor, "n T a"]]
    """What the model's plans and the baselines do."""
    seconds_per_plan: float
    """Wall seconds of planning, encoding included, divided by the number of plans."""


def plan_clips(
    agent: PlanningAgent,
    clips: Windows,
    *,
    num_clips: int,
    normalizer: Normalizer,
    generator: torch.Generator,
) -> OfflinePlans:
    """Plan from the second frame of evenly spaced clips to their last, beside the baselines.

    Args:
        agent: agent whose horizon is the number of action blocks of a clip, less one.
        clips: clips in environment units; their first block only tells the previous action.
        num_clips: clips, at most those there are.
        normalizer: statistics of the training data, on the CPU.
        generator: draws the random row.
    """
    recorded, planned, previous = [], [], []
    seconds = 0.0
    for part in spaced_indices(clips, num_clips).split(_BATCH):
        batch = clips.batch(part)
        assert isinstance(batch.obs, Observation)  # these windows come without a feature cache
        began = perf_counter()
        agent.reset(batch.obs[:, -1], num_steps=clips.num_steps - 1)
        agent.act(batch.obs[:, 1])
        plan = agent.last_plan
        assert plan is not None
        planned.append(plan.actions.cpu())
        seconds += perf_counter() - began
        actions = normalizer.normalize_action(batch.actions)  # [b, 1 + H, A]
        recorded.append(actions[:, 1:])
        previous.append(actions[:, :1])
    blocks = torch.cat(recorded)
    width = normalizer.action_dim
    zero = normalizer.normalize_action(torch.zeros_like(blocks))
    steps = {
        "model": torch.cat(planned),
        "zero": zero,
        "mean": torch.zeros_like(blocks),
        "random": torch.randn(blocks.shape, generator=generator),
    }
    rows = {name: _single(one, width) for name, one in steps.items()}
    truth = _single(blocks, width)
    held = _single(torch.cat(previous), width)[:, -1:].expand_as(truth)
    return OfflinePlans(
        recorded=truth, rows=rows | {"previous": held}, seconds_per_plan=seconds / len(truth)
    )


def action_distances(
    plans: OfflinePlans, varying: Bool[np.ndarray, " a"]
) -> dict[str, dict[str, JsonValue]]:
    """Return mean distances of every row's actions to the recorded ones, with 95 % intervals.

    `l1` is the mean absolute difference, `l2` the root of the mean squared one, over the time and
    the columns of a clip that vary in the training data, in standard deviations of the data;
    `model_minus` compares the model with the row on the same clips.
    """
    columns = torch.from_numpy(varying)
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, actions in plans.rows.items():
        apart = (actions - plans.recorded)[..., columns].double()  # [n, T, columns]
        l1, l2 = apart.abs().mean((1, 2)), apart.square().mean((1, 2)).sqrt()
        found[name] = {"l1": l1.numpy(), "l2": l2.numpy()}
    rows: dict[str, dict[str, JsonValue]] = {}
    for name, distances in found.items():
        row: dict[str, JsonValue] = {}
        for norm, values in distances.items():
            interval = mean_interval(values)
            row |= {norm: interval.difference, f"{norm}_ci95": list(interval.ci95)}
            if name != "model":
                row[f"model_minus_{norm}"] = _difference(found["model"][norm] - values)
        rows[name] = row
    return rows


def _single(blocks: Float[Tensor, "n H A"], width: int) -> Float[Tensor, "n T a"]:
    """Cut action blocks into single actions `[n, H * f, a]`."""
    return blocks.reshape(len(blocks), -1, width)


def _difference(values: Float[np.ndarray, " n"]) -> dict[str, JsonValue]:
    found = mean_interval(values)
    return {"difference": found.difference, "ci95": list(found.ci95)}
