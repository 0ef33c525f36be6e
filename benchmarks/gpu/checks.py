"""Is it right there? Latents and costs of the device against those of the CPU in float32."""

import itertools
import traceback
from collections.abc import Iterator
from math import inf, isnan
from typing import Any

import torch
from child import read_spec, say
from costs import random_costs
from device import PRECISIONS
from plan_worker import size_and_job

from jepawm.engine.config import EngineConfig
from jepawm.engine.rollout_engine import RolloutEngine
from jepawm.engine.shared_context import share_context
from jepawm.models.encoders import GivenTokens
from jepawm.models.predictor import Predictor, PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.models.world_model import JEPAWorldModel
from jepawm.planning.objectives import LatentDistance
from jepawm.runs.bench import PlanningBench
from jepawm.types import Context, Latent

BOUNDS = {"float32": 1e-4, "tf32": 0.05, "bfloat16": 0.2}
"""Largest differences, as a fraction of the largest number. Weights are large and latents go
through several steps, so that rounding grows; above this it is no rounding."""
DIM, ACTION, HORIZON, SIDE = 12, 4, 5, 2
AXES: dict[str, tuple[Any, ...]] = {
    "conditioning": ("feature", "sequence", "adaln", "adaln_zero"),
    "positions": ("sincos", "rope", "rope_vjepa", "learned"),
    "proprio": ("none", "feature", "token"),
    "window": (1, 2, 3),
}
"""Layouts of the predictor."""


def main() -> None:
    """Say one row for each check."""
    spec: dict[str, Any] = read_spec()
    device = torch.device(spec["device"])
    say(guarded("layouts", lambda: check_layouts(device, tiny=spec["tiny"])))
    for mode in spec["modes"]:
        check = lambda mode=mode: check_compiled(mode, device, tiny=spec["tiny"])  # noqa: E731
        say(guarded(f"compile {mode}", check))
    for size in spec["sizes"]:
        one = {**spec, "size": size, "num_iterations": 1}
        say(guarded(size, lambda one=one: check_size(one, device)))


def guarded(name: str, check: Any) -> dict[str, object]:  # noqa: ANN401 - any check
    """Return the row of a check, or of its error."""
    try:
        return {"check": name, **check()}
    except Exception:  # noqa: BLE001 - the next check runs all the same
        return {"check": name, "passed": False, "error": traceback.format_exc()[-3000:]}


@torch.no_grad()
def check_layouts(device: torch.device, *, tiny: bool) -> dict[str, object]:
    """Roll every layout out on both; returns the largest differences by precision."""
    largest: dict[str, tuple[float, str]] = {}
    layouts = [dict(zip(AXES, values, strict=True)) for values in itertools.product(*AXES.values())]
    layouts = layouts[::13] if tiny else layouts
    for layout in layouts:
        model, context, goal, actions = problem(layout)
        expected = list(results(model, context, goal, actions, config=EngineConfig()))
        there = model.to(device), context.to(device), goal.to(device), actions.to(device)
        for precision in PRECISIONS:
            got = results(*there, config=EngineConfig(precision=precision))
            pairs = zip(got, expected, strict=True)
            difference = max(relative(one.cpu(), other) for one, other in pairs)
            name = " ".join(map(str, layout.values()))
            largest[precision] = max(largest.get(precision, (0.0, name)), (difference, name))
    return verdict(largest, num_layouts=len(layouts))


@torch.no_grad()
def check_compiled(mode: Any, device: torch.device, *, tiny: bool) -> dict[str, object]:  # noqa: ANN401
    """Compile, chunk by chunk and in two engines, and compare with the same device uncompiled."""
    layout = {"conditioning": "adaln", "positions": "rope_vjepa", "proprio": "feature", "window": 2}
    parts = problem(layout, depth=1 if tiny else 2, horizon=2 if tiny else 3)
    there = (parts[0].to(device), *(part.to(device) for part in parts[1:]))
    shared = share_context(there[0].predictor, there[1], window=2)
    room = 3 * shared.bytes_per_candidate(there[3].shape[2])  # a problem at a time
    largest = {}
    for precision in ("float32",) if tiny else ("float32", "bfloat16"):
        torch._dynamo.reset()  # noqa: SLF001
        plain = list(results(*there, config=EngineConfig(precision=precision)))
        config = EngineConfig(precision=precision, compile=mode, max_memory_bytes=room)
        for _ in range(3):  # compiles, records a graph, replays it
            got = list(results(*there, config=config))
        differences = [relative(one, other) for one, other in zip(got, plain, strict=True)]
        largest[precision] = (max(differences), "")
    return verdict(largest, bound_of="the same precision, not compiled")


def verdict(largest: dict[str, tuple[float, str]], **more: object) -> dict[str, object]:
    """Return the differences, and whether they are within their bounds."""
    return {
        **more,
        "differences": {name: value for name, (value, _) in largest.items()},
        "where": {name: where for name, (_, where) in largest.items()},
        "bounds": BOUNDS,
        "passed": all(value <= BOUNDS[name] for name, (value, _) in largest.items()),
    }


def problem(
    layout: dict[str, Any], *, depth: int = 3, horizon: int = HORIZON
) -> tuple[JEPAWorldModel, Context, Latent, torch.Tensor]:
    """Return a model with large weights, contexts, goals and candidates, the same each time."""
    config = PredictorConfig(
        conditioning=layout["conditioning"],
        positions=layout["positions"],
        window=layout["window"],
        depth=depth,
        num_heads=2,
        head_dim=7,
        visual_dim=12,
        action_dim=6,
    )
    proprio = ProprioConfig(mode=layout["proprio"], dim=4)
    grid = (SIDE, SIDE)
    predictor = Predictor(config, proprio, latent_dim=DIM, grid=grid, action_dim=ACTION)
    generator = torch.Generator().manual_seed(1)
    for parameter in predictor.parameters():
        parameter.data = 0.4 * torch.randn(parameter.shape, generator=generator)
    model = JEPAWorldModel(GivenTokens(dim=DIM, grid=grid), predictor).eval()

    def randn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    def latent(*batch: int) -> Latent:
        codes = None
        if layout["proprio"] == "token":
            codes = randn(*batch, 1, predictor.layout.width)
        elif layout["proprio"] == "feature":
            codes = randn(*batch, SIDE**2, 4)
        return Latent(tokens=randn(*batch, SIDE**2, DIM), proprio=codes)

    length = layout["window"]
    context = Context(latents=latent(2, length), actions=randn(2, length - 1, ACTION))
    return model, context, latent(2), randn(2, 3, horizon, ACTION)


def results(
    model: JEPAWorldModel,
    context: Context,
    goal: Latent,
    actions: torch.Tensor,
    *,
    config: EngineConfig,
) -> Iterator[torch.Tensor]:
    """Yield latents and costs of the engine."""
    engine = RolloutEngine(model, context, config=config)
    rolled = engine.latents(actions)
    yield rolled.tokens
    if rolled.proprio is not None:
        yield rolled.proprio
    yield engine.cost(actions, objective=LatentDistance(), goal=goal)


def check_size(spec: dict[str, Any], device: torch.device) -> dict[str, object]:
    """Compare costs of a few candidates at the size of a plan."""
    size, job = size_and_job(spec)

    def costs(precision: Any, place: torch.device) -> torch.Tensor:  # noqa: ANN401 - a Precision
        engine = EngineConfig(precision=precision)
        model = PlanningBench(size, job, engine=engine, device=place).model
        found = random_costs(model, size, job, num_candidates=2, engine=engine, device=place)
        return found.cpu()

    expected = costs("float32", torch.device("cpu"))
    return verdict({name: (relative(costs(name, device), expected), "") for name in PRECISIONS})


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the largest difference as a fraction of the largest number; infinite for NaN."""
    value = float((one - other).abs().max() / other.abs().max())
    return inf if isnan(value) else value


if __name__ == "__main__":
    main()
