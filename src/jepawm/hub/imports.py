"""Bring checkpoints of other projects here: read, rename, check every tensor, write a checkpoint.

Nothing in a file is run. What training needs and use does not (the state of the optimiser) is
dropped; every other tensor must be known, present and of the right shape.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path

import torch
from torch import Tensor

from jepawm.build import build_world_model, with_encoder_weights
from jepawm.checkpoint import Checkpoint
from jepawm.errors import UserError
from jepawm.experiment import Experiment, experiment_to_json
from jepawm.hub.reference import (
    GROUPS,
    Family,
    convert_world_model,
    flat_names,
    original_layout,
)
from jepawm.hub.released import RELEASED, find_released, released_experiment, released_normalizer
from jepawm.models.encoders import GivenTokens
from jepawm.models.frozen.encoder import FrozenEncoderConfig
from jepawm.models.layout import layout_only
from jepawm.models.predictor import PredictorConfig
from jepawm.models.weight_files import (
    foreign_objects,
    list_misfits,
    only_tensors,
    read_content,
    require_numbers,
    shorten,
)
from jepawm.normalizer import Normalizer
from jepawm.records import JsonValue, ModelRecord
from jepawm.torch_files import tensors_in

_DROPPED = re.compile(
    r"opt|scaler|epoch|loss|batch_size|world_size|lr|encoder|target_encoder|decoder|\w+_optimizer"
)
"""Entries besides the world model that a file may have."""
_KNOWN = re.compile(
    r"(torch|torchvision|models|einops|accelerate|wandb|dinov2|numpy)\..*|collections\.defaultdict"
    r"|functools\.partial|builtins\.(dict|getattr|object)"
)
"""Names that are replaced by inert objects: modules, optimisers and what hangs on them."""

_DEEPEST = 50
"""Modules inside modules of a file."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A world model out of a file of another project."""

    experiment: Experiment
    """Its configuration."""
    normalizer: Normalizer
    """Statistics of its training data."""
    weights: dict[str, Tensor]
    """Weights of a `JEPAWorldModel` by name, without those of the frozen encoder."""
    origin: dict[str, JsonValue]
    """The file, and what of it was dropped."""

    def checkpoint(self) -> Checkpoint:
        """Return it as a checkpoint of this library."""
        proprio = self.normalizer.proprio_mean
        return Checkpoint(
            record=ModelRecord(
                experiment=experiment_to_json(self.experiment),
                action_dim=self.normalizer.action_dim,
                proprio_dim=0 if proprio is None else len(proprio),
                normalizer=self.normalizer,
                imported=self.origin,
            ),
            tensors={f"model.{name}": value for name, value in self.weights.items()},
        )


def import_jepa_wms(path: Path, model: str, *, encoder_weights: str | None = None) -> Imported:
    """Import a file of a world model that was released with the paper.

    Args:
        path: the file.
        model: its name, one of `RELEASED`.
        encoder_weights: where the weights of the frozen encoder are, as `encoder.weights`; None:
            the Hugging Face hub.
    """
    experiment, normalizer = released_experiment(model), released_normalizer(model)
    if encoder_weights is not None:
        experiment = with_encoder_weights(experiment, encoder_weights)
    content = read_content(path)
    return import_content(content, experiment, normalizer=normalizer, path=path)


def import_vjepa2_ac(path: Path, *, encoder_weights: str | None = None) -> Imported:
    """Import the public file of V-JEPA-2-AC, which holds the encoder too.

    Args:
        path: the file, `vjepa2-ac-vitg.pt`.
        encoder_weights: where the weights of the encoder are; None: this file, which then has to
            stay where it is.
    """
    content = read_content(path)
    if encoder_weights is None and isinstance(content.get("encoder"), Mapping):
        encoder_weights = str(path.resolve())
    experiment = with_encoder_weights(
        replace(released_experiment("vjepa2_ac_oss"), name="vjepa2_ac"), encoder_weights or "hub"
    )
    normalizer = released_normalizer("vjepa2_ac_oss")
    return import_content(content, experiment, normalizer=normalizer, path=path)


def import_dino_wm(
    path: Path, model: str, *, window: int = 3, encoder_weights: str | None = None
) -> Imported:
    """Import a checkpoint that the original code of DINO-WM saved, which pickles whole modules.

    Sizes are read from the tensors; the frozen encoder is DINOv2 S.

    Args:
        path: the file, `model_latest.pth`.
        model: the released DINO-WM model for the same data; statistics and protocol are its.
        window: frames of history (`num_hist`) that it was trained with.
        encoder_weights: where the weights of the frozen encoder are; None: the Hugging Face hub.
    """
    if find_released(model).family != "dino_wm":
        known = ", ".join(name for name, one in RELEASED.items() if one.family == "dino_wm")
        raise UserError(f"{model} is no DINO-WM model; choose --model from {known}")
    if window < 1:
        raise UserError(f"--window {window}; give the frames of history, at least 1")
    content = read_modules(path)
    experiment = fit_dino_wm(released_experiment(model), file_groups(content, path), window=window)
    if encoder_weights is not None:
        experiment = with_encoder_weights(experiment, encoder_weights)
    normalizer = released_normalizer(model)
    return import_content(content, experiment, normalizer=normalizer, path=path)


def import_content(
    content: Mapping[str, object], experiment: Experiment, *, normalizer: Normalizer, path: Path
) -> Imported:
    """Take a world model out of the content of a file.

    Args:
        content: top-level entries.
        experiment: what the file should hold.
        normalizer: statistics of the data; they fix the widths of actions and proprioception.
        path: the file, for messages.
    """
    tensors = file_groups(content, path)
    problems = list_misfits(world_model_layout(experiment, normalizer), tensors)
    if problems:
        hint = _fitting_models(tensors, besides=experiment.name)
        raise UserError(f"{path} is not {experiment.name}: {shorten(problems, 20)}{hint}")
    require_numbers(tensors, path=path)
    epoch = content.get("epoch")
    weights = convert_world_model(family_of(experiment.predictor), tensors)
    return Imported(
        experiment=experiment,
        normalizer=normalizer,
        weights={name: value.float() for name, value in weights.items()},
        origin={
            "file": path.name,
            "epoch": epoch if isinstance(epoch, int) else None,
            "dropped": [str(name) for name in content if name not in GROUPS],
        },
    )


def world_model_layout(
    experiment: Experiment, normalizer: Normalizer
) -> dict[str, tuple[int, ...]]:
    """Return the tensors that the file of a reference model has, by `<group>.<tensor>`."""
    encoder = experiment.encoder
    assert isinstance(encoder, FrozenEncoderConfig)
    side = encoder.image_size // encoder.shape.patch_size
    proprio = normalizer.proprio_mean
    with layout_only():
        model = build_world_model(
            GivenTokens(dim=encoder.shape.width, grid=(side, side)),
            experiment.predictor,
            proprio=experiment.proprio,
            action_dim=experiment.data.frameskip * normalizer.action_dim,
            proprio_dim=0 if proprio is None else len(proprio),
        )
    return original_layout(family_of(experiment.predictor), model.state_dict())


def family_of(predictor: PredictorConfig) -> Family:
    """Return the family of the reference that a predictor belongs to."""
    if predictor.positions == "learned":
        return "dino_wm"
    return "AdaLN" if predictor.conditioning.startswith("adaln") else "vjepa2_ac"


def file_groups(content: Mapping[str, object], path: Path) -> dict[str, Tensor]:
    """Return the tensors of the world model by `<group>.<tensor>`; refuse unknown weights."""
    rest = {str(k): value for k, value in content.items() if k not in GROUPS}
    unknown = [
        k
        for k, v in rest.items()
        if not _DROPPED.fullmatch(k) and next(tensors_in(v), None) is not None
    ]
    if unknown:
        raise UserError(
            f"{path} holds {shorten(unknown)} besides {', '.join(GROUPS)}; it is not a checkpoint of "
            "a world model, or of a version that is not known here"
        )
    groups: dict[str, dict[str, Tensor]] = {}
    for group in GROUPS:
        entry = content.get(group)
        if isinstance(entry, Mapping):
            groups[group] = only_tensors(entry)
    return flat_names(groups)


def _fitting_models(tensors: Mapping[str, Tensor], *, besides: str) -> str:
    """Say which released models have exactly these tensors."""
    names = [
        name
        for name in RELEASED
        if name != besides
        and not list_misfits(
            world_model_layout(released_experiment(name), released_normalizer(name)), tensors
        )
    ]
    return f" (its tensors are those of {' or '.join(names)}; see --model)" if names else ""


def fit_dino_wm(
    experiment: Experiment, tensors: Mapping[str, Tensor], *, window: int
) -> Experiment:
    """Give a DINO-WM experiment the sizes of tensors; what is not there stays as it is."""

    def size(name: str, axis: int, *, default: int) -> int:
        value = tensors.get(name)
        return default if value is None or value.ndim <= axis else value.shape[axis]

    predictor, encoder = experiment.predictor, experiment.encoder
    assert isinstance(encoder, FrozenEncoderConfig)
    block = "predictor.transformer.layers.{}.{}"
    depth = sum(block.format(i, "0.norm.weight") in tensors for i in range(len(tensors)))
    head_dim = predictor.head_dim or 64
    inner = size(block.format(0, "0.to_qkv.weight"), 0, default=3 * 16 * head_dim) // 3
    num_tokens = size("predictor.pos_embedding", 1, default=256 * window) // window
    return replace(
        experiment,
        encoder=replace(encoder, image_size=isqrt(num_tokens) * encoder.shape.patch_size),
        predictor=replace(
            predictor,
            window=window,
            depth=depth or predictor.depth,
            num_heads=inner // head_dim,
            hidden_dim=size(block.format(0, "1.net.1.weight"), 0, default=2048),
            action_dim=size("action_encoder.patch_embed.weight", 0, default=predictor.action_dim),
        ),
        proprio=replace(
            experiment.proprio,
            dim=size("proprio_encoder.patch_embed.weight", 0, default=experiment.proprio.dim),
        ),
        data=replace(experiment.data, num_steps=window),
    )


class Inert:
    """Stand in for an object of a file: whatever made it, it only keeps its state."""

    def __new__(cls, *_arguments: object) -> "Inert":
        """Ignore how the object was made."""
        return super().__new__(cls)

    def __init__(self, *_arguments: object) -> None:
        """Ignore how the object was made."""

    def __setstate__(self, state: object) -> None:
        """Keep the state by name; state of another form is dropped."""
        if isinstance(state, dict):
            vars(self).update({str(name): value for name, value in state.items()})


def read_modules(path: Path) -> dict[str, object]:
    """Read the top-level entries of a file; a pickled module becomes its tensors by name.

    DINO-WM pickles whole modules, which torch's own safe reader refuses because the file names
    classes. Here each class of a known kind is replaced by an inert one that only keeps what the
    file says about its objects, and torch's reader does the rest; any other name is still refused.
    Entries that are already tensors by name stay, so files of state dicts are read alike.
    """
    names = foreign_objects(path) if path.is_file() else []
    unknown = [name for name in names if not _KNOWN.fullmatch(name)]
    if unknown:
        raise UserError(
            f"cannot read {path}: it names {', '.join(unknown[:8])}, which is not a module of torch "
            "or DINO-WM; objects are never restored by running their code; save state dicts "
            "where the file was made, and import that"
        )
    stand_ins = [
        (_plain_dict if name.startswith("collections.") else Inert, name) for name in names
    ]
    with torch.serialization.safe_globals(list(stand_ins)):
        content = read_content(path)
    return {
        str(name): dict(_module_tensors(value)) if isinstance(value, Inert) else value
        for name, value in content.items()
    }


def _module_tensors(
    module: Inert, prefix: str = "", *, around: tuple[Inert, ...] = ()
) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and stored buffers as `state_dict` names them."""
    if module in around or len(around) > _DEEPEST:
        raise UserError(f"{prefix} is a module inside itself; it is no checkpoint of a training")
    state = vars(module)
    passing = state.get("_non_persistent_buffers_set")
    for kind in ("_parameters", "_buffers"):
        for name, value in only_tensors(_mapping(state.get(kind))).items():
            if not isinstance(passing, set) or name not in passing:
                yield prefix + name, value
    for name, child in _mapping(state.get("_modules")).items():
        if isinstance(child, Inert):
            yield from _module_tensors(child, f"{prefix}{name}.", around=(*around, module))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _plain_dict(*_factory: object) -> dict[object, object]:
    return {}
