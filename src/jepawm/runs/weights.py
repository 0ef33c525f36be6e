"""`jepawm check weights`: what a released file is, what of it matches, and whether it would plan."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from jepawm.build import build_world_model
from jepawm.engine.process import tune_process
from jepawm.engine.rollout_engine import RolloutEngine
from jepawm.errors import UserError, plain_text
from jepawm.experiment import Experiment
from jepawm.hub.decoders import decoder_layout
from jepawm.hub.imports import (
    Imported,
    file_groups,
    fit_dino_wm,
    import_content,
    read_modules,
    world_model_layout,
)
from jepawm.hub.lewm import find_weights, import_lewm, is_lewm, read_lewm
from jepawm.hub.reference import flat_names
from jepawm.hub.released import DECODERS, RELEASED, released_experiment, released_normalizer
from jepawm.models.encoders import GivenTokens
from jepawm.models.frozen.encoder import FrozenEncoderConfig
from jepawm.models.weight_files import (
    list_misfits,
    load_weights,
    only_tensors,
    require_numbers,
    shorten,
)
from jepawm.models.world_model import JEPAWorldModel
from jepawm.normalizer import Normalizer
from jepawm.planning.cem import CEM
from jepawm.types import Context, Latent

_NEARLY = 0.5
"""Part of a model's tensors from which a file counts as nearly that model."""
_HORIZON, _CANDIDATES = 2, 8
_Layout = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class CheckedWeights:
    """A file that was recognised."""

    file: Path
    """The file."""
    models: list[str]
    """Names of the models whose tensors these are: released ones, or `lewm`."""
    tensors: int
    """Tensors that match: all of them."""
    missing: int = 0
    """Tensors that the file lacks."""
    unexpected: int = 0
    """Tensors that have no place in the model."""
    dropped: list[str]
    """Entries of the file that planning does not need."""
    forward: str
    """What a forward pass from random tokens gave."""
    plans: str
    """Whether it would plan: a search over random actions finds a lower cost."""
    command: str
    """What imports it."""


def check_weights(path: Path) -> CheckedWeights:
    """Recognise a file by its tensors, and predict and plan with it from random tokens.

    Files of JEPA-WM's authors, checkpoints of the original DINO-WM, the public file of V-JEPA-2-AC and
    folders of LeWorldModel. The frozen encoder is not in these files and is not run.
    """
    tune_process()
    weights = find_weights(path)
    if path.is_dir() or is_lewm(_all_tensors(weights)):
        return _check_lewm(path, weights)
    content = read_modules(path)
    tensors = _model_tensors(content, path)
    fitting, nearest = [], ("", -1.0, [""])
    for name, layout in _known_layouts(tensors):
        misfits = list_misfits(layout, tensors)
        if not misfits:
            fitting.append(name)
        share = sum(tensors[k].shape == v for k, v in layout.items() if k in tensors) / len(layout)
        if share > nearest[1]:
            nearest = (name, share, misfits)
    if not fitting:
        raise UserError(_unknown(path, tensors, nearest))
    if fitting[0] in DECODERS:
        return _decoder(path, fitting, tensors)
    experiment = next(e for e in _experiments(fitting[0], tensors) if _fits(e, fitting[0], tensors))
    normalizer = released_normalizer(fitting[0])
    imported = import_content(content, experiment, normalizer=normalizer, path=path)
    forward, plans = _try(imported)
    dropped = imported.origin["dropped"]
    project = "jepa-wms" if experiment == released_experiment(fitting[0]) else "dino-wm"
    return CheckedWeights(
        file=path,
        models=fitting,
        tensors=len(tensors),
        dropped=[str(one) for one in dropped] if isinstance(dropped, list) else [],
        forward=forward,
        plans=plans,
        command=f"jepawm import {project} {path} --model {fitting[0]} --out DIR",
    )


def _check_lewm(path: Path, weights: Path) -> CheckedWeights:
    tensors = read_lewm(weights)
    first = tensors.get("action_encoder.patch_embed.weight")
    width = 1 if first is None or first.ndim != 3 else first.shape[1]
    frameskip = 5 if width % 5 == 0 else 1
    count = width // frameskip
    unit = Normalizer.from_statistics(action_mean=[0.0] * count, action_std=[1.0] * count)
    imported = import_lewm(path, env="recordings", normalizer=unit, frameskip=frameskip)
    forward, plans = _try(imported)
    return CheckedWeights(
        file=weights,
        models=["lewm"],
        tensors=len(tensors),
        dropped=[],
        forward=forward,
        plans=plans,
        command=f"jepawm import lewm {path} --statistics FILE --out DIR",
    )


def _decoder(path: Path, fitting: list[str], tensors: Mapping[str, Tensor]) -> CheckedWeights:
    require_numbers(tensors, path=path)
    return CheckedWeights(
        file=path,
        models=fitting,
        tensors=len(tensors),
        dropped=[],
        forward="not run: a decoder of images",
        plans="no: a decoder paints what others plan",
        command=f"jepawm import jepa-wms {path} --model {fitting[0]} --out DIR",
    )


def _all_tensors(path: Path) -> dict[str, Tensor]:
    """Return tensors at the top of a file, if that is what it holds."""
    try:
        return read_lewm(path)
    except UserError:
        return {}  # pickled modules, which are read by their own reader, or what it refuses in words


def _model_tensors(content: Mapping[str, object], path: Path) -> dict[str, Tensor]:
    """Return the tensors of a world model or a decoder by `<group>.<tensor>`."""
    inner = content.get("model")
    if isinstance(inner, Mapping) and "predictor" not in content:
        return flat_names({"model": only_tensors(inner)})
    found = file_groups(content, path)
    if not found:
        names = ", ".join(str(name) for name in list(content)[:6])
        raise UserError(
            f"{path} holds no model that is known here (it has: {plain_text(names)}); known are files of "
            "JEPA-WM's authors, DINO-WM, V-JEPA-2-AC and LeWorldModel"
        )
    return found


def _known_layouts(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, _Layout]]:
    if any(name.startswith("model.") for name in tensors):
        for name in DECODERS:
            yield name, decoder_layout(DECODERS[name])
        return
    for name in RELEASED:
        for experiment in _experiments(name, tensors):
            yield name, world_model_layout(experiment, released_normalizer(name))


def _experiments(name: str, tensors: Mapping[str, Tensor]) -> Iterator[Experiment]:
    """Yield what a file of a released name may be: as released, or DINO-WM of other sizes."""
    released = released_experiment(name)
    yield released
    if RELEASED[name].family == "dino_wm" and "predictor.pos_embedding" in tensors:
        yield fit_dino_wm(released, tensors, window=3)


def _fits(experiment: Experiment, name: str, tensors: Mapping[str, Tensor]) -> bool:
    return not list_misfits(world_model_layout(experiment, released_normalizer(name)), tensors)


def _unknown(
    path: Path, tensors: Mapping[str, Tensor], nearest: tuple[str, float, list[str]]
) -> str:
    name, share, misfits = nearest
    if share >= _NEARLY:
        return (
            f"{path} is nearly {name}: {share:.0%} of its tensors match, but {shorten(misfits, 12)}; it "
            "is of another version or another project, and is not imported in part"
        )
    first = ", ".join(list(tensors)[:4])
    return (
        f"{path} is no model that is known here: of {name}, which it is nearest to, {share:.0%} of the "
        f"tensors are there (it has {len(tensors)}: {plain_text(first)}, ...)"
    )


def _try(imported: Imported) -> tuple[str, str]:
    """Predict from random tokens and search for a plan; returns both results in words."""
    model = _without_frozen_encoder(imported)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, 1, model.encoder.num_tokens, model.encoder.dim, generator=generator)
    latents = Latent(tokens=tokens, proprio=_code(model, imported, generator=generator))
    context = Context(latents=latents[:1], actions=torch.zeros(1, 0, model.action_dim))
    goal = latents[1:].map(lambda part: part[:, 0])
    planner = CEM(num_samples=_CANDIDATES, num_elites=2, num_iterations=2)
    with torch.no_grad():
        engine = RolloutEngine(model, context)
        init = torch.zeros(1, _HORIZON, model.action_dim)
        found = engine.latents(init[:, None])
        if not bool(found.tokens.isfinite().all()):
            return "predictions are not finite", "no: predictions are not finite"
        cost = engine.cost_to(goal, objective=imported.experiment.objective)
        first = float(cost(init[:, None])[0, 0])
        plan = planner.plan(cost, init, bounds=None, generator=generator)
        best = min(
            float(plan.cost[0]), float(plan.history.min()) if plan.history.numel() else first
        )
    forward = f"{_HORIZON} steps, finite, mean {float(found.tokens.mean()):.3g}"
    if best < first:
        return forward, f"yes: a search lowers the cost from {first:.4g} to {best:.4g}"
    return forward, f"no: the cost is {first:.4g} whatever the actions are"


def _code(
    model: JEPAWorldModel, imported: Imported, *, generator: torch.Generator
) -> Tensor | None:
    """Return proprio codes `[2, 1, M, Dp]` of a random state; None where there are none."""
    mean = imported.normalizer.proprio_mean
    if model.proprio_encoder is None or mean is None:
        return None
    code = model.proprio_encoder(torch.randn(2, 1, len(mean), generator=generator)).detach()
    wide = bool(model.predictor.layout.proprio_feature_dim)
    return code.expand(-1, -1, model.encoder.num_tokens, -1) if wide else code


def _without_frozen_encoder(imported: Imported) -> JEPAWorldModel:
    """Build the model of imported weights; a frozen encoder's place stays empty."""
    experiment, normalizer = imported.experiment, imported.normalizer
    config = experiment.encoder
    if isinstance(config, FrozenEncoderConfig):
        side = config.image_size // config.shape.patch_size
        encoder = GivenTokens(dim=config.shape.width, grid=(side, side))
    else:
        encoder = config.build()
    proprio = normalizer.proprio_mean
    model = build_world_model(
        encoder,
        experiment.predictor,
        proprio=experiment.proprio,
        action_dim=experiment.data.frameskip * normalizer.action_dim,
        proprio_dim=0 if proprio is None else len(proprio),
    )
    load_weights(model, imported.weights, source="the file")
    return model.eval().requires_grad_(requires_grad=False)
