"""`jepawm import`: checkpoints of other projects become checkpoints of this library."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from jepawm.checkpoint import Checkpoint, find_checkpoint, save_checkpoint
from jepawm.errors import UserError
from jepawm.hub.decoders import import_decoder
from jepawm.hub.imports import Imported, import_dino_wm, import_jepa_wms, import_vjepa2_ac
from jepawm.hub.released import DECODERS, RELEASED
from jepawm.normalizer import Normalizer
from jepawm.records import JsonValue
from jepawm.strict_json import read_json

Project = Literal["jepa-wms", "dino-wm", "vjepa2-ac"]


@dataclass(frozen=True, kw_only=True)
class ImportedModel:
    """What is told of a world model and not of a decoder."""

    encoder_weights: str | None
    """Where the weights of the frozen encoder are; None: its encoder has no such place."""
    origin: Mapping[str, JsonValue]
    """The file, and what of it was dropped."""
    normalizer: Mapping[str, list[float] | None]
    """Statistics of its training data."""


@dataclass(frozen=True, kw_only=True)
class ImportedCheckpoint:
    """A file of another project that is a checkpoint now."""

    file: Path
    """The file."""
    written: Path
    """Folder of the checkpoint."""
    tensors: int
    """Tensors in it."""
    parameters: int
    """Numbers in all of them."""
    missing: int = 0
    """Tensors that the file lacks: none, anything else is refused."""
    unexpected: int = 0
    """Tensors of the file that have no place: none, anything else is refused."""
    model: str
    """Name of the released model."""
    world_model: ImportedModel | None = None
    """More on a world model; None: it is a decoder."""


def import_checkpoint(
    project: Project,
    path: Path,
    *,
    out: Path,
    model: str | None,
    encoder_weights: str | None,
    statistics: Path | None,
    window: int,
    overwrite: bool = False,
) -> ImportedCheckpoint:
    """Import a file and write a checkpoint folder that `jepawm.hub.load` takes.

    Args:
        project: whose file.
        path: the file.
        out: folder to write.
        model: name of the released model; None only for V-JEPA-2-AC.
        encoder_weights: where the weights of the frozen encoder are; None: the usual place.
        statistics: JSON file with means and standard deviations in place of the known ones.
        window: frames of history of a DINO-WM checkpoint.
        overwrite: replace a checkpoint that is there.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder")
    if out.exists() and any(out.iterdir()) and not (overwrite and find_checkpoint(out)):
        raise UserError(f"{out} holds files; choose another --out, or --overwrite a checkpoint")
    if project == "vjepa2-ac":
        imported = import_vjepa2_ac(path, encoder_weights=encoder_weights)
    elif model is None:
        known = [name for name, one in RELEASED.items() if one.family == "dino_wm"]
        known = known if project == "dino-wm" else [*RELEASED, *DECODERS]
        raise UserError(f"say which model it is: --model NAME, one of {', '.join(known)}")
    elif project == "dino-wm":
        imported = import_dino_wm(path, model, window=window, encoder_weights=encoder_weights)
    elif model in DECODERS:
        if encoder_weights is not None or statistics is not None:
            raise UserError(
                f"{model} is a decoder: --encoder-weights and --statistics do not apply"
            )
        checkpoint = import_decoder(path, DECODERS[model])
        save_checkpoint(out, checkpoint)
        return _summary(checkpoint, path, out, model=model)
    else:
        imported = import_jepa_wms(path, model, encoder_weights=encoder_weights)
    if statistics is not None:
        imported = replace(imported, normalizer=_statistics(statistics, like=imported.normalizer))
    checkpoint = imported.checkpoint()
    save_checkpoint(out, checkpoint)
    done = _summary(checkpoint, path, out, model=imported.experiment.name)
    return replace(done, world_model=_details(imported))


def _summary(checkpoint: Checkpoint, path: Path, out: Path, *, model: str) -> ImportedCheckpoint:
    return ImportedCheckpoint(
        file=path,
        written=out,
        tensors=len(checkpoint.tensors),
        parameters=sum(value.numel() for value in checkpoint.tensors.values()),
        model=model,
    )


def _details(imported: Imported) -> ImportedModel:
    return ImportedModel(
        encoder_weights=getattr(imported.experiment.encoder, "weights", None),
        origin=imported.origin,
        normalizer=imported.normalizer.to_json(),
    )


def _statistics(path: Path, *, like: Normalizer) -> Normalizer:
    data = read_json(path, what="file of statistics", remedy="give a JSON file to --statistics")
    if not isinstance(data, dict):
        raise UserError(
            f"--statistics {path} holds no JSON object with action_mean, action_std, ..."
        )
    for name, value in like.to_json().items():
        given, needed = data.get(name), len(value or ())
        if not isinstance(given, list) or len(given) != needed:
            raise UserError(f"--statistics {path}: {name} needs a list of {needed} numbers")
    return Normalizer.from_json(data, source=str(path))
