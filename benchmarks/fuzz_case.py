"""One case of `fuzz.py`: a mutated copy, read in a process of its own with limits and watched.

The process that calls this has imported the library and computes nothing itself: mutations and
commands run in children that are forked for each case, so that a crash or a hang ends one of them.
"""

import contextlib
import ctypes
import importlib
import io
import json
import os
import random
import resource
import select
import shutil
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from fuzz_containers import mutate
from fuzz_mutations import Ground, UnfitError
from fuzz_sources import CONTENTS, Left, Target

import jepawm.registry

MEMORY = 4 * 2**30
"""Bytes that reading may take above those of the process."""
SECONDS = 60
"""Seconds that the commands of one case may take together."""
LARGEST_FILE = 2**30
"""Bytes of a file that a case may write."""
FAULTS = ("fault", "hang", "signal", "memory", "outside", "silent", "lost")
"""Outcomes that must not be."""
_OUT_OF_MEMORY = ("Unable to allocate", "MemoryError", "bad_alloc", "Cannot allocate", "malloc of")
_PROGRAMS = ("git",)
"""Programs that the commands start themselves."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one mutated file led to."""

    kind: str
    """Name of the input."""
    seed: int
    """Draws the file and the mutation."""
    file: str
    """The file, relative to the input."""
    mutation: str
    """What was changed."""
    outcome: str
    """`good` (as if nothing had been changed), `refused` (exit code 2), `different` (a legal change
    of a file without a hash), or one of `FAULTS`."""
    message: str
    """What the command said, or what is wrong."""
    place: str
    """Function in which an exception arose; empty if there was none."""
    seconds: float
    """Wall time of the commands."""
    megabytes: int
    """Largest memory of the process, resident."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Folders of a process that runs cases."""

    base: Path
    """All valid inputs."""
    secret: Path
    """Files that nothing may read; of this process alone, since it is watched."""


def import_everything() -> None:
    """Import what commands would import, so that forked cases need not; nothing is computed.

    What takes time and changes no outcome is left out: files are not flushed to the disk.
    """
    package = Path(jepawm.__file__).parent
    for path in sorted(package.rglob("*.py")):
        name = ".".join(("jepawm", *path.relative_to(package).with_suffix("").parts))
        if path.stem != "__main__":
            with contextlib.suppress(ImportError):  # a part whose extra is not installed
                importlib.import_module(name.removesuffix(".__init__"))
    importlib.import_module("transformers.models.dinov2.modeling_dinov2")
    os.fsync = lambda _: None


def run_case(
    target: Target, *, seed: int, folder: Path, places: "Places", usual: Mapping[str, str]
) -> Outcome | None:
    """Change one file of a copy of `target` in `folder` and run its commands; None: none could be changed.

    `usual` are the digests of the valid input.
    """
    source, out, plants = _copy(target, folder)
    made = _in_child(lambda: _mutate(target, source, places.secret, seed), seconds=SECONDS)
    if not isinstance(made.result, list):
        return None
    file, label = made.result
    with _watching(places.secret) as opened:
        done = _in_child(
            lambda: _read(target, source, out, places.base, plants), seconds=SECONDS, limited=True
        )
        outside = opened()
    found = done.result if isinstance(done.result, dict) else {}
    outcome, message = _classify(target, done, outside=outside, usual=usual)
    if outcome == "refused" and "also as" not in label and _lost(target, file, done.result):
        outcome = "lost"
    return Outcome(
        kind=target.kind,
        seed=seed,
        file=file,
        mutation=label,
        outcome=outcome,
        message=message,
        place=str(found.get("place", "")),
        seconds=round(done.seconds, 2),
        megabytes=done.megabytes,
    )


def usual_content(target: Target, *, folder: Path, base: Path) -> dict[str, str]:
    """Run the commands on the valid input; returns the digests of what came out."""
    source, out, plants = _copy(target, folder)
    done = _in_child(
        lambda: _read(target, source, out, base, plants), seconds=SECONDS, limited=True
    )
    found = done.result
    if not isinstance(found, dict) or any(found["codes"]) or found["outside"]:
        raise RuntimeError(f"the valid input {target.kind} fails: {done}")
    return found["content"]


def _copy(target: Target, folder: Path) -> tuple[Path, Path, Path]:
    """Copy the input; returns the copy, a folder to write to, and the folder that commands run in.

    In the last lies a module that leaves a mark when it is imported.
    """
    source, out, here = folder / "src" / target.folder.name, folder / "out", folder / "here"
    shutil.copytree(target.folder, source, symlinks=True)
    out.mkdir()
    here.mkdir()
    (here / "evil.py").write_text("open('executed by import', 'w').close()\n")
    return source, out, here


def _mutate(target: Target, source: Path, secret: Path, seed: int) -> list[str]:
    generator = random.Random(f"{target.kind} {seed}")
    ground = Ground(random=generator, source=source, secret=secret)
    found = {path for pattern in target.files for path in source.glob(pattern)}
    files = sorted(path for path in found if path.is_file() and path.suffix != ".lock")
    path = generator.choice(files)
    return [str(path.relative_to(source)), mutate(path, ground)]


def _lost(target: Target, file: str, found: object) -> bool:
    """Return whether a bad episode ended the import of the others."""
    alone = any(fnmatch(file, pattern) for pattern in target.single)
    return alone and isinstance(found, dict) and found["codes"][-1] != 0


def _classify(
    target: Target, done: "_Done", *, outside: Sequence[str], usual: Mapping[str, str]
) -> tuple[str, str]:
    if done.signal:
        return ("hang", "") if done.late else ("signal", f"{done.signal.name} {done.text[-300:]}")
    found = done.result
    if not isinstance(found, dict):
        return "fault", f"no result: {done.text[-500:]}"
    text = str(found["text"])
    outside = [*outside, *found["outside"]]
    if outside:
        return "outside", "; ".join(sorted(set(outside))[:5])
    if found["error"]:
        out_of_memory = any(mark in str(found["error"]) for mark in _OUT_OF_MEMORY)
        return ("memory" if out_of_memory else "fault"), str(found["error"])
    if any(mark in text for mark in _OUT_OF_MEMORY):
        return "memory", text[-500:]
    codes = found["codes"]
    if not set(codes) <= set(target.verdicts):
        return "fault", f"exit codes {codes}: {text[-500:]}"
    new = {k: v for k, v in found["content"].items() if usual.get(k) != v}
    if new:
        word = "silent" if target.sealed or target.kind == "report" else "different"
        return word, f"{', '.join(sorted(new))[:300]}; {text[-200:]}"
    return ("refused" if any(codes) else "good"), text[-500:]


# --- in the child --------------------------------------------------------------------------------


def _read(target: Target, source: Path, out: Path, base: Path, plants: Path) -> dict[str, object]:
    from jepawm.cli import main

    os.chdir(plants)
    sys.dont_write_bytecode = True
    os.environ.update(JEPAWM_DATA=str(base / "data_root"), HF_HUB_OFFLINE="1")
    outside: list[str] = []
    watching = [True]
    sys.addaudithook(_hook([source, out, plants, base / "data_root"], outside, watching))
    codes: list[int] = []
    error, place, content = "", "", {}
    text = io.StringIO()
    words = {"src": source, "out": out, "base": base}
    for command in target.commands:
        argv = [word.format(**words) for word in command.split()]
        try:
            with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
                codes.append(main(argv))
        except SystemExit as end:
            codes.append(end.code if isinstance(end.code, int) else 1)
        except BaseException as caught:  # noqa: BLE001 - a fault is what is looked for
            error = "".join(traceback.format_exception(caught))[-3000:]
            place = _innermost(caught)
            break
    watching[0] = False
    executed = [str(file) for folder in (plants, source) for file in folder.glob("executed*")]
    outside += [f"ran {file}" for file in executed]
    if not error and target.content is not None and codes[-1] == 0:
        content = CONTENTS[target.content](Left(source=source, out=out))
    shown = "\n".join(line for line in text.getvalue().splitlines() if "\u2501" not in line)
    return {
        "codes": codes,
        "error": error,
        "place": place,
        "text": shown[-4000:],
        "outside": outside,
        "content": content,
    }


def _innermost(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "jepawm" in frame.filename]
    last = own[-1] if own else frames[-1]
    name = last.filename.rpartition("jepawm/")[2]
    return f"{type(error).__name__} in {name}:{last.lineno}, {last.name}"


def _hook(
    inside: Sequence[Path], outside: list[str], watching: list[bool]
) -> Callable[[str, tuple[object, ...]], None]:
    """Return an audit hook that notes files opened elsewhere, programs started, sockets, modules."""
    own = Path(__file__).parents[1]
    roots = [*inside, own, Path(sys.prefix), Path(sys.base_prefix), *map(Path, sys.path[1:])]
    folders = tuple(f"{os.path.realpath(root)}/" for root in roots if str(root) not in ("", "/"))
    folders += ("/sys/", "/usr/", "/lib")
    exact = ("/dev/null", "/dev/urandom")
    secret = ("/proc/self/mem", f"/proc/{os.getpid()}/mem", "/proc/self/environ")

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if not watching[0]:
            return
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            harmless = path in exact or (path.startswith("/proc/") and path not in secret)
            if not harmless and not f"{path}/".startswith(folders):
                outside.append(f"open {path}")
        elif event in ("subprocess.Popen", "os.exec", "os.posix_spawn"):
            if Path(str(arguments[0])).name not in _PROGRAMS:
                outside.append(f"{event} {arguments[:2]}")
        elif event in ("os.system", "socket.connect", "pty.spawn"):
            outside.append(f"{event} {arguments[1:2]}")

    return hook


# --- around the child ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Done:
    """What a child left."""

    result: object
    text: str
    signal: signal.Signals | None
    late: bool
    seconds: float
    megabytes: int


def _in_child(work: Callable[[], object], *, seconds: float, limited: bool = False) -> _Done:
    """Run `work` in a forked process; its result comes back as JSON."""
    reading, writing = os.pipe()
    error_reading, error_writing = os.pipe()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.close(error_reading)
        os.setsid()
        for stream in (1, 2):
            os.dup2(error_writing, stream)
        code = 1
        try:
            if limited:
                _limit()
            data = json.dumps(work(), default=str).encode()
            with os.fdopen(writing, "wb") as file:
                file.write(data)
            code = 0
        except UnfitError:
            code = 0
        except BaseException:  # noqa: BLE001 - nothing may leave the child
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    os.close(error_writing)
    data, text, late = _collect(reading, error_reading, until=began + seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    ended = signal.Signals(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else None
    return _Done(
        result=json.loads(data) if data else None,
        text=text,
        signal=ended if not data else None,
        late=late,
        seconds=time.monotonic() - began,
        megabytes=usage.ru_maxrss // 1024,
    )


def _collect(reading: int, errors: int, *, until: float) -> tuple[bytes, str, bool]:
    """Read both pipes until they end or time is over."""
    parts: dict[int, list[bytes]] = {reading: [], errors: []}
    left = {reading, errors}
    while left and (rest := until - time.monotonic()) > 0:
        for ready in select.select(list(left), [], [], rest)[0]:
            piece = os.read(ready, 65536)
            parts[ready].append(piece)
            if not piece:
                left.discard(ready)
        if reading not in left:
            break
    late = reading in left
    for one in (reading, errors):
        os.close(one)
    return b"".join(parts[reading]), b"".join(parts[errors]).decode(errors="replace"), late


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


@contextmanager
def _watching(folder: Path) -> Iterator[Callable[[], list[str]]]:
    """Give a function that lists the files of `folder` opened since; C libraries count too."""
    libc = ctypes.CDLL(None, use_errno=True)
    opened = 0x20  # IN_OPEN
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0 or libc.inotify_add_watch(descriptor, os.fsencode(folder), opened) < 0:
        raise OSError(ctypes.get_errno(), "inotify")

    def names() -> list[str]:
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return []
        found, start = [], 0
        while start < len(data):
            size = struct.unpack_from("iIII", data, start)[3]
            name = data[start + 16 : start + 16 + size].rstrip(b"\0").decode(errors="replace")
            found.append(f"read {name}")
            start += 16 + size
        return [one for one in found if one != "read "]

    try:
        yield names
    finally:
        os.close(descriptor)
