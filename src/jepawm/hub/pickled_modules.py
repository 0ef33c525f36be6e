"""Read files that pickle whole modules, as DINO-WM saves them, without running anything in them.

torch's own safe reader (`weights_only=True`) refuses such a file because it names classes. Here
each class of a known kind is replaced by an inert one that only keeps what the file says about
its objects, and torch's reader does the rest; any other name is still refused.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from jepawm.errors import UserError
from jepawm.models.weight_files import foreign_objects, only_tensors, read_content

_KNOWN = re.compile(
    r"(torch|torchvision|models|einops|accelerate|wandb|dinov2|numpy)\..*|collections\.defaultdict"
    r"|functools\.partial|builtins\.(dict|getattr|object)"
)
"""Names that are replaced by inert objects: modules, optimisers and what hangs on them."""


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

    Entries that are already tensors by name stay, so files of state dicts are read alike.

    Raises:
        UserError: if it is missing, truncated, or names something that is not a module.
    """
    names = foreign_objects(path) if path.is_file() else []
    unknown = [name for name in names if not _KNOWN.fullmatch(name)]
    if unknown:
        raise UserError(
            f"cannot read {path}: it names {', '.join(unknown[:8])}, which is no module of torch "
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


def _module_tensors(module: Inert, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and stored buffers as `state_dict` names them."""
    state = vars(module)
    passing = state.get("_non_persistent_buffers_set")
    for kind in ("_parameters", "_buffers"):
        for name, value in only_tensors(_mapping(state.get(kind))).items():
            if not isinstance(passing, set) or name not in passing:
                yield prefix + name, value
    for name, child in _mapping(state.get("_modules")).items():
        if isinstance(child, Inert):
            yield from _module_tensors(child, f"{prefix}{name}.")


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _plain_dict(*_factory: object) -> dict[object, object]:
    return {}
