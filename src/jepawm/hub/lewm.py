"""LeWorldModel's published folders, `weights.pt` and `config.json`, as world models of this library.

One token a frame (the class token of a small vision transformer, projected), a causal transformer
modulated by the actions, batch norm in two projectors. Sizes are those of the tensors; what tensors
do not show (heads) is in `config.json`. Two successive affine maps of the action encoder become one.
Statistics of the actions are not in these files: they come with the import.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path

import torch
from torch import Tensor

from jepawm.build import build_world_model
from jepawm.errors import UserError, show
from jepawm.experiment import AgentConfig, DataConfig, Experiment
from jepawm.hub.imports import Imported
from jepawm.hub.reference import Rules, rename, reversed_rules
from jepawm.models.class_token import ClassTokenConfig
from jepawm.models.layout import layout_only
from jepawm.models.predictor import PredictorConfig
from jepawm.models.proprio import ProprioConfig
from jepawm.models.weight_files import (
    list_misfits,
    only_tensors,
    read_content,
    require_numbers,
    shorten,
)
from jepawm.normalizer import Normalizer
from jepawm.planning.cem import CEM
from jepawm.planning.objectives import LatentDistance
from jepawm.protocol import LEWM
from jepawm.strict_json import read_json
from jepawm.training.losses import LossConfig

_FILES = ("weights.pt", "model.safetensors", "weights.ckpt")
_ORACLE = {"oracle_samples": 64, "oracle_iterations": 3}  # its simulators repeat whole episodes
_HEADS = {"tiny": 3, "small": 6, "base": 12, "large": 16}
"""Attention heads of the encoder by its size."""
_RULES: Rules = (
    ("encoder.embeddings.cls_token", "encoder.class_token"),
    ("encoder.embeddings.position_embeddings", "encoder.positions"),
    ("encoder.embeddings.patch_embeddings.projection.", "encoder.patches."),
    ("encoder.layers.{}.layernorm_before.", "encoder.blocks.{}.norm1."),
    ("encoder.layers.{}.layernorm_after.", "encoder.blocks.{}.norm2."),
    ("encoder.layers.{}.attention.o_proj.", "encoder.blocks.{}.attn.proj."),
    ("encoder.layers.{}.mlp.", "encoder.blocks.{}.mlp."),
    ("encoder.layernorm.", "encoder.norm."),
    ("projector.net.0.", "encoder.projector.fc1."),
    ("projector.net.1.", "encoder.projector.norm."),
    ("projector.net.3.", "encoder.projector.fc2."),
    ("predictor.pos_embedding", "predictor.position_table"),
    ("predictor.transformer.norm.", "predictor.norm."),
    ("predictor.transformer.layers.{}.attn.norm.", "predictor.blocks.{}.inner1."),
    ("predictor.transformer.layers.{}.attn.to_qkv.", "predictor.blocks.{}.attn.qkv."),
    ("predictor.transformer.layers.{}.attn.to_out.0.", "predictor.blocks.{}.attn.proj."),
    ("predictor.transformer.layers.{}.mlp.net.0.", "predictor.blocks.{}.inner2."),
    ("predictor.transformer.layers.{}.mlp.net.1.", "predictor.blocks.{}.mlp.fc1."),
    ("predictor.transformer.layers.{}.mlp.net.4.", "predictor.blocks.{}.mlp.fc2."),
    ("predictor.transformer.layers.{}.adaLN_modulation.1.", "predictor.blocks.{}.modulation."),
    ("action_encoder.embed.2.", "predictor.action_encoder.fc2."),
    ("pred_proj.net.0.", "predictor.projector.fc1."),
    ("pred_proj.net.1.", "predictor.projector.norm."),
    ("pred_proj.net.3.", "predictor.projector.fc2."),
)
"""How a name begins there, and here; queries, keys and values, and the first two maps of the action
encoder, are joined besides."""
_OLDER: tuple[tuple[str, str], ...] = (
    (r"encoder\.encoder\.layer\.", "encoder.layers."),
    (r"(encoder\.layers\.\d+)\.attention\.attention\.query\.", r"\1.attention.q_proj."),
    (r"(encoder\.layers\.\d+)\.attention\.attention\.key\.", r"\1.attention.k_proj."),
    (r"(encoder\.layers\.\d+)\.attention\.attention\.value\.", r"\1.attention.v_proj."),
    (r"(encoder\.layers\.\d+)\.attention\.output\.dense\.", r"\1.attention.o_proj."),
    (r"(encoder\.layers\.\d+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
    (r"(encoder\.layers\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
)
"""Names that transformers gave the encoder's layers before version 5, and since."""
_QKV = tuple(f"encoder.layers.{{}}.attention.{name}." for name in ("q_proj", "k_proj", "v_proj"))
_JOINED = "encoder.blocks.{}.attn.qkv."
_FIRST = ("action_encoder.patch_embed.", "action_encoder.embed.0.")
_FOLDED = "predictor.action_encoder.fc1."


@dataclass(frozen=True, kw_only=True)
class _Sizes:
    """What the tensors and the configuration of a folder describe."""

    encoder: ClassTokenConfig
    predictor: PredictorConfig
    action_dim: int
    """Width of an action block."""


def import_lewm(path: Path, *, env: str, normalizer: Normalizer | None, frameskip: int) -> Imported:
    """Import a published LeWorldModel.

    Args:
        path: its folder, or the file of weights beside its `config.json`.
        env: environment that it acts in; `recordings`: none.
        normalizer: statistics of one environment action in its training data; None: not known,
            which is refused with what the actions have to be.
        frameskip: environment steps in an action block.
    """
    weights_file = find_weights(path)
    tensors = read_lewm(weights_file)
    sizes = _sizes(tensors, _read_config(weights_file), where=weights_file)
    if sizes.action_dim % frameskip:
        raise UserError(
            f"{weights_file} takes blocks of {sizes.action_dim} numbers, which --frameskip "
            f"{frameskip} does not divide; give the number of environment steps in a block"
        )
    width = sizes.action_dim // frameskip
    if normalizer is None:
        raise UserError(
            f"{weights_file} holds no statistics of its actions; give --statistics FILE, a JSON "
            f"file with action_mean and action_std of {width} numbers each, or the folder of a "
            "store that `jepawm data import` made of its training data"
        )
    if normalizer.action_dim != width:
        raise UserError(
            f"--statistics are of actions of {normalizer.action_dim} numbers, and blocks of "
            f"{frameskip} steps have {width} each ({weights_file}); give those of its own data, or "
            "another --frameskip"
        )
    experiment = lewm_experiment(sizes.encoder, sizes.predictor, env=env, frameskip=frameskip)
    normalizer = replace(normalizer, proprio_mean=None, proprio_std=None)
    counts = [name for name in tensors if name.endswith("num_batches_tracked")]
    require_numbers({k: v for k, v in tensors.items() if k not in counts}, path=weights_file)
    return Imported(
        experiment=experiment,
        normalizer=normalizer,
        weights=_convert(tensors, sizes, source=weights_file),
        origin={"file": weights_file.name, "epoch": None, "dropped": []},
    )


def lewm_experiment(
    encoder: ClassTokenConfig, predictor: PredictorConfig, *, env: str, frameskip: int
) -> Experiment:
    """Return the configuration that LeWorldModel was trained and evaluated with."""
    return Experiment(
        name="lewm",
        env=env,
        encoder=encoder,
        predictor=predictor,
        loss=LossConfig(
            rollout_steps=1,
            target_gradient="all",
            regularizer="sigreg",
            regularizer_weight=0.09,
            num_directions=1024,
            proprio=False,
        ),
        data=DataConfig(
            image_size=encoder.image_size, num_steps=predictor.window, frameskip=frameskip
        ),
        objective=LatentDistance(proprio_weight=0.0),
        planner=CEM(num_samples=300, num_elites=30, num_iterations=30),
        agent=AgentConfig(window=1),
        protocols=(replace(LEWM, frameskip=frameskip, max_env_steps=10 * frameskip, **_ORACLE),),
    )


def find_weights(path: Path) -> Path:
    """Return the file of weights of a published folder."""
    if not path.is_dir():
        return path
    found = [path / name for name in _FILES if (path / name).is_file()]
    if not found:
        raise UserError(
            f"{path} holds none of {', '.join(_FILES)}; give the folder with LeWorldModel's "
            "weights.pt and config.json"
        )
    return found[0]


def read_lewm(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file of LeWorldModel, by the names that transformers gives since 5."""
    content: Mapping[str, object] = read_content(path)
    for group in ("state_dict", "model"):
        inner = content.get(group)
        content = inner if isinstance(inner, Mapping) else content
    named = {name.removeprefix("model."): value for name, value in only_tensors(content).items()}
    for before, since in _OLDER:
        named = {re.sub(before, since, name): value for name, value in named.items()}
    return named


def is_lewm(tensors: Mapping[str, Tensor]) -> bool:
    """Say whether tensors have names that only LeWorldModel gives."""
    return "predictor.pos_embedding" in tensors and "pred_proj.net.0.weight" in tensors


def _convert(tensors: Mapping[str, Tensor], sizes: _Sizes, *, source: Path) -> dict[str, Tensor]:
    """Check every tensor of a file and return those of a `JEPAWorldModel`, renamed and joined."""
    encoder = sizes.encoder
    smooth, action_dim, _ = _shape(tensors, f"{_FIRST[0]}weight", ndim=3, source=source)
    layout = _layout(sizes, smooth=smooth, action_dim=action_dim)
    problems = list_misfits(layout, tensors)
    if problems:
        raise UserError(
            f"{source} is not a LeWorldModel as it was published: {shorten(problems, 20)}"
        )
    joined = (*_FIRST, *(name.format(i) for name in _QKV for i in range(encoder.depth)))
    weights = {
        rename(name, _RULES): value.float() if value.is_floating_point() else value
        for name, value in tensors.items()
        if not name.startswith(joined)
    }
    for index in range(encoder.depth):
        for end in ("weight", "bias"):
            parts = [tensors[name.format(index) + end] for name in _QKV]
            weights[_JOINED.format(index) + end] = torch.cat(parts).float()
    smoothing, hidden = (
        (tensors[f"{name}weight"].double().flatten(1), tensors[f"{name}bias"].double())
        for name in _FIRST
    )
    weights[f"{_FOLDED}weight"] = (hidden[0] @ smoothing[0]).float()
    weights[f"{_FOLDED}bias"] = (hidden[0] @ smoothing[1] + hidden[1]).float()
    return weights


def _layout(sizes: _Sizes, *, smooth: int, action_dim: int) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the tensors in a file of these sizes."""
    encoder, predictor = sizes.encoder, sizes.predictor
    with layout_only():
        model = build_world_model(
            encoder.build(),
            predictor,
            proprio=ProprioConfig(mode="none"),
            action_dim=action_dim,
            proprio_dim=0,
        )
    hidden, width = predictor.action_hidden, encoder.width
    layout: dict[str, tuple[int, ...]] = {
        f"{_FIRST[0]}weight": (smooth, action_dim, 1),
        f"{_FIRST[0]}bias": (smooth,),
        f"{_FIRST[1]}weight": (hidden, smooth),
        f"{_FIRST[1]}bias": (hidden,),
    }
    for index in range(encoder.depth):
        for name in _QKV:
            layout |= {name.format(index) + "weight": (width, width)}
            layout |= {name.format(index) + "bias": (width,)}
    joined = (_FOLDED, *(_JOINED.format(index) for index in range(encoder.depth)))
    return layout | {
        rename(name, reversed_rules(_RULES)): tuple(value.shape)
        for name, value in model.state_dict().items()
        if not name.startswith(joined)
    }


def _sizes(tensors: Mapping[str, Tensor], config: Mapping[str, object], *, where: Path) -> _Sizes:
    """Return sizes: from the tensors, heads from the configuration; both must agree."""

    def shape(name: str, ndim: int) -> tuple[int, ...]:
        return _shape(tensors, name, ndim=ndim, source=where)

    def count(pattern: str) -> int:
        return len({found[1] for name in tensors if (found := re.match(pattern, name))})

    width, _, patch, _ = shape("encoder.embeddings.patch_embeddings.projection.weight", 4)
    side = isqrt(shape("encoder.embeddings.position_embeddings", 3)[1] - 1)
    _, window, dim = shape("predictor.pos_embedding", 3)
    inner = shape("predictor.transformer.layers.0.attn.to_qkv.weight", 2)[0] // 3
    hidden = shape("encoder.layers.0.mlp.fc1.weight", 2)[0]
    name = _field(config, "encoder", "size")
    heads = _HEADS.get(str(name), width // 64)
    encoder = ClassTokenConfig(
        dim=shape("projector.net.3.weight", 2)[0],
        width=width,
        depth=count(r"encoder\.layers\.(\d+)\."),
        num_heads=heads,
        hidden_dim=None if hidden == 4 * width else hidden,
        patch_size=patch,
        image_size=side * patch,
        projector_dim=shape("projector.net.0.weight", 2)[0],
    )
    known = _field(config, "predictor", "heads")
    num_heads = known if isinstance(known, int) and known > 0 else max(1, inner // 64)
    predictor = PredictorConfig(
        conditioning="adaln_zero",
        positions="learned",
        window=window,
        depth=count(r"predictor\.transformer\.layers\.(\d+)\."),
        num_heads=num_heads,
        head_dim=inner // num_heads,
        hidden_dim=shape("predictor.transformer.layers.0.mlp.net.1.weight", 2)[0],
        projected=False,
        qkv_bias=False,
        norm_eps=1e-5,
        dropout=0.1,
        inner_norm=True,
        action_hidden=shape("action_encoder.embed.0.weight", 2)[0],
        projector_dim=shape("pred_proj.net.0.weight", 2)[0],
    )
    action_dim = shape(f"{_FIRST[0]}weight", 3)[1]
    _require_agreement(config, encoder, predictor, action_dim=action_dim, where=where)
    if dim != encoder.dim:
        raise UserError(
            f"{where}: the predictor is {dim} wide, its latents {encoder.dim}; not LeWM"
        )
    return _Sizes(encoder=encoder, predictor=predictor, action_dim=action_dim)


def _require_agreement(
    config: Mapping[str, object],
    encoder: ClassTokenConfig,
    predictor: PredictorConfig,
    *,
    action_dim: int,
    where: Path,
) -> None:
    """Refuse a configuration that says other sizes than the tensors have."""
    found = {
        ("encoder", "patch_size"): encoder.patch_size,
        ("encoder", "image_size"): encoder.image_size,
        ("predictor", "num_frames"): predictor.window,
        ("predictor", "depth"): predictor.depth,
        ("predictor", "heads"): predictor.num_heads,
        ("predictor", "dim_head"): predictor.head_dim,
        ("predictor", "mlp_dim"): predictor.hidden_dim,
        ("predictor", "input_dim"): encoder.dim,
        ("predictor", "hidden_dim"): encoder.dim,
        ("action_encoder", "input_dim"): action_dim,
        ("projector", "hidden_dim"): encoder.projector_dim,
        ("pred_proj", "hidden_dim"): predictor.projector_dim,
    }
    for (part, name), size in found.items():
        said = _field(config, part, name)
        if isinstance(said, int) and said != size:
            raise UserError(
                f"{where.with_name('config.json')} says {part}.{name} = {said}, and the weights have "
                f"{size}; take both files from the same place"
            )


def _read_config(weights: Path) -> Mapping[str, object]:
    path = weights.with_name("config.json")
    data = read_json(path, what="configuration", remedy="take config.json from where weights.pt is")
    if not isinstance(data, dict):
        raise UserError(f"{path} holds no JSON object; take it from where {weights.name} is")
    inner = data.get("model")
    return inner if isinstance(inner, dict) else data


def _field(config: Mapping[str, object], part: str, name: str) -> object:
    value = config.get(part)
    return value.get(name) if isinstance(value, Mapping) else None


def _shape(tensors: Mapping[str, Tensor], name: str, *, ndim: int, source: Path) -> tuple[int, ...]:
    value = tensors.get(name)
    if value is None or value.ndim != ndim or 0 in value.shape:
        state = "is missing" if value is None else f"is {tuple(value.shape)}"
        first = ", ".join(list(tensors)[:3])
        raise UserError(
            f"{source} is not a LeWorldModel as it was published: {name} {state} (it has: "
            f"{show(first)} ...)"
        )
    return tuple(value.shape)
