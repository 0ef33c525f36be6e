"""`jepawm import`: checkpoints of other projects become checkpoints of this library."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from jepawm.checkpoint import Checkpoint, find_checkpoint, save_checkpoint
from jepawm.data.episodes import open_store
from jepawm.envs import RECORDINGS
from jepawm.errors import UserError
from jepawm.hub.decoders import import_decoder
from jepawm.hub.imports import Imported, import_dino_wm, import_jepa_wms, import_vjepa2_ac
from jepawm.hub.lewm import import_lewm
from jepawm.hub.released import DECODERS, RELEASED
from jepawm.normalizer import Normalizer
from jepawm.records import JsonValue
from jepawm.strict_json import read_json

Project = Literal["jepa-wms", "dino-wm", "vjepa2-ac", "lewm"]


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
    env: str = RECORDINGS,
    frameskip: int = 5,
    overwrite: bool = False,
) -> ImportedCheckpoint:
    """Import a file and write a checkpoint folder that `jepawm.hub.load` takes.

    Args:
        project: whose file.
        path: the file; of LeWorldModel the folder.
        out: folder to write.
        model: name of the released model; None for V-JEPA-2-AC and LeWorldModel.
        encoder_weights: where the weights of the frozen encoder are; None: the usual place.
        statistics: JSON file with means and standard deviations in place of the known ones, or the
            folder of a store.
        window: frames of history of a DINO-WM checkpoint.
        env: environment that a LeWorldModel acts in; `recordings`: none.
        frameskip: environment steps in an action block of a LeWorldModel.
        overwrite: replace a checkpoint that is there.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder")
    if out.exists() and any(out.iterdir()) and not (overwrite and find_checkpoint(out)):
        raise UserError(f"{out} holds files; choose another --out, or --overwrite a checkpoint")
    if project == "lewm":
        return _import_lewm(path, out, env=env, statistics=statistics, frameskip=frameskip)
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


def _import_lewm(
    path: Path, out: Path, *, env: str, statistics: Path | None, frameskip: int
) -> ImportedCheckpoint:
    normalizer = None if statistics is None else _read_statistics(statistics)
    imported = import_lewm(path, env=env, normalizer=normalizer, frameskip=frameskip)
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


def _read_statistics(path: Path) -> Normalizer:
    """Return statistics from a JSON file or a store; their width is compared later."""
    if path.is_dir():
        return open_store(path).normalizer()
    data = read_json(path, what="file of statistics", remedy="give a JSON file to --statistics")
    if not isinstance(data, dict):
        raise UserError(f"--statistics {path} holds no JSON object with action_mean, action_std")
    return Normalizer.from_json(data, source=str(path))


def _statistics(path: Path, *, like: Normalizer) -> Normalizer:
    if path.is_dir():
        data = dict(open_store(path).normalizer().to_json())
    else:
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
