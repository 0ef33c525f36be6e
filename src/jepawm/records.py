"""What checkpoints say of themselves: of a world model and of all that is trained beside it; as JSON and back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

from jepawm.commands import commands_from_json
from jepawm.errors import UserError
from jepawm.normalizer import Normalizer

JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a run was computed with."""

    versions: dict[str, str]
    """Versions of Python, of this library and of what it computes with."""
    commit: str | None
    """Commit of this library's source; None outside a repository."""
    num_threads: int
    """CPU threads of each process."""


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """Which data a model learned from."""

    sha256: str
    """Hash of the content of the store; see `EpisodeStore.sha256`."""
    image_size: int
    """Side of its frames in pixels."""
    camera: str | None = None
    """Camera of the recordings; None where they were collected, and in earlier checkpoints."""
    fit: str | None = None
    """How their frames became square, `crop` or `stretch`; None as for the camera."""
    fps: float | None = None
    """Frames and actions per second; None: unknown."""


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """What a checkpoint says of its world model besides the weights."""

    experiment: dict[str, JsonValue]
    """The whole configuration as plain JSON; `experiment_from_json` rebuilds it."""
    action_dim: int
    """Width of one environment action."""
    proprio_dim: int
    """Width of the proprioception; 0 if there is none."""
    normalizer: Normalizer
    """Statistics of the training data."""
    step: int | None = None
    """Optimiser steps done; None for an imported model."""
    provenance: Provenance | None = None
    """What it was trained with; None for an imported model."""
    data: TrainedOn | None = None
    """What it was trained on; None for an imported model, and in earlier checkpoints."""
    encoder: dict[str, JsonValue] | None = None
    """Identity of the frozen encoder, with the hash of its weights; None where it is learned, and
    for an imported model, whose file did not hold it."""
    imported: dict[str, JsonValue] | None = None
    """File of another project that the weights came from, and what of it was dropped; None if they
    were trained here."""


@dataclass(frozen=True, kw_only=True)
class DecoderRecord:
    """What a checkpoint says of its decoder of images besides the weights."""

    decoder: dict[str, JsonValue]
    """Its sizes as plain JSON."""
    imported: dict[str, JsonValue]
    """File that the weights came from."""


@dataclass(frozen=True, kw_only=True)
class ProposerRecord:
    """What a checkpoint says of a proposer besides the weights."""

    config: dict[str, JsonValue]
    """How it was trained, with its sizes, as plain JSON."""
    shape: dict[str, JsonValue]
    """What it fits: latents, action blocks, horizon."""
    model: str
    """Hash of the weights of the world model that it was trained through."""
    step: int
    """Optimiser steps done."""
    provenance: Provenance | None = None
    """What it was trained with."""


@dataclass(frozen=True, kw_only=True)
class RewardRecord:
    """What a checkpoint says of a learned reward besides the weights."""

    config: dict[str, JsonValue]
    """How it was trained, with its sizes, as plain JSON."""
    shape: dict[str, JsonValue]
    """What it fits: latents and action blocks."""
    source: dict[str, JsonValue]
    """What it learned from: `kind`, `column` of the rewards or hash of the preferences."""
    model: str
    """Hash of the weights of the world model that it was trained on."""
    step: int
    """Optimiser steps done."""
    provenance: Provenance | None = None
    """What it was trained with."""


@dataclass(frozen=True, kw_only=True)
class TextRecord:
    """What a checkpoint says of a map from latents to texts besides the weights."""

    config: dict[str, JsonValue]
    """How it was trained, with its sizes and its text encoder, as plain JSON."""
    shape: dict[str, JsonValue]
    """What it fits: latents and texts."""
    source: dict[str, JsonValue]
    """What it learned from: `kind` (`captions` or `tasks`) and the hash of the sentences."""
    model: str
    """Hash of the weights of the world model that it was trained on."""
    step: int
    """Optimiser steps done."""
    provenance: Provenance | None = None
    """What it was trained with."""


@dataclass(frozen=True, kw_only=True)
class HeadRecord:
    """What a checkpoint says of a decoder or a probe trained for a world model besides the weights."""

    config: dict[str, JsonValue]
    """How it was trained, with its sizes, as plain JSON."""
    shape: dict[str, JsonValue]
    """What it reads, and the latents that it fits."""
    model: str
    """Hash of the weights of the world model whose latents it reads."""
    step: int
    """Optimiser steps done."""
    provenance: Provenance | None = None
    """What it was trained with."""


@dataclass(frozen=True, kw_only=True)
class EncoderRecord:
    """What a checkpoint says of a pretrained encoder of images besides the weights."""

    method: str
    """How it learned: `dino` or `vjepa`."""
    size: str
    """Size of the small vision transformer."""
    patch_size: int
    """Side in pixels of its patches."""
    image_size: int
    """Side in pixels of the images that it learned from."""
    config: dict[str, JsonValue]
    """The whole configuration of the training, as plain JSON."""
    step: int
    """Optimiser steps done."""
    data: TrainedOn
    """What it was trained on."""
    provenance: Provenance
    """What it was trained with."""


Record = (
    ModelRecord
    | DecoderRecord
    | ProposerRecord
    | RewardRecord
    | TextRecord
    | HeadRecord
    | EncoderRecord
)
"""What a checkpoint is of."""


def require_model(record: Record, *, source: Path | str) -> ModelRecord:
    """Return the record of a world model; a decoder is refused."""
    if isinstance(record, DecoderRecord):
        raise UserError(
            f"{source} is a decoder, no world model; load it by jepawm.hub.load_decoder"
        )
    if isinstance(record, ProposerRecord):
        raise UserError(f"{source} is a proposer, no world model; give the folder around it")
    if isinstance(record, RewardRecord):
        raise UserError(f"{source} is a reward, no world model; give the folder around it")
    if isinstance(record, TextRecord):
        raise UserError(f"{source} is a map to texts, no world model; give the folder around it")
    if isinstance(record, HeadRecord):
        raise UserError(f"{source} reads latents, it is no world model; give the folder around it")
    if isinstance(record, EncoderRecord):
        raise UserError(
            f"{source} is a pretrained encoder, no world model; train one on it by `jepawm train "
            "RECIPE --encoder small_vit --encoder.weights FOLDER`"
        )
    return record


def record_to_json(record: Record) -> dict[str, JsonValue]:
    """Return a record as plain JSON."""
    if isinstance(record, ProposerRecord | HeadRecord):
        return {
            _BESIDE[type(record)]: record.config,
            "shape": record.shape,
            "model": record.model,
            "step": record.step,
            **({} if record.provenance is None else asdict(record.provenance)),
        }
    if isinstance(record, RewardRecord | TextRecord):
        return {
            _LEARNED[type(record)]: record.config,
            "shape": record.shape,
            "source": record.source,
            "model": record.model,
            "step": record.step,
            **({} if record.provenance is None else asdict(record.provenance)),
        }
    if isinstance(record, DecoderRecord):
        return {"decoder": record.decoder, "imported": record.imported}
    if isinstance(record, EncoderRecord):
        shape = {name: getattr(record, name) for name in _ENCODER_SHAPE}
        return {
            "pretrained": shape,
            "config": record.config,
            "step": record.step,
            "data": asdict(record.data),
            **asdict(record.provenance),
        }
    config: dict[str, JsonValue] = {
        "experiment": record.experiment,
        "dims": {"action_dim": record.action_dim, "proprio_dim": record.proprio_dim},
        "normalizer": cast(JsonValue, record.normalizer.to_json()),
    }
    if record.normalizer.commands is not None:
        config["commands"] = cast(JsonValue, record.normalizer.commands.to_json())
    if record.step is not None:
        config["step"] = record.step
    if record.provenance is not None:
        config |= asdict(record.provenance)
    if record.data is not None:
        config["data"] = asdict(record.data)
    if record.encoder is not None:
        config["encoder"] = record.encoder
    if record.imported is not None:
        config["imported"] = record.imported
    return config


def record_from_json(config: Mapping[str, JsonValue], *, source: Path) -> Record:
    """Rebuild a record from JSON, read from the file `source`."""
    for kind, key in _BESIDE.items():
        if key not in config:
            continue
        return kind(
            config=_section(config, key, source),
            shape=_section(config, "shape", source),
            model=str(config.get("model")),
            step=_count(config, "step", source),
            provenance=_provenance(config, source) if "versions" in config else None,
        )
    for kind, key in _LEARNED.items():
        if key not in config:
            continue
        return kind(
            config=_section(config, key, source),
            shape=_section(config, "shape", source),
            source=_section(config, "source", source),
            model=str(config.get("model")),
            step=_count(config, "step", source),
            provenance=_provenance(config, source) if "versions" in config else None,
        )
    if "pretrained" in config:
        return _encoder_record(config, source)
    imported = _section(config, "imported", source) if "imported" in config else None
    if "decoder" in config:
        decoder = _section(config, "decoder", source)
        return DecoderRecord(decoder=decoder, imported=imported or {})
    dims = _section(config, "dims", source)
    return ModelRecord(
        experiment=_section(config, "experiment", source),
        action_dim=_count(dims, "dims.action_dim", source),
        proprio_dim=_count(dims, "dims.proprio_dim", source),
        normalizer=_normalizer(config, source),
        step=_count(config, "step", source) if "step" in config else None,
        provenance=_provenance(config, source) if "versions" in config else None,
        data=_trained_on(config, source) if "data" in config else None,
        encoder=_section(config, "encoder", source) if "encoder" in config else None,
        imported=imported,
    )


_BESIDE: Mapping[type[ProposerRecord] | type[HeadRecord], str] = {
    ProposerRecord: "proposer",
    HeadRecord: "head",
}
"""What is trained for a world model and kept beside it, and the entry that tells which it is."""
_LEARNED: Mapping[type[RewardRecord] | type[TextRecord], str] = {
    RewardRecord: "reward",
    TextRecord: "text",
}
"""The same of what also tells what it learned from."""
_ENCODER_SHAPE = ("method", "size", "patch_size", "image_size")


def _encoder_record(config: Mapping[str, JsonValue], source: Path) -> EncoderRecord:
    shape = _section(config, "pretrained", source)
    return EncoderRecord(
        method=str(shape.get("method")),
        size=str(shape.get("size")),
        patch_size=_count(shape, "pretrained.patch_size", source),
        image_size=_count(shape, "pretrained.image_size", source),
        config=_section(config, "config", source),
        step=_count(config, "step", source),
        data=_trained_on(config, source),
        provenance=_provenance(config, source),
    )


def _normalizer(config: Mapping[str, JsonValue], source: Path) -> Normalizer:
    """Return the statistics; checkpoints before there were forms take actions as recorded."""
    plain = Normalizer.from_json(_section(config, "normalizer", source), source=str(source))
    if "commands" not in config:
        return plain
    commands = commands_from_json(config["commands"], source=str(source))
    width = 0 if plain.proprio_mean is None else len(plain.proprio_mean)
    if len(commands.forms) != plain.action_dim or max(commands.follows) >= width:
        raise UserError(
            f"{source}: commands and normalizer have other widths of actions or proprioception; copy "
            "the checkpoint again"
        )
    return replace(plain, commands=commands)


def _provenance(config: Mapping[str, JsonValue], source: Path) -> Provenance:
    versions, commit = _section(config, "versions", source), config.get("commit")
    return Provenance(
        versions={name: str(version) for name, version in versions.items()},
        commit=commit if isinstance(commit, str) else None,
        num_threads=_count(config, "num_threads", source),
    )


def _trained_on(config: Mapping[str, JsonValue], source: Path) -> TrainedOn:
    data = _section(config, "data", source)
    fps = data.get("fps")
    return TrainedOn(
        sha256=str(data.get("sha256")),
        image_size=_count(data, "data.image_size", source),
        camera=_text(data, "camera"),
        fit=_text(data, "fit"),
        fps=fps if isinstance(fps, float) else None,
    )


def _text(section: Mapping[str, JsonValue], name: str) -> str | None:
    value = section.get(name)
    return value if isinstance(value, str) else None


def _section(config: Mapping[str, JsonValue], name: str, source: Path) -> dict[str, JsonValue]:
    section = config.get(name)
    if not isinstance(section, dict):
        raise UserError(f"{source} has no {name}; write the checkpoint again")
    return section


def _count(section: Mapping[str, JsonValue], name: str, source: Path) -> int:
    value = section.get(name.rpartition(".")[2])
    if type(value) is not int or value < 0:
        raise UserError(f"{source}: {name} = {value!r} is not a count")
    return value
