"""Weights by name: read from files of any project as plain tensors, compared with a module, loaded."""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from jepawm.border import foreign, require_regular
from jepawm.errors import UserError, plain_text
from jepawm.models.frozen.encoder import FrozenEncoder
from jepawm.models.layout import layout_only
from jepawm.numpy_pickles import arrays_in, stands_in
from jepawm.torch_files import load_tensors

# torch raises it for whatever is more than tensors and containers; nothing is unpickled here.
_Refused = torch.serialization.pickle.UnpicklingError  # pyright: ignore[reportPrivateImportUsage]


def read_weight_file(path: Path, group: str | None = None) -> dict[str, Tensor]:
    """Read the tensors of a `.safetensors`, `.pth` or `.pt` file by name, onto the CPU.

    Args:
        path: the file.
        group: take this top-level entry where the file has one, as files of whole trainings do.
    """
    content = read_content(path)
    inner = content.get(group) if group else None
    if isinstance(inner, Mapping):
        content = inner
    tensors = only_tensors(content)
    if not tensors:
        entries = ", ".join(str(key) for key in list(content)[:8])
        raise UserError(f"{path} has no tensors at its top (it has: {entries}); give another file")
    return tensors


def read_content(path: Path) -> Mapping[str, object]:
    """Read everything in a weight file: tensors, plain values and containers of them, by name.

    Tensors are mapped from disk, so what nobody touches (the state of an optimiser) costs no
    memory.
    """
    require_regular(path, "give the path of a weight file that exists")
    try:
        if path.suffix == ".safetensors":
            with foreign(path, "safetensors"):
                return dict(load_file(path))
        content = load_tensors(path, mapped=True)
    except UserError as error:
        if not isinstance(error.__cause__, Exception):  # a check says it itself
            raise
        raise UserError(f"cannot read {path}: {_reason(path, error.__cause__)}") from error
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}, not tensors by name")
    return content


def only_tensors(content: Mapping[str, object]) -> dict[str, Tensor]:
    """Return tensors, and NumPy's arrays as such; sparse, quantised and empty ones are no weights."""
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    tensors |= {str(name): torch.from_numpy(array) for name, array in arrays_in(content)}
    for name, value in tensors.items():
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise UserError(
                f"{name} is a sparse, quantised or empty tensor; save it as a dense one"
            )
    return tensors


def foreign_objects(path: Path) -> list[str]:
    """Return the full names of what a file of torch holds besides tensors, NumPy's and containers.

    Nothing is run: the names are read from the file's text. A file that is not an archive of torch
    (none are since version 1.6) gives an empty list.
    """
    if not zipfile.is_zipfile(path):
        return []
    try:
        with foreign(path, "weight file"):
            names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
            return sorted(name for name in names if not stands_in(name))
    except UserError:
        return []  # not written by torch, or damaged; reading it says why


def strip_prefixes(tensors: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    """Take each prefix, in this order, off the names that begin with it."""
    stripped: dict[str, Tensor] = {}
    for name, value in tensors.items():
        for prefix in prefixes:
            name = name.removeprefix(prefix)  # noqa: PLW2901
        stripped[name] = value
    return stripped


def stored_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that a checkpoint stores, by name: all but those of frozen encoders."""
    frozen = tuple(
        f"{name}." for name, part in module.named_modules() if isinstance(part, FrozenEncoder)
    )
    return {k: value for k, value in module.state_dict().items() if not k.startswith(frozen)}


def require_layout(
    build: Callable[[], nn.Module], tensors: Mapping[str, Tensor], *, source: Path | str, what: str
) -> None:
    """Compare stored weights with a module of a configuration, before memory is taken for it."""
    with foreign(source, what), layout_only():
        layout = {name: tuple(value.shape) for name, value in build().state_dict().items()}
    misfits = list_misfits(layout, tensors)
    if misfits:
        raise UserError(f"{source} does not fit its configuration: {shorten(misfits)}")


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Load stored weights by name, all of them and nothing else; frozen encoders keep theirs."""
    own = stored_weights(module)
    problems = list_misfits({k: tuple(v.shape) for k, v in own.items()}, tensors)
    problems += [
        f"{name} is {tensors[name].dtype} instead of {value.dtype}"
        for name, value in own.items()
        if name in tensors and _kind_of(tensors[name]) != _kind_of(value)
    ]
    if problems:
        raise UserError(f"{source} does not fit its configuration: {shorten(problems)}")
    module.load_state_dict(dict(tensors), strict=False)  # checked above


def require_numbers(tensors: Mapping[str, Tensor], *, path: Path) -> None:
    """Refuse weights that are no floating point numbers, or not finite."""
    odd = [name for name, value in tensors.items() if not value.is_floating_point()]
    if odd:
        raise UserError(
            f"{path}: {odd[0]} is {tensors[odd[0]].dtype}, not floating point; get the file again"
        )
    broken = [name for name, value in tensors.items() if not bool(value.isfinite().all())]
    if broken:
        raise UserError(f"{path} has NaN or infinite weights in {shorten(broken)}; get it again")


def list_misfits(
    expected: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor]
) -> list[str]:
    """Return what is missing, unexpected or of another shape, in words."""
    problems = [f"missing {name}" for name in expected if name not in tensors]
    problems += [f"unexpected {name}" for name in tensors if name not in expected]
    return problems + [
        f"{name} is {tuple(tensors[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]


def shorten(problems: Sequence[str], limit: int = 8) -> str:
    """Join the first problems, and count the rest."""
    rest = f"; and {len(problems) - limit} more" if problems[limit:] else ""
    return plain_text("; ".join(problems[:limit])) + rest


def _kind_of(tensor: Tensor) -> tuple[bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex()


def _reason(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        head = file.read(512).lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, not weights; download it again"
    foreign = foreign_objects(path)
    if foreign:
        shown = ", ".join(foreign[:8]) + (f" and {len(foreign) - 8} more" if foreign[8:] else "")
        return (
            f"it holds more than tensors: Python objects ({shown}) that only running their code "
            "could restore, which never happens here; ask for a file of tensors"
        )
    if isinstance(error, _Refused | ValueError):  # a pickle of its own, or what is none
        return (
            "it is not a weight file, truncated, or a pickle that holds more than tensors; pickles "
            f"are never run ({_first_sentence(error)}); download it again"
        )
    return f"it is truncated or no weight file ({_first_sentence(error)}); download it again"


def _first_sentence(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0].split(". ")[0] if lines else type(error).__name__
