"""Mutations of HDF5, Parquet and safetensors for `fuzz.py`, and which mutations suit which file."""

import io
import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fuzz_arrays import (
    ARRAY_CHANGES,
    change_npy,
    change_npz,
    change_pickle,
    change_tensor,
    change_zip,
    changed_array,
)
from fuzz_media import change_picture, change_video
from fuzz_mutations import ANY, NODES, Ground, Mutation, UnfitError
from fuzz_texts import change_csv, change_json, change_line, changed_json


def change_hdf5(path: Path, ground: Ground) -> str:
    """Change a dataset, an attribute or a link."""
    try:
        with h5py.File(path, "r+") as file:
            names: list[str] = []
            file.visititems(lambda name, _: names.append(name))
            name = ground.random.choice(names)
            attributes = [key for one in ("/", *names) for key in file[one].attrs]
            if attributes and ground.random.random() < 0.15:
                return _change_attribute(file, names, ground)
            if isinstance(file[name], h5py.Dataset):
                return _change_dataset(file, name, path, ground)
            return _change_link(file, name, path, ground)
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise UnfitError from error


def _change_attribute(file: h5py.File, names: list[str], ground: Ground) -> str:
    holders = [one for one in ("/", *names) if len(file[one].attrs)]
    holder = file[ground.random.choice(holders)]
    key = ground.random.choice(sorted(holder.attrs))
    value = holder.attrs[key]
    how = ground.random.choice(["json"] * 3 + ["number", "array", "empty", "bytes", "missing"])
    if how == "json" and isinstance(value, str):
        text, label = changed_json(value, Path(file.filename), ground)
        if len(text) > 60_000:  # more than an attribute holds
            raise UnfitError
        holder.attrs[key] = text
        return f"h5 attribute {key}: {label}"
    del holder.attrs[key]
    values = {"number": -1.5, "array": np.zeros(3), "empty": h5py.Empty("f4"), "bytes": b"\xff\xfe"}
    if how in values:
        holder.attrs[key] = values[how]
    return f"h5 attribute {key}: {how}"


def _change_dataset(file: h5py.File, name: str, path: Path, ground: Ground) -> str:
    found = file[name]
    assert isinstance(found, h5py.Dataset)
    array = np.asarray(found[()])
    special = [
        "huge",
        "bytes-huge",
        "null",
        "group",
        "vlen",
        "external",
        "virtual",
        "chunks",
        "reference",
        "compressed",
    ]
    links = ["loop", "dangling", "external link", "removed", "self"]
    how = ground.random.choice([*ARRAY_CHANGES, *special, *links])
    if how in links:
        return _change_link(file, name, path, ground, how=how)
    del file[name]
    secret = ground.secret_path(path)
    if how in ARRAY_CHANGES:
        file[name] = changed_array(array, how)
    elif how in ("huge", "bytes-huge"):
        shape = (10**9, *array.shape[1:]) if how == "huge" else (2**40,)
        file.create_dataset(name, shape, dtype=array.dtype if how == "huge" else "u1", chunks=True)
    elif how == "null":
        file[name] = h5py.Empty(array.dtype)
    elif how == "group":
        file.create_group(name)
    elif how == "vlen":
        one = file.create_dataset(name, (len(array),), dtype=h5py.vlen_dtype(np.float32))
        one[0] = np.zeros(3, np.float32)
    elif how == "external":
        file.create_dataset(
            name, array.shape, array.dtype, external=[(secret, 0, h5py.h5f.UNLIMITED)]
        )
    elif how == "virtual":
        layout = h5py.VirtualLayout(array.shape, array.dtype)
        layout[...] = h5py.VirtualSource(secret, "data", shape=array.shape, dtype=array.dtype)
        file.create_virtual_dataset(name, layout)
    elif how == "chunks":
        file.create_dataset(name, array.shape, array.dtype, chunks=True, fletcher32=True)
    elif how == "reference":
        file.create_dataset(name, array.shape, h5py.ref_dtype)
    else:
        file.create_dataset(name, array.shape, array.dtype, data=array, compression="gzip")
    return f"h5 {name}: {how}"


def _change_link(
    file: h5py.File, name: str, path: Path, ground: Ground, *, how: str | None = None
) -> str:
    how = how or ground.random.choice(
        ["loop", "dangling", "external link", "removed", "dataset", "self"]
    )
    parent = file[name].parent
    del file[name]
    if how == "loop":
        file[name] = h5py.SoftLink(f"/{name}")
    elif how == "dangling":
        file[name] = h5py.SoftLink("/nowhere")
    elif how == "external link":
        file[name] = h5py.ExternalLink(ground.secret_path(path), "/data")
    elif how == "dataset":
        file[name] = np.zeros(3)
    elif how == "self":
        file[name] = parent  # a hard link: the group holds itself
    return f"h5 {name}: {how}"


# --- Parquet -------------------------------------------------------------------------------------

_COLUMNS: Mapping[str, Callable[[pa.ChunkedArray], object]] = {
    "one null": lambda c: pa.array([None, *c.to_pylist()[1:]], c.type),
    "all null": lambda c: pa.nulls(len(c), c.type),
    "null type": lambda c: pa.nulls(len(c)),
    "text": lambda c: pa.array(["x"] * len(c)),
    "number": lambda c: pa.array([7] * len(c)),
    "NaN": lambda c: pa.array([float("nan")] * len(c)),
    "1e39": lambda c: pa.array([1e39] * len(c)),
    "negative": lambda c: pa.array([-1] * len(c)),
    "largest": lambda c: pa.array([2**63 - 1] * len(c)),
    "unsigned": lambda c: pa.array([2**64 - 1] * len(c), pa.uint64()),
    "list": lambda c: pa.array([[1.0, 2.0]] * len(c)),
    "ragged": lambda c: pa.array([[1.0] * (i % 3) for i in range(len(c))]),
    "nested": lambda c: pa.array([[["x"]]] * len(c)),
    "list of null": lambda c: pa.array([[None, 1.0]] * len(c)),
    "bytes": lambda c: pa.array([b"\xff\xfe"] * len(c)),
    "bool": lambda c: pa.array([True] * len(c)),
    "time": lambda c: pa.array([0] * len(c), pa.timestamp("ns")),
    "record": lambda c: pa.array([{"bytes": b"x", "path": None}] * len(c)),
    "record of nulls": lambda c: pa.array([{"bytes": None, "path": None}] * len(c), pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    "dictionary": lambda c: pa.array(["x"] * len(c)).dictionary_encode(),
    "reversed": lambda c: pa.array(c.to_pylist()[::-1], c.type),
    "float": lambda c: pa.array([0.5] * len(c)),
    "decimal": lambda c: pa.array([1] * len(c)).cast(pa.decimal128(38, 0)),
}  # fmt: skip
"""Other columns in place of a column."""


def change_parquet(path: Path, ground: Ground) -> str:
    """Change a column, or the rows."""
    try:
        table = pq.read_table(path)
        name = ground.random.choice(table.column_names)
        position = table.column_names.index(name)
        whole = ["removed", "doubled", "no rows", "a row less", "rows twice", "secret", "renamed"]
        how = ground.random.choice([*_COLUMNS, *whole])
        if how in _COLUMNS:
            table = table.set_column(position, name, _COLUMNS[how](table[name]))  # pyright: ignore[reportArgumentType]
        elif how == "removed":
            table = table.drop_columns([name])
        elif how == "doubled":
            table = table.append_column(name, table[name])
        elif how in ("no rows", "a row less"):
            table = table.slice(0, 0 if how == "no rows" else len(table) - 1)
        elif how == "rows twice":
            table = pa.concat_tables([table, table])
        elif how == "renamed":
            table = table.rename_columns(
                [f"{n}\x1b[31m" if n == name else n for n in table.column_names]
            )
        else:
            secret = ground.secret_path(path, ending=ground.random.choice([".png", ".mp4"]))
            values = [{"bytes": None, "path": secret}] * len(table)
            table = table.set_column(position, name, pa.array(values))  # pyright: ignore[reportArgumentType]
        pq.write_table(table, path)
    except (pa.ArrowException, OSError, IndexError) as error:
        raise UnfitError from error
    return f"parquet {name}: {how}"


# --- safetensors ---------------------------------------------------------------------------------


def change_safetensors(path: Path, ground: Ground) -> str:
    """Change the head of a file of weights, or its size."""
    data = path.read_bytes()
    if len(data) < 10:
        raise UnfitError
    size = struct.unpack_from("<Q", data)[0]
    if ground.random.random() < 0.2:
        claimed = ground.random.choice([0, 1, 2**31, 2**63, size + 1])
        path.write_bytes(struct.pack("<Q", claimed) + data[8:])
        return f"safetensors head of {claimed} bytes"
    text, label = changed_json(data[8 : 8 + size].decode(), path, ground)
    head = text.encode("utf-8", errors="surrogatepass")
    path.write_bytes(struct.pack("<Q", len(head)) + head + data[8 + size :])
    return f"safetensors {label}"


STRUCTURAL: Mapping[str, tuple[Mutation, ...]] = {
    ".json": (change_json,),
    ".jsonl": (change_line,),
    ".csv": (change_csv,),
    ".npz": (change_npz, change_npz, change_zip),
    ".npy": (change_npy,),
    ".pth": (change_tensor, change_tensor, change_zip),
    ".pkl": (change_pickle,),
    ".h5": (change_hdf5,),
    ".hdf5": (change_hdf5,),
    ".parquet": (change_parquet,),
    ".safetensors": (change_safetensors,),
    ".mp4": (change_video,),
    ".png": (change_picture,),
    ".jpg": (change_picture,),
}
"""Mutations that know the kind of file, by its ending."""


def mutate(path: Path, ground: Ground) -> str:
    """Change one file by a mutation drawn at random; returns what was done."""
    data = path.read_bytes()
    for _ in range(50):
        share = ground.random.random()
        known = STRUCTURAL.get(path.suffix, ())
        chosen = known if known and share < 0.65 else NODES if share > 0.9 else ANY
        try:
            return ground.random.choice(chosen)(path, ground)
        except UnfitError:
            path.unlink(missing_ok=True)
            path.write_bytes(data)
    raise UnfitError


def write_secrets(folder: Path, source_files: Mapping[str, Path]) -> None:
    """Write files of every kind that nothing may read, each a valid file of its kind."""
    folder.mkdir(parents=True)
    for ending, file in source_files.items():
        (folder / f"secret{ending}").write_bytes(file.read_bytes())
    with h5py.File(folder / "secret.h5", "w") as file:
        file["data"] = np.full((16, 16), 7.0)
    (folder / "secret.hdf5").write_bytes((folder / "secret.h5").read_bytes())
    (folder / "secret.txt").write_text("secret\n")
    stream = io.BytesIO()
    np.save(stream, np.full(4, 7.0))
    (folder / "secret.npy").write_bytes(stream.getvalue())
    (folder / "secret.json").write_text(json.dumps({"secret": 7}))
