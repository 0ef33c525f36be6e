"""Measure a world model on recordings, where there is no simulator: what it predicts and plans.

Predictions are compared with copying the last latent, planned actions with the recorded ones and
with those of rows that have no model. The Action Score of the paper compares an arm's motion.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from jepawm.contracts import WorldModel
from jepawm.data.windows import Windows
from jepawm.evaluation.metrics import Difference, mean_interval
from jepawm.evaluation.offline_plans import OfflinePlans
from jepawm.evaluation.results import Part
from jepawm.records import JsonValue
from jepawm.training.validation import spaced_indices
from jepawm.types import Context, Observation

_BATCH = 32
_SCALE, _WORST = 800.0, 0.1
"""A score of 80 for no error at all, 0 from 0.1 m on."""


@dataclass(frozen=True, kw_only=True)
class PredictionStep:
    """Mean squared errors `k` action blocks ahead, over the same windows."""

    k: int
    """Steps predicted."""
    model: float
    """Error of the model."""
    copy: float
    """Error of copying the first latent."""
    ratio: float
    """The first over the second; NaN where copying makes no error."""
    model_minus_copy: Difference
    """The first minus the second, with its 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class ActionDistances:
    """Mean distances of a row's actions to the recorded ones, in standard deviations of the data.

    NaN where no column varies: there is no deviation to measure in.
    """

    l1: float
    """Mean absolute difference, over the time and the varying columns of a clip."""
    l1_ci95: tuple[float, float]
    """Its 95 % interval."""
    model_minus_l1: Difference | None = None
    """The model's minus this row's, on the same clips; None in the model's own row."""
    l2: float
    """Root of the mean squared difference."""
    l2_ci95: tuple[float, float]
    """Its 95 % interval."""
    model_minus_l2: Difference | None = None
    """The model's minus this row's, on the same clips; None in the model's own row."""


@dataclass(frozen=True, kw_only=True)
class PoseErrors:
    """How far the sum of an arm's planned motions is from that of the recorded ones."""

    action_score: float
    """The paper's Action Score, 0 to 80."""
    total: float
    """Sum of the three parts."""
    xyz: float
    """Position, in m."""
    orientation: float
    """Euler angles, in rad."""
    closure: float
    """Gripper."""


@dataclass(frozen=True, kw_only=True)
class OfflineResults:
    """The content of `offline.json`, in its order."""

    env: str
    """Name of the environment of the training; `recordings` if there is none."""
    protocol: str = "offline"
    """Always `offline`."""
    data: str
    """Name of the recordings."""
    split: str
    """`test` or `val`."""
    episodes: tuple[int, ...]
    """Episodes that were measured on."""
    seed: int
    """Seed of planner and random actions."""
    prediction_windows: int
    """Windows of the predictions."""
    prediction: Mapping[str, tuple[PredictionStep, ...]]
    """Errors of `tokens` and, where there is one, `proprio`."""
    clips: int
    """Clips that were planned."""
    horizon: int
    """Action blocks of a plan."""
    frameskip: int
    """Environment steps in a block."""
    varying_columns: int
    """Columns of an action that vary in the training data."""
    forms: Mapping[str, int]
    """Columns of an action in each form that the model takes them in."""
    actions: Mapping[str, ActionDistances]
    """Distances of every row's actions."""
    groups: Mapping[str, Mapping[str, ActionDistances]]
    """The same over the columns of each group of joints that varies."""
    poses: Mapping[str, PoseErrors] | None = None
    """Errors of every row's motion; None where actions are no differences of an arm's poses."""
    seconds_per_plan: float
    """Wall seconds of a plan, encoding included."""
    planner: Part
    """Planner of the model."""
    objective: Part
    """What plans minimise."""
    agent: Mapping[str, JsonValue]
    """`window` of the agent."""
    versions: Mapping[str, JsonValue]
    """Versions that the numbers depend on."""

    def to_json(self) -> dict[str, JsonValue]:
        """Return the content of `offline.json`; docs/environments/robots.md explains every key.

        What is no finite number is null.
        """
        content: dict[str, JsonValue] = {
            one.name: getattr(self, one.name)
            for one in fields(self)
            if getattr(self, one.name) is not None
        }
        content |= {
            "episodes": list(self.episodes),
            "prediction": {
                name: [_without_none(step) for step in steps]
                for name, steps in self.prediction.items()
            },
            "forms": dict(self.forms),
            "actions": _rows_to_json(self.actions),
            "groups": {name: _rows_to_json(rows) for name, rows in self.groups.items()},
            "planner": self.planner.to_json(),
            "objective": self.objective.to_json(),
            "agent": dict(self.agent),
            "versions": dict(self.versions),
        }
        if self.poses is not None:
            content["poses"] = {name: _without_none(row) for name, row in self.poses.items()}
        return cast(dict[str, JsonValue], _finite_or_null(content))


@torch.no_grad()
def prediction_errors(
    model: WorldModel, windows: Windows, *, num_windows: int, device: torch.device
) -> dict[str, tuple[PredictionStep, ...]]:
    """Compare predictions 1 to T steps after the first frame with copying its latent.

    Returns the steps k of `tokens` and, where there is one, of `proprio`.
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


def _steps(
    model: Float[np.ndarray, "n T"], copy: Float[np.ndarray, "n T"]
) -> tuple[PredictionStep, ...]:
    return tuple(
        PredictionStep(
            k=k,
            model=float(ours.mean()),
            copy=float(theirs.mean()),
            ratio=float(ours.mean() / theirs.mean()) if theirs.any() else math.nan,
            model_minus_copy=mean_interval(ours - theirs),
        )
        for k, (ours, theirs) in enumerate(zip(model.T, copy.T, strict=True), start=1)
    )


def action_distances(
    plans: OfflinePlans, varying: Bool[np.ndarray, " a"]
) -> dict[str, ActionDistances]:
    """Return mean distances of every row's actions to the recorded ones, with 95 % intervals.

    `varying` marks the columns `[a]` that vary in the training data; the others do not count.
    """
    if not varying.any():
        return dict.fromkeys(plans.rows, _no_distances())
    columns = torch.from_numpy(varying)
    l1: dict[str, np.ndarray] = {}
    l2: dict[str, np.ndarray] = {}
    for name, actions in plans.rows.items():
        apart = (actions - plans.recorded)[..., columns].double()  # [n, T, columns]
        l1[name] = apart.abs().mean((1, 2)).numpy()
        l2[name] = apart.square().mean((1, 2)).sqrt().numpy()
    rows: dict[str, ActionDistances] = {}
    for name in plans.rows:
        absolute, root, own = mean_interval(l1[name]), mean_interval(l2[name]), name == "model"
        rows[name] = ActionDistances(
            l1=absolute.difference,
            l1_ci95=absolute.ci95,
            model_minus_l1=None if own else mean_interval(l1["model"] - l1[name]),
            l2=root.difference,
            l2_ci95=root.ci95,
            model_minus_l2=None if own else mean_interval(l2["model"] - l2[name]),
        )
    return rows


def _no_distances() -> ActionDistances:
    nothing = (math.nan, math.nan)
    return ActionDistances(l1=math.nan, l1_ci95=nothing, l2=math.nan, l2_ci95=nothing)


@dataclass(frozen=True, kw_only=True, eq=False)
class ActionErrors:
    """How far the sums of planned actions are from those of recorded ones, part by part."""

    xyz: Float[np.ndarray, " n"]
    """Position: absolute differences of x, y, z added, in m."""
    orientation: Float[np.ndarray, " n"]
    """Absolute differences of the three Euler angles added, in rad."""
    closure: Float[np.ndarray, " n"]
    """Absolute difference of the gripper's closure."""

    @property
    def total(self) -> Float[np.ndarray, " n"]:
        """Return the sum of all parts `[n]`."""
        return self.xyz + self.orientation + self.closure


def action_errors(
    planned: Float[np.ndarray, "n T 7"], recorded: Float[np.ndarray, "n T 7"]
) -> ActionErrors:
    """Compare the sums over time of actions `[n, T, 7]`: position, Euler angles, gripper."""
    apart = np.abs(planned.sum(axis=1) - recorded.sum(axis=1))  # [n, 7]
    return ActionErrors(
        xyz=apart[:, :3].sum(axis=1), orientation=apart[:, 3:6].sum(axis=1), closure=apart[:, 6]
    )


def action_score(xyz: float) -> float:
    """Return `max(0, 800 (0.1 - xyz))` of the mean position error in m."""
    return max(0.0, _SCALE * (_WORST - xyz))


def pose_errors(
    planned: Float[np.ndarray, "n T 7"], recorded: Float[np.ndarray, "n T 7"]
) -> PoseErrors:
    """Return the Action Score and its parts over clips `[n, T, 7]` in environment units."""
    errors = action_errors(planned, recorded)
    xyz = float(errors.xyz.mean())
    return PoseErrors(
        action_score=action_score(xyz),
        total=float(errors.total.mean()),
        xyz=xyz,
        orientation=float(errors.orientation.mean()),
        closure=float(errors.closure.mean()),
    )


def _finite_or_null(value: object) -> object:
    """Return plain JSON, which knows neither NaN nor infinity."""
    if isinstance(value, dict):
        return {key: _finite_or_null(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite_or_null(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rows_to_json(rows: Mapping[str, ActionDistances]) -> dict[str, JsonValue]:
    return {name: _without_none(row) for name, row in rows.items()}


def _without_none(row: PredictionStep | ActionDistances | PoseErrors) -> dict[str, JsonValue]:
    """Return the fields that are there; tuples become lists."""
    found = {name: value for name, value in asdict(row).items() if value is not None}
    return json.loads(json.dumps(found))
