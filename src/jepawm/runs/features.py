"""Find the feature cache of a frozen encoder and a store, or compute it."""

import re
from dataclasses import asdict
from pathlib import Path

import torch

from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.features import FeatureStore, compute_features, open_features
from jepawm.data.manifest import content_hash
from jepawm.errors import UserError
from jepawm.experiment import AnyEncoderConfig, Experiment
from jepawm.files import alone
from jepawm.models.encoders import EncoderConfig
from jepawm.models.frozen.encoder import AnyFrozenConfig, EncoderIdentity
from jepawm.models.frozen.weights import load_frozen_encoder, require_same_encoder
from jepawm.processes import from_first, together

AUTO = "auto"
"""The value of `data.feature_cache` that puts the cache beside the store."""


def find_or_compute_features(
    experiment: Experiment, store: EpisodeStore, *, data_root: Path, device: torch.device
) -> FeatureStore | None:
    """Open the feature cache that an experiment names, computing it first where it is missing.

    With several processes the first computes and the others wait. Returns None where the
    experiment uses no cache.

    Raises:
        UserError: in every process, if the cache is of another encoder, image size or store, or
            the disk has too little room.
    """
    place, config = experiment.data.feature_cache, experiment.encoder
    if place is None or isinstance(config, EncoderConfig):
        return None
    chosen = None if place == AUTO else data_root / Path(place).expanduser()
    path = from_first(lambda: make_features(store, config, out=chosen, device=device).path)
    with together():
        return open_features(path)


def features_run(
    path: Path, encoder: AnyEncoderConfig, *, out: Path | None, device: str
) -> dict[str, object]:
    """Compute the features of a store beforehand, or check them in full; returns what is there.

    Raises:
        UserError: if the encoder is learned, or what is there is another's or damaged.
    """
    if isinstance(encoder, EncoderConfig):
        raise UserError("features are those of frozen encoders, this one is learned; see --encoder")
    features = make_features(open_store(path), encoder, out=out, device=torch.device(device))
    features.verify()
    manifest = features.manifest
    return {
        "features": features.path,
        "encoder": manifest.encoder["name"],
        "frames": manifest.num_frames,
        "bytes per frame": manifest.bytes_per_frame,
        "bytes": manifest.bytes_per_frame * manifest.num_frames,
    }


def make_features(
    store: EpisodeStore, config: AnyFrozenConfig, *, out: Path | None, device: torch.device
) -> FeatureStore:
    """Open the cache of an encoder and a store, or compute it, or go on computing it.

    Args:
        store: the frames.
        config: the encoder; its weights are loaded to compare their hash.
        out: folder of the cache; None: beside the store, by what decides its content.
        device: where to encode.

    Raises:
        UserError: if what is there belongs to another encoder, image size or store.
    """
    encoder = load_frozen_encoder(config)
    path = out or features_path(store, encoder.identity)
    with alone(path):
        if path.is_dir() and any(path.iterdir()):
            features = open_features(path)
            require_same_encoder(
                encoder, features.manifest.encoder, source=f"the feature cache {path}"
            )
            features.require_frames_of(store)
            return features
        return compute_features(
            store,
            encoder.to(device),
            identity=asdict(encoder.identity),
            path=path,
            device=device,
            require_same=lambda saved, source: require_same_encoder(encoder, saved, source=source),
        )


def features_path(store: EpisodeStore, identity: EncoderIdentity) -> Path:
    """Return where the cache of a store lies: its name tells all that decides its content."""
    decisive = {name: value for name, value in asdict(identity).items() if name != "weights"}
    stem = re.sub(r"[^\w.-]+", "-", f"{identity.name}-{identity.image_size}px")
    folder = store.path.with_name(f"{store.path.name}.features")
    return folder / f"{stem}-{content_hash(decisive)[:8]}"
