"""Find a data set or collect it; recordings of the user and features of a frozen encoder alike."""

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path

import torch

from jepawm.border import foreign
from jepawm.collection import collect, new_policy
from jepawm.contracts import BuildsEncoder
from jepawm.data.cameras import ALL, named_cameras
from jepawm.data.checking import Requirements
from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.features import FeatureStore, compute_features, open_features
from jepawm.data.formats import open_source
from jepawm.data.importing import ImportOptions, import_source, imported_from
from jepawm.data.manifest import MANIFEST_NAME, content_hash
from jepawm.data.recording import ReadOptions, Source
from jepawm.data.resample import Fit
from jepawm.envs import POLICIES, RECORDINGS
from jepawm.errors import UserError
from jepawm.experiment import DataConfig, Experiment
from jepawm.files import alone, expand_user, require_free
from jepawm.models.frozen.encoder import AnyFrozenConfig, EncoderIdentity
from jepawm.models.frozen.weights import load_frozen_encoder, require_same_encoder
from jepawm.processes import from_first, together

AUTO = "auto"
"""The value of `data.feature_cache` that puts the cache next to the store."""
_HASHED_ALWAYS = 2 * 2**30
"""Bytes of recordings that are compared with their import each time (about 1 s per GB)."""
_BLOCK, _SAMPLED_BLOCKS, _MOST_BLOCKS = 4096, 2**13, 64
"""Samples of larger ones: bytes of a block, about how many in all, at most how many of a file."""
_RULES = "2"
"""Another text where recordings are read in another way than before: older imports are not used."""
_LONGEST_NAME = 200
_ALL_THERE_IS = ReadOptions()
_LOG = logging.getLogger(__name__)
_NO_RECORDINGS = (
    "this recipe trains on your recordings: name them by --data, a LeRobot data set, a store or "
    "any other format of `jepawm data import`"
)


@dataclass(frozen=True, kw_only=True)
class CollectedStore:
    """A collected data set."""

    store: Path
    """Its folder."""
    episodes: int
    """Episodes in it."""
    frames: int
    """Frames in it."""


@dataclass(frozen=True, kw_only=True)
class ComputedFeatures:
    """Features of a store, checked in full."""

    features: Path
    """Their folder."""
    encoder: str
    """Name of the frozen encoder."""
    frames: int
    """Frames that are encoded."""
    bytes_per_frame: int
    """Size of one frame's features."""
    bytes: int
    """Size of all features."""


def collect_run(
    name: str, *, data: DataConfig, out: Path | None, data_root: Path, processes: int | None = None
) -> CollectedStore:
    """Collect episodes of an environment; returns what was written.

    Args:
        name: name of the environment.
        data: what to collect.
        out: folder of the store; None means below the data root, by what decides its content.
        data_root: folder of data sets, and of recordings to replay.
        processes: processes that simulate and draw; None means as many as PyTorch has threads.
    """
    path = out or store_path(name, data, data_root=data_root)
    require_free(path)
    with alone(path):
        store = _collect(name, data, path=path, data_root=data_root, processes=processes)
    return CollectedStore(store=path, episodes=len(store), frames=int(store.lengths.sum()))


def find_or_collect(
    name: str, data: DataConfig, *, data_root: Path, processes: int | None = None
) -> EpisodeStore:
    """Open the data set of a configuration, collecting it first where it does not exist."""
    if name == RECORDINGS and data.store is None:
        raise UserError(_NO_RECORDINGS)
    path = store_path(name, data, data_root=data_root)
    if path.exists():
        return open_seen(path, data)
    if data.store is not None:
        raise UserError(
            f"data.store: {path} does not exist and is not collected; import the data set "
            "(jepawm data import --help), or give the path of its store"
        )
    with alone(path):
        if path.exists():  # while this process waited
            return open_store(path)
        return _collect(name, data, path=path, data_root=data_root, processes=processes)


def open_seen(path: Path, data: DataConfig) -> EpisodeStore:
    """Open a store of several cameras, or of one, as a configuration sees it."""
    store = open_store(path)
    known = store.manifest.cameras
    if not known and len(data.cameras) == 1:  # the camera of an import of that one alone
        return store
    if known and not data.cameras:
        raise UserError(
            f"{path} holds several cameras; choose by --data.cameras among: {', '.join(known)}"
        )
    return store.with_cameras(data.cameras)


def store_path(name: str, data: DataConfig, *, data_root: Path) -> Path:
    """Return where a data set is stored: its name holds everything that decides its content."""
    if data.store is not None:
        return data_root / expand_user(Path(data.store))
    size = f"{data.num_episodes}x{data.episode_steps}"
    stem = f"{name.replace('/', '-')}-{size}-{data.image_size}px-seed{data.seed}"
    if name in POLICIES.names() and data.policy == new_policy(name):
        return data_root / stem
    settings = asdict(data.policy) if is_dataclass(data.policy) else {}
    kind = POLICIES.name_of(data.policy)
    built_in = ":" not in kind  # others are told by their module
    text = json.dumps([type(data.policy).__name__ if built_in else kind, settings], sort_keys=True)
    return data_root / f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _collect(
    name: str, data: DataConfig, *, path: Path, data_root: Path, processes: int | None
) -> EpisodeStore:
    return collect(
        name,
        path=path,
        policy=data.policy,
        num_episodes=data.num_episodes,
        num_steps=data.episode_steps,
        image_size=data.image_size,
        seed=data.seed,
        processes=torch.get_num_threads() if processes is None else processes,
        data_root=data_root,
    )


def use_recordings(
    experiment: Experiment,
    path: Path,
    *,
    data_root: Path,
    read_options: ReadOptions = _ALL_THERE_IS,
    fit: Fit = "crop",
    takes: Sequence[str] = (),
) -> Experiment:
    """Return the experiment with `data.store` set to recordings, imported where they are foreign.

    Args:
        experiment: the configuration; its `data.image_size` is that of the import.
        path: a store, or a data set of any known format.
        data_root: folder of imported data sets.
        read_options: camera and columns of a foreign data set, where there are several.
        fit: how its frames become square.
        takes: options of `jepawm data import` that the caller has too, for messages.
    """
    data, asked = experiment.data, named_cameras(read_options.camera)
    if data.cameras and asked:
        raise UserError("--camera and --data.cameras both choose cameras; give one of them")
    if (path / MANIFEST_NAME).is_file():
        found = open_store(path)
        if (replace(read_options, camera=None), fit) != (_ALL_THERE_IS, "crop") or (
            asked and not found.manifest.cameras
        ):
            raise UserError(
                f"{path} is a store, in which camera, columns and size are chosen already; leave out "
                "--camera, --action-key, --proprio-key and --fit, or import its source anew"
            )
        store = str(path.resolve())
        chosen = data.cameras or tuple(name for name in asked if name != ALL)
        cameras = found.with_cameras(chosen).cameras
    else:
        if data.cameras:
            read_options = replace(read_options, camera=",".join(data.cameras))
        with _naming_own_options(takes):
            found = _find_or_import(
                path, data, data_root=data_root, read_options=read_options, fit=fit
            )
        store, cameras = found.path.name, found.cameras
    if data.store not in (None, store):
        raise UserError(f"--data {path} and --data.store {data.store} differ; give one of them")
    return replace(experiment, data=replace(data, store=store, cameras=cameras))


@contextmanager
def _naming_own_options(takes: Sequence[str]) -> Iterator[None]:
    """Say of options in a message that only `jepawm data import` has where they are."""
    try:
        yield
    except UserError as error:
        named = dict.fromkeys(re.findall(r"--[a-z][a-z-]*", str(error)))
        others = [name for name in named if name not in takes]
        if not others:
            raise
        verb = "is an option" if len(others) == 1 else "are options"
        raise UserError(
            f"{error} ({', '.join(others)} {verb} of `jepawm data import`: import first, then give "
            "--data STORE)"
        ) from error


def _find_or_import(
    path: Path, data: DataConfig, *, data_root: Path, read_options: ReadOptions, fit: Fit
) -> EpisodeStore:
    source = open_source(path, name=None, options=read_options)
    chosen = _chosen(source, read_options, fit)
    stem = f"{path.resolve().name[:_LONGEST_NAME]}-{data.image_size}px{chosen}"
    with foreign(path, f"{source.format} data set"):
        out = data_root / f"{stem}-{_fingerprint(source)}"
        store = open_store(out) if out.exists() else None
        if store is not None and not _is_import_of(source, store):
            _LOG.info("%s has changed since it was imported into %s", path, out)
            out = data_root / f"{stem}-{imported_from(source).sha256[:8]}"
            store = open_store(out) if out.exists() else None
    if store is not None:  # no lock: the data root may be one to read only
        _LOG.info("using the store %s, imported from %s before, with the same content", out, path)
        return store
    with alone(out):
        if out.exists():  # while this process waited
            return open_store(out)
        _LOG.info("importing %s into %s", path, out)
        imported = import_source(
            source,
            out,
            options=ImportOptions(image_size=data.image_size, fit=fit),
            requirements=Requirements(),
            read_options=read_options,
        )
    return imported.store


def _chosen(source: Source, read_options: ReadOptions, fit: Fit) -> str:
    """Return what tells imports of one source apart by what was chosen of it; empty by default."""
    if len(source.cameras) == 1:
        read_options = replace(read_options, camera=None)
    elif read_options.camera is not None:
        read_options = replace(read_options, camera=source.camera)
    if (read_options, fit) == (_ALL_THERE_IS, "crop"):
        return ""
    return f"-{content_hash({**asdict(read_options), 'fit': fit})[:8]}"


def _fingerprint(source: Source) -> str:
    """Return 8 digits that change with the names and sizes of a source's files, and `_RULES`.

    Above 2 GiB, where not everything is hashed each time, also with samples of their content.
    """
    root = source.path if source.path.is_dir() else source.path.parent
    sizes = {file: file.stat().st_size for file in source.files}
    is_large = sum(sizes.values()) > _HASHED_ALWAYS
    num_blocks = min(max(_SAMPLED_BLOCKS // max(len(sizes), 1), 1), _MOST_BLOCKS)
    lines = sorted(
        f"{Path(os.path.relpath(file, root)).as_posix()} {size}"
        f"{_sampled(file, size, num_blocks) if is_large else ''}\n"
        for file, size in sizes.items()
    )
    text = "".join([_RULES, *lines])
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]


def _sampled(file: Path, size: int, num_blocks: int) -> str:
    """Return the hash of blocks of a file, evenly spaced, the last at its end."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        for block in range(1, num_blocks + 1):
            opened.seek(max(size * block // num_blocks - _BLOCK, 0))
            digest.update(opened.read(_BLOCK))
    return f" {digest.hexdigest()}"


def _is_import_of(source: Source, store: EpisodeStore) -> bool:
    """Return whether a store was imported from files of the present content.

    Above 2 GiB the files are hashed only if the disk says that one changed after the import.
    """
    imported = store.manifest.source
    stats = [file.stat() for file in source.files]
    if imported is None or (
        sum(one.st_size for one in stats) > _HASHED_ALWAYS
        and max(max(one.st_mtime_ns, one.st_ctime_ns) for one in stats)
        < (store.path / MANIFEST_NAME).stat().st_mtime_ns
    ):
        return True
    return imported.sha256 == imported_from(source).sha256


def find_or_compute_features(
    experiment: Experiment, store: EpisodeStore, *, data_root: Path, device: torch.device
) -> FeatureStore | None:
    """Open the feature cache that an experiment names, computing it first where it is missing.

    With several processes the first computes and the others wait. Returns None where the
    experiment uses no cache.
    """
    place, config = experiment.data.feature_cache, experiment.encoder
    if place is None or not isinstance(config, AnyFrozenConfig):
        return None
    chosen = None if place == AUTO else data_root / expand_user(Path(place))
    path = from_first(lambda: make_features(store, config, out=chosen, device=device).path)
    with together():
        return open_features(path)


def features_run(
    path: Path, encoder: BuildsEncoder, *, out: Path | None, device: str
) -> ComputedFeatures:
    """Compute the features of a store in advance, or check them in full; returns what is there."""
    if not isinstance(encoder, AnyFrozenConfig):
        raise UserError("features are those of frozen encoders, this one is learned; see --encoder")
    features = make_features(open_store(path), encoder, out=out, device=torch.device(device))
    features.verify()
    manifest = features.manifest
    return ComputedFeatures(
        features=features.path,
        encoder=str(manifest.encoder["name"]),
        frames=manifest.num_frames,
        bytes_per_frame=manifest.bytes_per_frame,
        bytes=manifest.bytes_per_frame * manifest.num_frames,
    )


def make_features(
    store: EpisodeStore, config: AnyFrozenConfig, *, out: Path | None, device: torch.device
) -> FeatureStore:
    """Open the cache of an encoder and a store, or compute it, or continue computing it.

    Args:
        store: the frames.
        config: the encoder; its weights are loaded to compare their hash.
        out: folder of the cache; None: next to the store, by what decides its content.
        device: where to encode.
    """
    store.require_one_camera("a feature cache")
    encoder = load_frozen_encoder(config)
    path = out or features_path(store, encoder.identity)

    def found() -> FeatureStore | None:
        if not path.is_dir() or not any(path.iterdir()):
            return None
        features = open_features(path)
        require_same_encoder(encoder, features.manifest.encoder, source=f"the feature cache {path}")
        features.require_frames_of(store)
        return features

    features = found()  # without a lock: its folder may be one to read only
    if features is not None:
        return features
    with alone(path):
        return found() or compute_features(
            store,
            encoder.to(device),
            identity=asdict(encoder.identity),
            path=path,
            device=device,
            require_same=lambda saved, source: require_same_encoder(encoder, saved, source=source),
        )


def features_path(store: EpisodeStore, identity: EncoderIdentity) -> Path:
    """Return where the cache of a store is kept: its name holds everything that decides its content."""
    decisive = {name: value for name, value in asdict(identity).items() if name != "weights"}
    stem = re.sub(r"[^\w.-]+", "-", f"{identity.name}-{identity.image_size}px")
    folder = store.path.with_name(f"{store.path.name}.features")
    return folder / f"{stem}-{content_hash(decisive)[:8]}"
