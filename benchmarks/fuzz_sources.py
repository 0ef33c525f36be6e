"""Small valid inputs for `fuzz.py`: every format, a store, features, a run, a checkpoint, golden files.

Data sets of others are those of the tests (tests/data/formats/conftest.py), written by the
libraries that their authors use.
"""

import hashlib
import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

from jepawm.cli import main
from jepawm.data.episodes import open_store
from jepawm.data.exporting import stored_episodes
from jepawm.data.features import read_feature_manifest, write_feature_manifest

ROOT = Path(__file__).parents[1]
FORMATS = [
    "droid",
    "folder",
    "franka",
    "metaworld",
    "minari",
    "npz",
    "pointmaze",
    "pusht",
    "robocasa",
    "robomimic",
    "wall",
]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A valid input and the commands that read it."""

    kind: str
    """Its name in the table of results."""
    folder: Path
    """What is copied and changed; `{src}` in a command is the copy."""
    commands: tuple[str, ...]
    """What reads it; `{out}` is a new folder, `{base}` that of all valid inputs."""
    content: str | None = None
    """Entry of `CONTENTS`: digests of what came out by name; what is not in those of the valid
    input is other content without a word."""
    sealed: bool = False
    """Whether every file has a hash, so that nothing may change without a word."""
    verdicts: tuple[int, ...] = (0, 2)
    """Exit codes that are an answer."""
    rounds: int = 1
    """In every how many rounds it is read; what takes seconds is read less often."""
    files: tuple[str, ...] = ("**/*",)
    """Patterns of the files to change."""
    single: tuple[str, ...] = ()
    """Patterns of the files that hold one episode: the others have to come through."""


def write_targets(base: Path) -> list[Target]:
    """Write all valid inputs below `base`."""
    base.mkdir(parents=True, exist_ok=True)
    targets = [*_foreign(base), *_from_store(base), *_runs(base)]
    assert all(any(target.folder.rglob("*")) for target in targets)
    return targets


_SINGLE = {
    "droid": ("*.h5", "*.json", "*.mp4"),
    "folder": ("*.mp4",),
    "franka": ("*.h5",),
    "npz": ("*.npz",),
    "npz with everything": ("*.npz",),
    "pictures": ("*.png", "*.csv"),
    "pointmaze": ("obses/*",),
    "pusht": ("*.mp4",),
    "wall": ("obses/*",),
    "lerobot-v2.1 video": ("data/*", "videos/*"),
}
"""Files that hold one episode, by kind."""


def _data_set(kind: str, folder: Path) -> Target:
    return Target(
        kind=kind,
        folder=folder,
        commands=(
            "data inspect {src}",
            "data check {src}",
            "data import {src} --out {out}/store --image-size 32 --skip-bad-episodes",
        ),
        content="episodes",
        single=_SINGLE.get(kind, ()),
    )


def _foreign(base: Path) -> list[Target]:
    written = _tests_module("tests/data/formats/conftest.py")
    targets: list[Target] = []
    for name in FORMATS:
        folder = base / name
        folder.mkdir()
        written.WRITERS[name](folder, written.moving_frames, written.numbers, written.write_mp4)
        targets.append(_data_set(name, folder))
    pictures = base / "pictures"
    pictures.mkdir()
    for episode, length in enumerate(written.LENGTHS):
        (pictures / str(episode)).mkdir()
        for number, frame in enumerate(written.moving_frames(episode, length)):
            Image.fromarray(frame).save(pictures / str(episode) / f"{number}.png")
        rows = [f"{x},{y},{x + y}" for x, y in written.numbers(episode, length, 2)]
        lines = ["action_x,action_y,proprio_sum", *rows]
        (pictures / f"{episode}.csv").write_text("\n".join(lines) + "\n")
    return [*targets, _data_set("pictures", pictures)]


def _from_store(base: Path) -> list[Target]:
    """Write stores, what is exported from them, and features."""
    source = base / "with everything"
    source.mkdir()
    written = _tests_module("tests/data/formats/conftest.py")
    for episode, length in enumerate(written.LENGTHS):
        np.savez(
            source / f"e{episode}.npz",
            frames=written.moving_frames(episode, length),
            actions=written.numbers(episode, length, 2),
            proprio=written.numbers(episode, length, 3),
            state=written.numbers(episode, length, 4),
            task=np.array("push the block"),
            fps=np.array(10),
        )
    raw, jpeg = base / "store", base / "store of jpeg"
    for folder, pixels in ((raw, "raw"), (jpeg, "jpeg")):
        _run("data", "import", source, "--out", folder, "--image-size", 32, "--pixels", pixels)
    targets = [_data_set("npz with everything", source)]
    for folder in (raw, jpeg):
        commands = (
            "data inspect {src}",
            "data check {src}",
            "data export {src} --out {out}/npz --format npz",
        )
        targets.append(
            Target(
                kind=folder.name, folder=folder, commands=commands, content="exported", sealed=True
            )
        )
    for name, images in (("lerobot", "video"), ("lerobot", "png"), ("lerobot-v2.1", "video")):
        folder = base / f"{name} {images}"
        _run("data", "export", raw, "--out", folder, "--format", name, "--images", images)
        targets.append(_data_set(folder.name, folder))
    return [*targets, _features(base, raw)]


def _features(base: Path, store: Path) -> Target:
    """Write a store and the unfinished features of its frames."""
    folder = base / "features"
    folder.mkdir()
    shutil.copytree(store, folder / "store")
    arguments = "--encoder dinov2 --encoder.weights random:0 --encoder.image-size 28"
    _run("data", "features", folder / "store", *arguments.split(), "--out", folder / "tokens")
    whole = folder / "tokens"
    manifest = json.loads((whole / "features.json").read_text())
    unfinished = folder / "tokens.partial"
    whole.rename(unfinished)
    parsed = read_feature_manifest(unfinished)
    array = np.load(unfinished / "tokens.npy")[:8]
    np.save(unfinished / "tokens.npy", array)
    write_feature_manifest(unfinished, replace(parsed, num_done=8, tokens=None))
    assert manifest["num_frames"] > 8
    return Target(
        kind="features",
        folder=folder,
        commands=(f"data features {{src}}/store {arguments} --out {{src}}/tokens",),
        content="tokens",
        rounds=8,
        sealed=True,
    )


def _runs(base: Path) -> list[Target]:
    """Write a run with its results, and golden cases."""
    run = base / "run"
    tiny = (
        "--optim.num-steps 4 --optim.batch-size 8 --optim.warmup-steps 1 --loop.log-every 1 "
        "--loop.validate-every 2 --loop.save-every 2 --data.num-episodes 12 "
        "--data.episode-steps 30 --data.image-size 16 --encoder.image-size 16 --encoder.dim 8 "
        "--predictor.depth 1 --predictor.num-heads 2 --predictor.visual-dim 16 "
        "--planner.num-samples 8 --planner.num-elites 2 --planner.num-iterations 2"
    )
    data = base / "data_root"
    _run("train", "wall", *tiny.split(), "--out", run, "--data-root", data, "--device", "cpu")
    _run("eval", run, "--episodes", 2, "--data-root", data, "--device", "cpu")
    golden = base / "golden"
    golden.mkdir()
    for name in ("planning_objectives", "train_val_split", "data_slicing", "wall_dynamics"):
        shutil.copy(ROOT / "tests" / "golden" / "cases" / f"{name}.npz", golden)
    again = "train wall --resume --out {src} --device cpu --data-root"
    evaluate = "eval {src} --episodes 2 --out {out}/results --device cpu --data-root"
    return [
        Target(kind="report", folder=run, commands=("report {src}",), content="page", files=("*.*",)),
        Target(kind="checkpoint", folder=run / "checkpoint", commands=(f"{evaluate} {{base}}/data_root",), content="results", sealed=True, rounds=4),
        Target(kind="run to resume", folder=run, commands=(f"{again} {{base}}/data_root",), files=("[em]*.*", "checkpoint/*"), rounds=4),
        Target(kind="golden", folder=golden, commands=("check golden {src}",), verdicts=(0, 1, 2)),
    ]  # fmt: skip


def _tests_module(path: str) -> ModuleType:
    name = f"fuzz_{Path(path).stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for their module
    spec.loader.exec_module(module)
    return module


def _run(*words: object) -> None:
    argv = [str(word) for word in words]
    if main(argv) != 0:
        raise RuntimeError(f"jepawm {' '.join(argv)} failed")


# --- what came out -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Left:
    """What commands left behind."""

    source: Path
    """The copy that they read."""
    out: Path
    """The folder `{out}`."""


def _digest(*parts: object) -> str:
    state = hashlib.sha256()
    for part in parts:
        state.update(
            np.ascontiguousarray(part).tobytes()
            if isinstance(part, np.ndarray)
            else repr(part).encode()
        )
    return state.hexdigest()[:16]


def _episodes(left: Left) -> dict[str, str]:
    """Digest the episodes of an imported store, whatever their numbers."""
    if not (left.out / "store").is_dir():
        return {}
    store = open_store(left.out / "store")
    found = {
        f"episode {(d := _digest(one.frames, one.actions, one.num_actions, one.proprio, one.state, one.task))}": d
        for one in stored_episodes(store)
    }  # fmt: skip
    rate = store.manifest.fps
    return found | {f"rate {rate}": str(rate)}


def _exported(left: Left) -> dict[str, str]:
    return {
        file.name: _digest(*(value for _, value in sorted(np.load(file).items())))
        for file in sorted((left.out / "npz").glob("*.npz"))
    }


def _tokens(left: Left) -> dict[str, str]:
    file = left.source / "tokens" / "tokens.npy"
    return {"tokens": _digest(np.load(file))} if file.is_file() else {}


def _results(left: Left) -> dict[str, str]:
    file = left.out / "results" / "rollouts.npz"
    if not file.is_file():
        return {}
    with np.load(file) as arrays:
        return {
            "rollouts": _digest(arrays["states"], arrays["imagined_states"], arrays["cost_history"])
        }


def _page(left: Left) -> dict[str, str]:
    """Look for code of others in the report."""
    page = (left.source / "report.html").read_text(encoding="utf-8")
    hostile = [mark for mark in ("<script>alert", "<img src=x") if mark in page]
    return {f"injected {mark}": mark for mark in hostile}


CONTENTS: Mapping[str, Callable[[Left], dict[str, str]]] = {
    "episodes": _episodes,
    "exported": _exported,
    "tokens": _tokens,
    "results": _results,
    "page": _page,
}
"""Digests of what the commands wrote."""
