"""Mutations of files of arrays for `fuzz.py`: npz, npy, torch, pickles."""
# ruff: noqa: ARG005 - what replaces a value need not look at it

import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from fuzz_mutations import Ground, UnfitError

ArrayChange = Callable[[np.ndarray], np.ndarray]


def _with_one(value: float) -> ArrayChange:
    def change(array: np.ndarray) -> np.ndarray:
        new = np.array(array, dtype=np.float64 if array.dtype.kind in "biu" else array.dtype)
        new.reshape(-1)[:1] = value
        return new

    return change


ARRAY_CHANGES: Mapping[str, ArrayChange] = {
    "NaN": _with_one(np.nan),
    "infinity": _with_one(np.inf),
    "1e39": lambda a: np.full(a.shape, 1e39),
    "1e300": lambda a: np.full(a.shape, 1e300),
    "float16": lambda a: (a * 1.0).astype(np.float16) * np.float16(60_000),
    "float64": lambda a: a.astype(np.float64),
    "-1 to 1": lambda a: np.linspace(-1, 1, a.size).reshape(a.shape).astype(np.float32),
    "complex": lambda a: a.astype(np.complex64) + 1j,
    "bool": lambda a: a.astype(bool),
    "int8": lambda a: a.astype(np.int8),
    "uint16": lambda a: a.astype(np.uint16) + np.uint16(300),
    "int64 largest": lambda a: np.full(a.shape, 2**63 - 1),
    "negative": lambda a: np.full(a.shape, -1, dtype=np.int64),
    "text": lambda a: a.astype(str),
    "bytes": lambda a: a.astype(str).astype("S"),
    "time": lambda a: np.zeros(a.shape, "datetime64[s]"),
    "record": lambda a: np.zeros(a.shape, [("a", "f4"), ("b", "i4")]),
    "big endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "scalar": lambda a: np.array(1.0, np.float32),
    "no rows": lambda a: a[:0] if a.ndim else a,
    "width 0": lambda a: a[..., :0] if a.ndim else a,
    "transposed": lambda a: np.ascontiguousarray(a.T),
    "Fortran order": np.asfortranarray,
    "a row less": lambda a: a[:-1] if a.ndim else a,
    "a row more": lambda a: np.concatenate([a, a[-1:]]) if a.ndim else a,
    "an axis more": lambda a: a[None],
    "an axis less": lambda a: a[0] if a.ndim else a,
    "wider": lambda a: np.repeat(a, 2, axis=-1) if a.ndim else a,
    "constant": np.ones_like,
}
"""Other arrays in place of an array."""


# --- npz -----------------------------------------------------------------------------------------


def change_npz(path: Path, ground: Ground) -> str:
    """Change an array, or the names."""
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
    except (OSError, ValueError) as error:
        raise UnfitError from error
    name = ground.random.choice(sorted(arrays))
    how = ground.random.choice([*ARRAY_CHANGES, "object", "removed", "renamed", "alone", "rates"])
    if how in ARRAY_CHANGES:
        arrays[name] = changed_array(arrays[name], how)
    elif how == "object":
        arrays[name] = np.array([{"a": 1}, None], dtype=object)
    elif how == "removed":
        del arrays[name]
    elif how == "renamed":
        arrays[ground.random.choice(["x", "../../x", "/x", "a\x1b[31m"])] = arrays.pop(name)
    elif how == "rates":
        fps = ground.random.choice([0, -3, np.nan, np.inf, "ten", [1, 2], 1e300, 1e-300, 2.5])
        arrays["fps"] = np.array(fps)
    else:
        with path.open("wb") as file:
            np.save(file, arrays[name])
        return f"npy of {name} in place of npz"
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    return f"npz {name}: {how}"


def change_zip(path: Path, ground: Ground) -> str:
    """Change what the archive says of an entry, or what an entry claims."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError) as error:
        raise UnfitError from error
    names = [
        "encrypted",
        "method",
        "crc",
        "claim",
        "header",
        "doubled",
        "bomb",
        "deflated",
        "version",
        "sizes",
    ]
    how, name = ground.random.choice(names), ground.random.choice(sorted(entries))
    if how in ("encrypted", "method", "crc", "version", "sizes"):
        field = {"version": (4, 6), "encrypted": (6, 8), "method": (8, 10), "crc": (14, 16)}
        _patch_heads(path, *field.get(how, (22, 24)), value=ground.random.choice([1, 9, 99, 65535]))
        return f"zip {how}"
    if how in ("claim", "header") and entries[name].startswith(b"\x93NUMPY"):
        entries[name] = _claiming(entries[name], how, ground)
    kind = zipfile.ZIP_DEFLATED if how == "deflated" else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for one, data in entries.items():
            archive.writestr(one, data)
        if how == "doubled":
            archive.writestr(name, entries[name][: len(entries[name]) // 2])
    if how == "bomb":
        _write_bomb(path, name, entries[name][:128])
    return f"zip {name} {how}"


def _patch_heads(path: Path, local: int, central: int, *, value: int) -> None:
    """Put a number into the same field of every local head and central entry."""
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        start = data.find(mark)
        while start >= 0 and start + offset + 2 <= len(data):
            struct.pack_into("<H", data, start + offset, value)
            start = data.find(mark, start + 4)
    path.write_bytes(data)


def _claiming(data: bytes, how: str, ground: Ground) -> bytes:
    size = struct.unpack_from("<H", data, 8)[0]
    shapes = ["(1000000000000,)", "(10, 10, 10**9)", "(-1,)", "(2**70,)", "()", "(1.5,)", "None"]
    kinds = ["'<f4'", "'|O'", "'<f99'", "'|S1000000000'", "[('a', '<f4')]", "'<U4'", "7"]
    kind, shape = (
        ("'<f4'", ground.random.choice(shapes))
        if how == "claim"
        else (ground.random.choice(kinds), "(4,)")
    )
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return data[:8] + struct.pack("<H", len(text) + 1) + text + b"\n" + data[10 + size :]


def _write_bomb(path: Path, name: str, head: bytes) -> None:
    """Write an entry of 8 GiB of zeros that takes 8 MB on the disk."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    data = start + block * 8192 + packer.flush()
    total = len(head) + 8192 * 2**20
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, data)
    raw = bytearray(path.read_bytes())
    local, central = raw.find(b"PK\x03\x04"), raw.rfind(b"PK\x01\x02")
    for start_of, method, size in ((local, 8, 22), (central, 10, 24)):
        struct.pack_into("<H", raw, start_of + method, zipfile.ZIP_DEFLATED)
        struct.pack_into("<I", raw, start_of + size, min(total, 2**32 - 2))
    path.write_bytes(raw)


# --- torch ---------------------------------------------------------------------------------------

TENSOR_CHANGES: Mapping[str, Callable[[torch.Tensor], object]] = {
    "tuple": lambda t: (t, t),
    "nested": lambda t: [[t], [t, t]],
    "list": lambda t: list(t) if t.ndim else [t],
    "ragged": lambda t: [[1.0, 2.0], [3.0]],
    "texts": lambda t: ["a", "b"],
    "number": lambda t: 1.5,
    "text": lambda t: "x",
    "nothing": lambda t: None,
    "mapping": lambda t: {"a": t},
    "whole number": lambda t: 2**80,
    "sparse": lambda t: t.to_sparse(),
    "quantised": lambda t: torch.quantize_per_tensor(t.float(), 0.1, 0, torch.qint8),
    "bfloat16": lambda t: t.to(torch.bfloat16),
    "float8": lambda t: t.float().to(torch.float8_e4m3fn),
    "gradient": lambda t: t.float().requires_grad_(),
    "parameter": lambda t: torch.nn.Parameter(t.float()),
    "meta": lambda t: t.to("meta"),
    "expanded": lambda t: torch.zeros(1, dtype=t.dtype).expand(10_000_000_000),
    "expanded rows": lambda t: t[:1].expand(100_000_000, *t.shape[1:]) if t.ndim else t,
    "conjugate": lambda t: t.to(torch.complex64).conj(),
    "nested tensor": lambda t: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
}
"""Other objects in place of a tensor."""


def change_tensor(path: Path, ground: Ground) -> str:
    """Put another object in place of a tensor of a `.pth` file."""
    try:
        content = torch.load(path, weights_only=True)
    except Exception as error:  # whatever the file is
        raise UnfitError from error
    how = ground.random.choice([*TENSOR_CHANGES, *ARRAY_CHANGES])
    if isinstance(content, dict) and content:
        key = ground.random.choice(sorted(content, key=str))
        content[key] = _other(content[key], how)
        label = f"pth {key}: {how}"
    else:
        content, label = _other(content, how), f"pth {how}"
    try:
        torch.save(content, path)
    except Exception as error:  # what torch cannot save
        raise UnfitError from error
    return label


def _other(value: object, how: str) -> object:
    if isinstance(value, dict) and value:
        key = sorted(value, key=str)[0]
        return value | {key: _other(value[key], how)}
    if not isinstance(value, torch.Tensor):
        return TENSOR_CHANGES[how](torch.zeros(2)) if how in TENSOR_CHANGES else how
    try:
        if how in TENSOR_CHANGES:
            return TENSOR_CHANGES[how](value)
        return torch.from_numpy(changed_array(value.numpy(), how).copy())
    except (TypeError, RuntimeError, ValueError) as error:
        raise UnfitError from error


PICKLES: Mapping[str, bytes] = {
    "1e30": b"\x80\x04]G\x46\x29\x3e\x59\x39\xa0\x8c\x9ea.",
    "negative": b"\x80\x04](J\xff\xff\xff\xffK\x07e.",
    "nested": b"\x80\x04]](K\x05K\x07ea.",
    "text": b"\x80\x04\x8c\x01x.",
    "nothing": b"\x80\x04N.",
    "mapping": b"\x80\x04}.",
    "huge": b"\x80\x04](\x8a\x0a" + b"\xff" * 9 + b"\x00e.",
    "code": b"cos\nsystem\n(S'touch executed'\ntR.",
    "open": b"cbuiltins\nopen\n(S'executed'\nS'w'\ntR.",
    "deep": b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "memo": b"\x80\x04]q\xff.",
    "empty": b"\x80\x04].",
    "true": b"\x80\x04](\x88\x89e.",
    "long frame": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f].",
}


def change_pickle(path: Path, ground: Ground) -> str:
    """Put another pickle in its place."""
    how = ground.random.choice(sorted(PICKLES))
    path.write_bytes(PICKLES[how])
    return f"pickle {how}"


def change_npy(path: Path, ground: Ground) -> str:
    """Change the array of a `.npy` file, or what its head claims."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UnfitError from error
    if ground.random.random() < 0.3:
        path.write_bytes(
            _claiming(path.read_bytes(), ground.random.choice(["claim", "header"]), ground)
        )
        return "npy head"
    how = ground.random.choice(sorted(ARRAY_CHANGES))
    np.save(path, changed_array(array, how))
    return f"npy {how}"


def changed_array(array: np.ndarray, how: str) -> np.ndarray:
    """Return what `ARRAY_CHANGES` puts in place of an array."""
    try:
        with np.errstate(all="ignore"):
            return ARRAY_CHANGES[how](array)
    except (TypeError, ValueError, OverflowError, IndexError) as error:
        raise UnfitError from error
