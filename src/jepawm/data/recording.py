"""What every foreign format is read into: a source of recordings, one for each episode.

A format is a module in `data/formats/` that turns a path into a `Source`; what follows is the same for all.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Shaped, UInt8

from jepawm.border import foreign, require_claim, require_inside, require_regular
from jepawm.errors import UserError, plain_text
from jepawm.foreign_files import listed

Place = TypeVar("Place")
Found = TypeVar("Found")
_ROWS, _VECTOR_ROWS, _BLOB_ROWS = 65_536, 8_192, 64
"""Rows of a table that are read at once: of numbers, of vectors, and of what may be large."""
AS_FRAMES = (
    "frames are uint8 (L, height, width, 3) with levels 0 to 255; fractions of 1 are multiplied by "
    "255, deeper levels divided (16 bits: by 257), channels moved last, and saved as uint8"
)
"""What to do about frames of another kind. None is guessed: nobody sees that a store is black."""
_NONE: Mapping[str, str] = {}
_SMALL_TABLE = 2**24
_TABLE_RATIO = 1032.0
"""Times that a table in memory may be larger than its file, beyond `_SMALL_TABLE` bytes."""
FIRST_CAMERA = "*"


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What to read from a source."""

    camera: str | None = None
    """Camera to read, several joined by commas, or `all`; needed only where there are several."""
    action_key: str | None = None
    """Names of the actions in the source, joined by commas, where it is not the usual one."""
    proprio_key: str | None = None
    """Names of the proprioception in the source, joined by commas; `none` leaves it out."""
    pair_frames: Literal["times", "order"] = "times"
    """How LeRobot's videos and tables are paired: by their times, or frame by row in order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """One episode of a source; its frames are decoded when they are asked for."""

    num_frames: int
    """Number of frames `L`."""
    actions: Shaped[np.ndarray, "n a"]
    """Actions `[n, a]`, real numbers; `n` is `L` or `L - 1`; row t leads frame t to frame t + 1."""
    proprio: Shaped[np.ndarray, "L P"] | None = None
    """Proprioception `[L, P]`; None if there is none."""
    state: Shaped[np.ndarray, "L S"] | None = None
    """Simulator state `[L, S]`; None if there is none."""
    rewards: Shaped[np.ndarray, "n R"] | None = None
    """Logged rewards `[n, R]` of the actions; None if there are none."""
    task: str = ""
    """What the episode is about, in words; empty if nothing is said."""
    video: Path | None = None
    """File that holds the frames, for messages; None if it is the file of the episode."""
    frames: Callable[[], Iterator[UInt8[np.ndarray, "height width 3"]]]
    """Decode the frames one after the other."""
    count_frames: Callable[[], int]
    """Count the frames there really are, without decoding them."""
    pose_actions: bool = False
    """Whether actions are differences of the proprioception, a pose (see `pose_differences`)."""
    fps: float | None = None
    """Frames per second, where each episode says its own; None for those of the source."""
    notes: tuple[str, ...] = ()
    """What is worth knowing of how it was read, though nothing is wrong."""
    others: Mapping[str, "Recording"] = field(default_factory=dict)
    """The same episode by further cameras, in order, of which the frames count; see `join_cameras`."""


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One episode of a source, before it is read."""

    name: str
    """How messages call it."""
    file: Path
    """File or folder that holds it."""
    read: Callable[[], Recording]
    """Read everything but the frames; raises `UserError` for what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A foreign data set, opened."""

    format: str
    """Name of the format."""
    path: Path
    """What was opened."""
    environment: str
    """Name of the environment or robot."""
    fps: float | None
    """Frames per second; None if the source does not say."""
    cameras: Sequence[str]
    """All cameras there are."""
    camera: str
    """The one that is read; several are joined by commas."""
    views: Sequence[str] = ()
    """Those that are read together, where there are several."""
    episodes: Sequence[Episode]
    """All episodes, in order."""
    files: Sequence[Path]
    """All files that the source consists of, sorted."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """What else there is, by name, with its type and shape in words."""
    notes: Sequence[str] = ()
    """What is worth knowing of how it was read: what became what, what was left out."""
    reward_names: Sequence[str] = ()
    """Names of the logged rewards."""
    action_names: Sequence[str] = ()
    """Names of the columns of the actions; none if nothing is said."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A foreign format."""

    summary: str
    """What it is, in a line."""
    recognises: Callable[[Path], bool]
    """Return whether a path looks like this format."""
    open: Callable[[Path, ReadOptions], Source]
    """Open a source; raises `UserError` for what concerns all episodes."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something wrong with a source."""

    file: str
    """File that holds it."""
    episode: str
    """Episode, in words."""
    message: str
    """What is wrong and what to do."""
    fatal: bool = True
    """Whether the episode cannot be imported; if not, it is worth knowing only."""

    def to_text(self) -> str:
        """Return one line for a person."""
        where = self.episode if self.file in self.message else f"{self.file}, {self.episode}"
        return plain_text(f"{where}: {self.message}")


def choose_camera(
    wanted: str | None, cameras: Sequence[str], *, where: Path, others: Mapping[str, str] = _NONE
) -> str:
    """Return the camera to read.

    Args:
        wanted: the name that was asked for; None: the only one.
        cameras: the names of those there are.
        where: what holds them, for messages.
        others: what looks like pictures but cannot be read as such, with its type in words.
    """
    known = plain_text(", ".join(cameras))
    if others and (wanted in others or not cameras):
        named = wanted if wanted is not None and wanted in others else next(iter(others))
        raise UserError(
            f"{where}: {plain_text(named)} is {others[named]}, no frames that can be read: {AS_FRAMES}"
        )
    if not cameras:
        raise UserError(f"{where} holds no camera; record or render images first")
    if wanted == FIRST_CAMERA or (wanted is None and len(cameras) == 1):
        return cameras[0]
    if wanted is None:
        raise UserError(f"{where} holds several cameras; choose one by --camera: {known}")
    ends = [one for one in cameras if one.endswith(wanted)]  # a unique ending is enough
    if wanted not in cameras and len(ends) != 1:
        raise UserError(f"{where} has no camera {wanted!r}; by --camera choose among: {known}")
    return wanted if wanted in cameras else ends[0]


def read_any(
    places: Iterable[Place],
    read: Callable[[Place], Found],
    *,
    enough: Callable[[Found], object] = lambda _: True,
) -> Found | None:
    """Read what all episodes share from the first place that is not damaged; None if all are.

    What is not `enough`, such as an empty list of cameras, counts as damaged.
    """
    for place in places:
        try:
            with foreign("a file", "file of this format"):
                found = read(place)
                if enough(found):
                    return found
        except UserError:
            continue  # reading the episode says so again
    return None


def is_there(path: Path) -> bool:
    """Return whether there is a file, or what cannot be looked at: reading it says why."""
    try:
        return path.is_file()
    except OSError:
        return True


def refuse(error: UserError) -> Recording:
    """Stand for an episode that is known to be bad before it is read."""
    raise error


def refuse_keys(options: ReadOptions, *keys: str) -> None:
    """Refuse options of a format whose columns are what they are."""
    for key in keys:
        if getattr(options, key) is not None:
            name = key.replace("_", "-")
            raise UserError(f"--{name} has no use here: this format has one kind; leave it out")


def all_files(folder: Path) -> list[Path]:
    """List all files of data below a folder, in natural order; a file is its own list.

    Links that lead out and `foreign_files.is_sidecar` are left out.
    """
    return [folder] if folder.is_file() else own_files(folder, listed(folder, "**/*"))


def own_files(folder: Path, paths: Iterable[Path]) -> list[Path]:
    """List the regular files among the paths that do not lead out of the folder."""
    return [path for path in paths if _is_own(folder, path)]


def files_named(folder: Path, name: str) -> list[Path]:
    """List what has a name below a folder; links to nothing too, which reading refuses."""
    return [path for path in listed(folder, "**/*") if path.name == name]


def require_own(root: Path, file: Path) -> None:
    """Check that a file of a data set is a regular file of its folder, before it is opened."""
    require_regular(file, "copy it again, or leave the episode out")
    if file != root:
        require_inside(root, file)


def _is_own(root: Path, file: Path) -> bool:
    try:
        require_regular(file)
        if file.is_symlink():
            require_inside(root, file)
    except UserError:
        return False  # reading it, if anything does, says so
    return True


def require_distinct(names: Sequence[str], *, file: Path) -> None:
    """Check that no column of a table is there twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        listed = plain_text(", ".join(twice))
        raise UserError(f"{file} has several columns {listed}; rename all but one")


def check_parquet(file: Path) -> pq.FileMetaData:
    """Read the footer of a table and check what it claims: rows and bytes."""
    require_regular(file)
    with foreign(file, "parquet table"):
        footer = pq.read_metadata(file)
        groups = [footer.row_group(group) for group in range(footer.num_row_groups)]
        counts = [group.num_rows for group in groups]
        sizes = [
            group.column(i).total_uncompressed_size
            for group in groups
            for i in range(group.num_columns)
        ]
        names = footer.schema.to_arrow_schema().names
        if sum(counts) != footer.num_rows or min(counts, default=0) < 0:
            raise UserError(
                f"{file} claims {footer.num_rows:,} rows, its parts have {sum(counts):,}; copy it "
                "again"
            )
        for claim, what in ((footer.num_rows, "its rows"), (sum(sizes), "its columns")):
            require_claim(claim, file=file, what=what, ratio=_TABLE_RATIO)
    require_distinct(names, file=file)
    return footer


def matrix(table: pa.Table, name: str, *, file: Path) -> Shaped[np.ndarray, "n d"]:
    """Return a column of numbers or of lists of equal length as rows `[n, d]`, dtype kept."""
    column = table[name].combine_chunks()
    if column.null_count:
        raise UserError(f"{file}: {name} is empty in {column.null_count} rows; fill or leave out")
    width = 1
    if is_list(column.type):
        widths = set(column.value_lengths().to_pylist()) if len(column) else {0}
        if len(widths) != 1:
            raise UserError(
                f"{file}: rows of {name} have several lengths, {sorted(widths)}; fill or leave out"
            )
        width = widths.pop()
        column = column.flatten()
        if column.null_count:
            raise UserError(f"{file}: {name} holds empty numbers; fill them or leave out the rows")
    if is_list(column.type):
        raise UserError(f"{file}: rows of {name} are matrices; choose a column of plain vectors")
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise UserError(f"{file}: {name} holds {column.type}, not numbers; choose another column")
    return column.to_numpy(zero_copy_only=False).reshape(len(table), width)


def read_parquet(
    file: Path,
    columns: Sequence[str] | None = None,
    *,
    optional: Sequence[str] = (),
    only: tuple[str, int] | None = None,
) -> pa.Table:
    """Read a table piece by piece, so that it cannot claim more memory than its file is worth.

    Args:
        file: the file.
        columns: columns that it must have; None: all that there are.
        optional: columns that are read where there are any.
        only: a column of whole numbers and its value in the rows that are read; None: all rows.
    """
    require_regular(file, "copy it again, or leave it out")
    with foreign(file, "parquet table"), pq.ParquetFile(file) as content:
        there = content.schema_arrow.names
        wanted = there if columns is None else list(columns)
        require_columns(there, [*wanted, *([only[0]] if only else [])], file=file)
        chosen = list(dict.fromkeys([*wanted, *(name for name in optional if name in there)]))
        read = list(dict.fromkeys([*chosen, *([only[0]] if only else [])]))
        schema, batches, num_bytes = content.schema_arrow, [], 0
        rows = min((_rows_at_once(schema.field(name).type) for name in read), default=_ROWS)
        groups = _groups_with(content, only)
        for batch in content.iter_batches(batch_size=rows, row_groups=groups, columns=read):
            part = pa.Table.from_batches([batch])
            if only is not None:
                part = part.filter(pc.field(only[0]) == only[1])
            num_bytes += part.nbytes + 8 * part.num_rows
            if num_bytes > _SMALL_TABLE:
                require_claim(num_bytes, file=file, what="its rows", ratio=_TABLE_RATIO)
            batches.append(part.select(chosen))
        fields = pa.schema([schema.field(name) for name in chosen])
        return pa.concat_tables(batches) if batches else fields.empty_table()


def _groups_with(content: pq.ParquetFile, only: tuple[str, int] | None) -> list[int]:
    """List the row groups that may hold a value, by what the file says of each."""
    metadata = content.metadata
    groups = list(range(metadata.num_row_groups))
    paths = [metadata.schema.column(index).path for index in range(metadata.num_columns)]
    if only is None or only[0] not in paths:
        return groups
    place = paths.index(only[0])
    known = [metadata.row_group(group).column(place).statistics for group in groups]
    may = [one is None or not one.has_min_max or one.min <= only[1] <= one.max for one in known]
    return [group for group in groups if may[group]]


def _rows_at_once(kind: pa.DataType) -> int:
    if pa.types.is_primitive(kind) or pa.types.is_null(kind):
        return _ROWS
    if is_list(kind) and pa.types.is_primitive(kind.value_type):
        return _VECTOR_ROWS
    return _BLOB_ROWS  # texts, pictures


def require_columns(there: list[str], wanted: list[str], *, file: Path) -> None:
    """Check that a table has the columns that are wanted, each once."""
    missing = [name for name in wanted if name not in there]
    if missing:
        raise UserError(
            f"{file} lacks the columns {', '.join(missing)}; it has: "
            f"{plain_text(', '.join(there))}; rename columns, or leave the file out"
        )
    twice = [name for name in wanted if there.count(name) > 1]
    if twice:
        raise UserError(f"{file} has the column {plain_text(twice[0])} twice; rename one")


def is_list(kind: pa.DataType) -> bool:
    """Return whether a column holds lists."""
    return any(getattr(pa.types, f"is_{name}list")(kind) for name in ("", "large_", "fixed_size_"))
