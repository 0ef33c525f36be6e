"""Every built-in part keeps its contract, and each broken rule is told; the problems have their optima."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from jepawm.cli.choices import new_part
from jepawm.hub.load import bundled_names, load
from jepawm.models import ENCODERS
from jepawm.planning import OBJECTIVES, PLANNERS
from jepawm.planning.cem import CEM
from jepawm.planning.objectives import LatentDistance
from jepawm.planning.terms.actions import Smoothness
from jepawm.planning.terms.reward import Reward
from jepawm.planning.terms.sequence import InSequence
from jepawm.planning.terms.states import KeepOut
from jepawm.planning.terms.steps import Discounted, Terminal
from jepawm.testing import (
    ContractError,
    Quadratic,
    WalledPointMass,
    check_encoder,
    check_objective,
    check_planner,
    check_world_model,
)
from jepawm.types import Latent, Observation

MASS = WalledPointMass(
    start=torch.tensor([[-1.0, 0.0]]), goal=torch.tensor([[1.0, 0.0]]), door=torch.tensor([0.0])
)


def _straight(time_step: float = 0.5) -> torch.Tensor:
    """Accelerate for one step, coast, brake: 2 to the right in four steps."""
    pulse = 2.0 / (3 * time_step**2)
    return torch.tensor([[pulse, 0.0], [0.0, 0.0], [0.0, 0.0], [-pulse, 0.0]])[None, None]


def test_the_optimum_of_a_quadratic_costs_nothing():
    optimum = torch.randn(2, 3, 4)
    assert Quadratic(optimum=optimum)(optimum[:, None]).tolist() == [[0.0], [0.0]]


def test_a_path_through_the_door_costs_the_distance_to_the_goal():
    positions = MASS.positions(_straight())
    torch.testing.assert_close(positions[0, 0, -1], torch.tensor([1.0, 0.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(MASS(_straight()), torch.zeros(1, 1), atol=1e-9, rtol=0)
    torch.testing.assert_close(MASS(torch.zeros(1, 1, 4, 2)), torch.full((1, 1), 4.0))


def test_a_path_through_the_wall_pays_for_its_distance_to_the_door():
    shifted = WalledPointMass(start=MASS.start, goal=MASS.goal, door=torch.tensor([1.3]))
    torch.testing.assert_close(shifted(_straight()), torch.ones(1, 1), atol=1e-5, rtol=0)


# Every built-in part


LARGE = [
    pytest.param(n, marks=pytest.mark.slow) for n in ("dinov2_reg", "dinov3", "vjepa", "vjepa2")
]


@pytest.mark.parametrize("name", ["conv", "vit", "dinov2", *LARGE])
def test_encoders_keep_their_contract(name: str):
    config = new_part(ENCODERS, name)
    if name not in ("conv", "vit"):  # small pictures, random weights: the files are large
        pytest.importorskip("transformers", reason="frozen encoders need the extra encoders")
        side = 28 if name in ("dinov2", "dinov2_reg") else 32
        config = replace(config, image_size=side, weights="random:0")
    check_encoder(config, image_size=32)


@pytest.mark.parametrize("name", bundled_names())
def test_world_models_keep_their_contract(name: str):
    loaded = load(name)
    mean = loaded.normalizer.proprio_mean
    check_world_model(
        loaded.model,
        action_dim=loaded.experiment.data.frameskip * loaded.normalizer.action_dim,
        proprio_dim=0 if mean is None else len(mean),
        image_size=loaded.experiment.data.image_size,
    )


PLACE = Observation(pixels=torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
GIVEN = {
    "discounted": Discounted(of=LatentDistance(reduction="sum")),
    "in_sequence": InSequence((PLACE, PLACE)),
    "keep_out": KeepOut(low=(-1.0, -1.0), high=(0.5, 0.5)),
    "terminal": Terminal(of=Reward()),
    "weighted_sum": 0.5 * LatentDistance() + 0.1 * Smoothness() - Reward(),
}
"""Objectives that have no defaults."""


@pytest.mark.parametrize("name", OBJECTIVES.names())
@pytest.mark.parametrize("proprio_dim", [0, 4])
def test_objectives_keep_their_contract(name: str, proprio_dim: int):
    objective = GIVEN[name] if name in GIVEN else new_part(OBJECTIVES, name)
    check_objective(objective, proprio_dim=proprio_dim)


@pytest.mark.parametrize("name", [one for one in PLANNERS.names() if not one.startswith("test_")])
def test_planners_keep_their_contract(name: str):
    if name in ("cma", "nevergrad"):
        pytest.importorskip(name, reason=f"the planner {name} needs the extra {name}")
    planner = new_part(PLANNERS, name)
    fewer = {"num_iterations": 20, "num_samples": 40}
    check_planner(replace(planner, **{k: v for k, v in fewer.items() if hasattr(planner, k)}))


# A part for every rule that it breaks


class Net(nn.Module):
    """Encode a picture into one token, rightly unless `fault` says otherwise."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.num_tokens, self.dim, self.grid = 1, 3, (1, 2) if fault == "grid" else (1, 1)
        if fault == "no dim":
            del self.dim
        weight = np.random.default_rng().random() if fault == "weights" else 1.0
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, pixels):
        tokens = self.weight * pixels.float().mean((-2, -1)).unsqueeze(-2)
        if self.fault == "changes":
            pixels.zero_()
        faults: dict[str, Callable[[], Any]] = {
            "shape": lambda: tokens.squeeze(-2),
            "integers": tokens.int,
            "nan": lambda: tokens / 0 * 0,
            "random": lambda: tokens + torch.rand(()),
            "beside": lambda: tokens - tokens.mean(),
        }
        return faults.get(self.fault, lambda: tokens)()


@dataclass(frozen=True, kw_only=True)
class OwnEncoder:
    fault: str = ""

    def build(self):
        return object() if self.fault == "no module" else Net(self.fault)


@dataclass
class Changeable:
    def build(self): ...


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no module", r"build\(\) returns an nn.Module; found object"),
        ("no dim", "has num_tokens, dim and grid; found no dim"),
        ("grid", r"grid is \(rows, columns\).*found grid \(1, 2\) for 1 tokens"),
        ("weights", "the same torch.manual_seed builds the same weights"),
        ("shape", r"become floating-point tokens.*found torch.float32 \(2, 3, 3\)"),
        ("integers", "become floating-point tokens.*found torch.int32"),
        ("nan", "OwnEncoder: tokens are finite; found NaN"),
        ("random", "the same arguments .* give the same result"),
        ("changes", "arguments are not changed"),
        ("beside", "the result for one picture does not depend on those beside it"),
    ],
)
def test_what_an_encoder_may_not_do(fault: str, message: str):
    check_encoder(OwnEncoder())
    with pytest.raises(ContractError, match=message):
        check_encoder(OwnEncoder(fault=fault))


def test_a_configuration_is_a_frozen_dataclass():
    with pytest.raises(ContractError, match=r"Changeable can be changed.* to fix it: decorate"):
        check_encoder(Changeable())


class OwnModel:
    """Predict a running sum of actions, rightly unless `fault` says otherwise."""

    def __init__(self, fault: str = "") -> None:
        self.fault, self.window = fault, 0 if fault == "window" else 2

    def encode(self, obs: Observation) -> Latent:
        tokens = obs.pixels.float().mean((-2, -1)).unsqueeze(-2)
        tokens = tokens / 0 if self.fault == "nan" else tokens
        tokens = tokens - tokens.mean() if self.fault == "beside" else tokens
        return Latent(tokens=tokens.flatten(0, 1) if self.fault == "axes" else tokens)

    def predict(self, latents: Latent, actions: torch.Tensor) -> Latent:
        moved = actions.mean((1, 2), keepdim=True) if self.fault == "future" else actions[..., :1]
        tokens = latents.tokens + moved[..., None]
        return Latent(tokens=tokens[:, -1:] if self.fault == "last" else tokens)

    def rollout(self, context, actions, *, window=None) -> Latent:
        moved = actions[..., :1].cumsum(1)
        if self.fault == "rollout":
            moved = actions[..., :1]
        return Latent(tokens=context.latents.tokens[:, -1:] + moved[..., None])


class SharingModel(OwnModel):
    def share_context(self, context, *, window=None):
        return lambda actions: Latent(tokens=torch.zeros(*actions.shape[:3], 1, 3))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (OwnModel("window"), "a world model has window .*found window 0"),
        (OwnModel("axes"), r"encode turns observations \[\*b\] into finite latents"),
        (OwnModel("nan"), "into finite latents"),
        (OwnModel("beside"), "the result for one observation does not depend"),
        (OwnModel("last"), r"predict returns latents \[B, w\]"),
        (OwnModel("future"), "slot t of predict knows actions up to t only"),
        (OwnModel("rollout"), "predict, fed with what it predicted"),
        (SharingModel(), "share_context rolls out what rollout does"),
    ],
    ids=lambda one: getattr(one, "fault", ""),
)
def test_what_a_world_model_may_not_do(model: OwnModel, message: str):
    check_world_model(OwnModel(), action_dim=2, image_size=8)
    with pytest.raises(ContractError, match=message):
        check_world_model(model, action_dim=2, image_size=8)


@dataclass(frozen=True, kw_only=True)
class OwnObjective:
    fault: str = ""

    def __call__(self, predicted, goal, actions):
        cost = LatentDistance(proprio_weight=0.0)(predicted, goal, actions)
        if self.fault == "changes":
            actions.zero_()
        faults: dict[str, Callable[[], Any]] = {
            "shape": cost.sum,
            "nan": lambda: cost / 0 * 0,
            "random": lambda: cost + torch.rand(()),
            "beside": lambda: cost - cost.min(1, keepdim=True).values,
        }
        return faults.get(self.fault, lambda: cost)()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("shape", r"returns costs \[B, K\] .*found torch.float32 \(\)"),
        ("nan", "costs are finite"),
        ("random", "the same arguments .* give the same result"),
        ("changes", "arguments are not changed"),
        ("beside", "the result for one candidate does not depend on those beside it"),
    ],
)
def test_what_an_objective_may_not_do(fault: str, message: str):
    check_objective(OwnObjective())
    with pytest.raises(ContractError, match=message):
        check_objective(OwnObjective(fault=fault))


@dataclass(frozen=True, kw_only=True)
class OwnPlanner:
    fault: str = ""
    needs_gradients: ClassVar[bool] = False
    calls: ClassVar[list[int]] = []

    def plan(self, cost, init, *, bounds, generator):
        self.calls.append(0)
        free = None if self.fault == "bounds" else bounds
        search = CEM(num_samples=32, num_elites=4, num_iterations=5)
        plan = search.plan(cost, init, bounds=free, generator=generator)
        if self.fault == "changes":
            init.zero_()
        faults: dict[str, Callable[[], Any]] = {
            "cost": lambda: replace(plan, cost=plan.cost / 2),
            "worse": lambda: replace(plan, actions=init - 1, cost=cost((init - 1)[:, None])[:, 0]),
            "state": lambda: search.plan(
                cost, plan.actions + len(self.calls) / 100, bounds=free, generator=generator
            ),
            "mixes": lambda: search.plan(
                lambda a: cost(a).sum(0, keepdim=True).expand(len(init), -1),
                init,
                bounds=free,
                generator=generator,
            ),
        }
        changed = faults.get(self.fault, lambda: plan)()
        if self.fault == "mixes":
            return replace(changed, cost=cost(changed.actions[:, None])[:, 0])
        if self.fault == "shape":
            object.__setattr__(changed, "actions", changed.actions[:, :1])
        if self.fault == "history":
            object.__setattr__(changed, "history", changed.history[0])
        return changed


@dataclass(frozen=True, kw_only=True)
class UnsurePlanner:
    needs_gradients: ClassVar[str] = "no"

    def plan(self): ...


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "shape",
            r"a plan has actions \[B, H, A\] and cost \[B\]; found torch.float32 \(2, 1, 2\)",
        ),
        ("history", "history holds the lowest cost"),
        ("cost", "cost is that of exactly the returned actions"),
        ("worse", "a plan costs less than the initial guess"),
        ("state", "the same arguments .* give the same result"),
        ("changes", "arguments are not changed"),
        ("mixes", "does not depend on the problems beside it|costs less than"),
        ("bounds", "actions stay within bounds; found .* where 0.3 is allowed"),
    ],
)
def test_what_a_planner_may_not_do(fault: str, message: str):
    check_planner(OwnPlanner())
    with pytest.raises(ContractError, match=message):
        check_planner(OwnPlanner(fault=fault))


def test_a_planner_says_whether_it_needs_gradients():
    with pytest.raises(ContractError, match="needs_gradients is a bool of the class; found 'no'"):
        check_planner(UnsurePlanner())
