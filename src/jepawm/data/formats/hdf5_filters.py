"""Filters that HDF5 files are compressed by, beyond those that HDF5 brings along."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jepawm.errors import UserError, plain_text

if TYPE_CHECKING:
    import h5py

_PLUGINS = {
    307: "bzip2",
    32001: "Blosc",
    32004: "LZ4",
    32008: "Bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32017: "SZ",
    32018: "FCIDECOMP",
    32024: "SZ3",
    32026: "Blosc2",
    32028: "SPERR",
}
"""Filters of the package hdf5plugin by their registered number."""


def require_filters(data: "h5py.Dataset", *, file: Path) -> None:
    """Check that what a data set is compressed by is there; filters of hdf5plugin are looked for."""
    from h5py import h5z  # pyright: ignore[reportAttributeAccessIssue] - its types lack it

    plist = data.id.get_create_plist()
    for index in range(plist.get_nfilters()):
        number, _, _, said = plist.get_filter(index)
        if number in _PLUGINS and not h5z.filter_avail(number):
            with suppress(ImportError):
                import hdf5plugin  # noqa: F401  # pyright: ignore[reportMissingImports] - registers
        if h5z.filter_avail(number):
            continue
        name = _PLUGINS.get(number) or plain_text(said.decode(errors="replace")) or "a filter"
        remedy = (
            "run: pip install hdf5plugin" if number in _PLUGINS else "h5repack -f NONE removes it"
        )
        raise UserError(
            f"{file}: {plain_text(str(data.name))} is compressed by {name} (filter {number}), which "
            f"HDF5 does not bring along; {remedy}"
        )
