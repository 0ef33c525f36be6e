"""Every path that a user can name, in every verb, of every kind: exit code 2 or the right result."""

import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from jepawm.cli import main

TRAIN = (
    "train wall --device cpu --optim.num-steps 1 --optim.batch-size 4 --optim.warmup-steps 1 "
    "--loop.log-every 1 --loop.validate-every 1 --data.num-episodes 12 --data.episode-steps 40 "
    "--data.image-size 16 --encoder.image-size 16 --encoder.dim 8 --predictor.depth 1 "
    "--predictor.num-heads 2 --predictor.visual-dim 16 --planner.num-samples 4 "
    "--planner.num-elites 2 --planner.num-iterations 1 --processes 1 --proposals.num-steps 0"
)
SECONDS = 120
"""A command that takes longer hangs."""
STEP = "--num-steps 1 --batch-size 4 --device cpu"
PROPOSER = f"train-proposer {STEP} --proposer.width 16 --episodes 0"
DECODER = f"train-decoder {STEP} --probe-steps 1 --width 16"
PLANS = "collect-plans --num-episodes 2 --preset fast --processes 1"
EVAL = "eval {run} --episodes 2 --tasks-per-batch 2 --device cpu"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A path on the command line."""

    command: str
    """The command; the path takes the place of `PATH`."""
    valid: str
    """Which of the valid inputs is right there; empty: a new path is."""
    quick: bool = True
    """Whether the command takes no time where the path can be used."""


def quick(command: str, valid: str) -> Place:
    return Place(command=command, valid=valid)


def slow(command: str, valid: str) -> Place:
    return Place(command=command, valid=valid, quick=False)


PLACES = {
    "train --data": slow(f"{TRAIN} --out {{new}} --data PATH", "store"),
    "train --out": slow(f"{TRAIN} --data-root {{data}} --out PATH", ""),
    "train --data-root": slow(f"{TRAIN} --out {{new}} --data-root PATH", "data"),
    "train --resume --out": slow(f"{TRAIN} --resume --data-root {{data}} --out PATH", "run"),
    "train --init-from": slow(
        f"{TRAIN} --data-root {{data}} --out {{new}} --init-from PATH", "run"
    ),
    "train-proposer RUN": slow(f"{PROPOSER} PATH --data-root {{data}} --out {{new}}", "run"),
    "train-proposer --out": slow(f"{PROPOSER} {{run}} --data-root {{data}} --out PATH", ""),
    "train-decoder RUN": slow(f"{DECODER} PATH --data-root {{data}} --out {{new}}", "run"),
    "collect-plans RUN": slow(f"{PLANS} PATH --out {{new}}", "run"),
    "collect-plans --out": slow(f"{PLANS} {{run}} --out PATH", ""),
    "eval RUN": slow("eval PATH --episodes 2 --device cpu --out {new}", "run"),
    "eval --data": slow(f"{EVAL} --offline --out {{new}} --data PATH", "store"),
    "eval --data-root": slow(f"{EVAL} --out {{new}} --data-root PATH", "data"),
    "eval --out": slow(f"{EVAL} --out PATH", ""),
    "plan RUN": slow("plan PATH --device cpu --out {new}", "run"),
    "plan --out": slow("plan {run} --device cpu --out PATH", ""),
    "plan --data-root": slow("plan {run} --device cpu --out {new} --data-root PATH", "data"),
    "collect --out": quick(
        "collect wall --num-episodes 2 --num-steps 3 --image-size 16 --processes 1 --out PATH", ""
    ),
    "collect --data-root": quick(
        "collect wall --num-episodes 2 --num-steps 3 --image-size 16 --processes 1 "
        "--data-root PATH",
        "data",
    ),
    "data import SRC": quick("data import PATH --out {new} --image-size 16", "recordings"),
    "data import --out": quick("data import {recordings} --image-size 16 --out PATH", ""),
    "data inspect SRC": quick("data inspect PATH", "recordings"),
    "data inspect STORE": quick("data inspect PATH", "store"),
    "data check SRC": quick("data check PATH", "recordings"),
    "data export STORE": quick("data export PATH --format npz --out {new}", "store"),
    "data export --out": quick("data export {store} --format npz --out PATH", ""),
    "data join STORE": quick("data join {store} PATH --out {new}", "store"),
    "data join --out": quick("data join {store} {store} --out PATH", ""),
    "data features STORE": slow(
        "data features PATH --encoder dinov2 --encoder.weights random:0 "
        "--encoder.image-size 28 --device cpu --out {new}",
        "store",
    ),
    "data features --out": slow(
        "data features {store} --encoder dinov2 --encoder.weights random:0 "
        "--encoder.image-size 28 --device cpu --out PATH",
        "",
    ),
    "import FILE": quick("import dino-wm PATH --out {new}", "tensors"),
    "import --out": quick("import dino-wm {tensors} --out PATH", ""),
    "import --statistics": quick(
        "import dino-wm {tensors} --out {new} --statistics PATH", "statistics"
    ),
    "report RUN": quick("report PATH", "run"),
    "check golden DIR": quick("check golden PATH", "golden"),
}
"""The verbs and options that take a path."""
USELESS = {"import FILE", "import --out", "import --statistics"}
"""Commands whose valid input is no model that they take: refused wherever it lies."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of path."""

    make: Callable[[Path, Path | None], str]
    """Make it in a new folder, from a copy of the valid input (None: a new path is valid)."""
    right: bool = False
    """Whether the command has to do its work."""


def _under(*names: str) -> Callable[[Path, Path | None], str]:
    """Put the valid input, or nothing yet, below folders of these names."""

    def make(folder: Path, valid: Path | None) -> str:
        target = folder.joinpath(*names)
        target.parent.mkdir(parents=True, exist_ok=True)
        if valid is not None:
            valid.rename(target)
        return str(target)

    return make


def _file(folder: Path, valid: Path | None) -> str:
    (folder / "file").write_text("a text\n")
    return "file"


def _below_a_file(folder: Path, valid: Path | None) -> str:
    return f"{_file(folder, valid)}/sub"


def _folder(folder: Path, valid: Path | None) -> str:
    (folder / "empty").mkdir()
    return "empty"


def _loop(folder: Path, valid: Path | None) -> str:
    (folder / "loop").symlink_to("loop")
    return "loop"


def _dangling(folder: Path, valid: Path | None) -> str:
    (folder / "dangling").symlink_to("nowhere/at/all")
    return "dangling"


def _link(folder: Path, valid: Path | None) -> str:
    target = folder / "target"
    if valid is None:
        target.mkdir()
    else:
        valid.rename(target)
    (folder / "link").symlink_to(target)
    return "link"


def _fifo(folder: Path, valid: Path | None) -> str:
    os.mkfifo(folder / "fifo")
    return "fifo"


def _socket(folder: Path, valid: Path | None) -> str:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")  # the folder is the working folder; a whole path may be too long
    return "socket"


def _not_utf8(folder: Path, valid: Path | None) -> str:
    target = folder / os.fsdecode(b"caf\xe9")
    try:
        if valid is not None:
            valid.rename(target)
        else:
            target.mkdir()
            target.rmdir()
    except OSError:
        pytest.skip("this disk takes names in UTF-8 only")
    return str(target)


def _here(folder: Path, valid: Path | None) -> str:
    place = folder / "here" if valid is None else valid
    if valid is None:
        place.mkdir()
    if not place.is_dir():
        return str(place)
    os.chdir(place)
    return "."


def _trailing_slash(folder: Path, valid: Path | None) -> str:
    target = folder / "new one" if valid is None else valid
    return str(target) if target.is_file() else f"{target}/"


def _vanishing(count: int) -> Callable[[Path, Path | None], str]:
    def make(folder: Path, valid: Path | None) -> str:
        target = folder / "vanishing" if valid is None else valid
        _VANISH.update(path=str(target), after=count)
        return str(target)

    return make


def _text(path: str) -> Callable[[Path, Path | None], str]:
    return lambda folder, valid: path


KINDS = {
    "missing": Kind(make=_text("missing")),
    "missing below missing": Kind(make=_text("missing/below/missing")),
    "file": Kind(make=_file),
    "folder": Kind(make=_folder),
    "below a file": Kind(make=_below_a_file),
    "long name": Kind(make=_text("n" * 300)),
    "long path": Kind(make=_text("/".join(["d" * 200] * 30))),
    "not UTF-8": Kind(make=_not_utf8),
    "loop of links": Kind(make=_loop),
    "dangling link": Kind(make=_dangling),
    "link": Kind(make=_link, right=True),
    "pipe": Kind(make=_fifo),
    "socket": Kind(make=_socket),
    "device": Kind(make=_text("/dev/null")),
    "endless device": Kind(make=_text("/dev/zero")),
    "in /proc": Kind(make=_text("/proc/nowhere")),
    "in /sys": Kind(make=_text("/sys/nowhere")),
    "empty": Kind(make=_text("")),
    "home of nobody": Kind(make=_text("~nobody-of-this-name/x")),
    "null character": Kind(make=_text("a\0b")),
    "spaces, signs, letters": Kind(make=_under(" ü*[x]?{y}$HOME %s 'q' #"), right=True),
    "leading dash": Kind(make=_under("-x"), right=True),
    "line break": Kind(make=_under("a\nb"), right=True),
    "deep": Kind(make=_under(*["deep"] * 60, "x"), right=True),
    "trailing slash": Kind(make=_trailing_slash, right=True),
    "this folder": Kind(make=_here),
    "vanishes at once": Kind(make=_vanishing(1)),
    "vanishes later": Kind(make=_vanishing(4)),
}
"""The kinds of paths."""

_VANISH: dict[str, object] = {}


def _vanish(event: str, arguments: tuple[object, ...]) -> None:
    """Delete the path of `_VANISH` when it is opened or listed for the n-th time."""
    if not _VANISH or event not in ("open", "os.listdir", "os.scandir"):
        return
    path, name = str(_VANISH["path"]), arguments[0]
    if not isinstance(name, str) or not os.path.abspath(name).startswith(path):  # noqa: PTH100
        return
    _VANISH["after"] = int(str(_VANISH["after"])) - 1
    if _VANISH["after"] == 0:
        _VANISH.clear()
        shutil.rmtree(path, ignore_errors=True)
        Path(path).unlink(missing_ok=True)


@pytest.fixture(scope="module", autouse=True)
def _watched() -> Iterator[None]:
    sys.addaudithook(_vanish)
    yield
    _VANISH.clear()


@pytest.fixture(scope="module")
def valid(
    tmp_path_factory: pytest.TempPathFactory,
    project_root: Path,
    wall_data_root: Path,
) -> dict[str, Path]:
    """Return one valid input of every kind; tests copy them."""
    folder = tmp_path_factory.mktemp("valid")
    recordings, golden = folder / "recordings", folder / "golden"
    recordings.mkdir()
    golden.mkdir()
    for episode in range(3):
        generator = np.random.default_rng(episode)
        np.savez(
            recordings / f"{episode}.npz",
            frames=generator.integers(256, size=(41, 16, 16, 3), dtype=np.uint8),
            actions=generator.normal(size=(41, 2)).astype(np.float32),
            fps=np.array(10),
        )
    cases = project_root / "tests" / "golden" / "cases"
    shutil.copy(cases / "train_val_split.npz", golden)
    store = folder / "store"
    assert main(["data", "import", str(recordings), "--out", str(store), "--image-size", "16"]) == 0
    run = folder / "run"
    assert main([*TRAIN.split(), "--out", str(run), "--data-root", str(wall_data_root)]) == 0
    (folder / "statistics.json").write_text("{}")
    (folder / "tensors.pth").write_bytes(b"no tensors")
    return {
        "recordings": recordings,
        "golden": golden,
        "store": store,
        "run": run,
        "data": wall_data_root,
        "statistics": folder / "statistics.json",
        "tensors": folder / "tensors.pth",
    }


def _run(place: Place, path: str, *, valid: dict[str, Path], new: Path) -> int:
    words = [word.format(**valid, new=new) for word in place.command.split()]
    at = words.index("PATH")
    if at and words[at - 1].startswith("--") and words[at - 1] != "--resume":
        words[at - 1 : at + 1] = [f"{words[at - 1]}={path}"]
    else:
        words[at] = path
    before = signal.signal(signal.SIGALRM, _hang)
    signal.alarm(SECONDS)
    try:
        return main(words)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class HangError(BaseException):
    """A command waits for what never comes; no reader catches this."""


def _hang(_number: int, _frame: FrameType | None) -> None:
    raise HangError


def _check(
    name: str,
    kind_name: str,
    valid: dict[str, Path],
    folder: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    place, kind = PLACES[name], KINDS[kind_name]
    original = valid.get(place.valid)
    copy = None
    if original is not None:
        copy = folder / "copy" / original.name
        copy.parent.mkdir()
        (shutil.copytree if original.is_dir() else shutil.copy)(original, copy)
    path = kind.make(folder, copy)
    capfd.readouterr()
    code = _run(place, path, valid=valid, new=folder / "new")
    _VANISH.clear()
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    if kind.right and name not in USELESS:
        assert code == 0, err
    assert code in (0, 2), err
    if code == 2:
        told = err.count("\njepawm: ") + err.startswith("jepawm: ")
        shown = "problems:" in out or "copy it again" in out or "error" in err.lower()
        assert told == 1 or shown, err


CASES = [(place, kind) for place in PLACES for kind in KINDS]
FEW = [
    (place, kind)
    for number, (place, kind) in enumerate(CASES)
    if number % 5 == 0
    and (PLACES[place].quick or (PLACES[place].valid in ("run", "store") and not KINDS[kind].right))
]
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="pipes, /proc and names of bytes"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a new folder, which is the working folder and holds the default data root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JEPAWM_DATA", str(tmp_path / "default"))
    return tmp_path


@pytest.mark.parametrize(("place", "kind"), FEW)
def test_some_paths_of_every_verb(place: str, kind: str, valid, folder: Path, capfd):
    _check(place, kind, valid, folder, capfd)


@pytest.mark.slow
@pytest.mark.parametrize(("place", "kind"), [case for case in CASES if case not in FEW])
def test_all_paths_of_every_verb(place: str, kind: str, valid, folder: Path, capfd):
    _check(place, kind, valid, folder, capfd)
