"""The cache of tokens: what is in it, and which are refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from jepawm.data import features as module
from jepawm.data.features import (
    FeatureStore,
    compute_features,
    open_features,
    read_feature_manifest,
    write_feature_manifest,
)
from jepawm.data.windows import Windows
from jepawm.errors import UserError
from jepawm.files import content_hash
from jepawm.types import EncodedObservation

IDENTITY = {"name": "means", "sha256": "1"}


class Means:
    """Encode a frame into 2 tokens of width 3: its mean, plus 0 to 5 hundredths."""

    num_tokens, dim, grid = 2, 3, (1, 2)

    def __init__(self, stop_after: int = 100) -> None:
        self.frames_left = stop_after

    def __call__(self, pixels: Tensor) -> Tensor:
        self.frames_left -= len(pixels)
        if self.frames_left < 0:
            raise KeyboardInterrupt
        means = pixels.float().mean((-3, -2, -1))
        return means[:, None, None] + torch.arange(6.0).view(2, 3) / 100


def same(saved: object, source: str) -> None:
    if saved != IDENTITY:
        raise UserError(f"{source} is another encoder's")


def compute(store, path: Path, *, encoder=None, require_same=same, identity=None) -> FeatureStore:
    return compute_features(
        store,
        encoder or Means(),
        identity=identity or IDENTITY,
        path=path,
        device=torch.device("cpu"),
        require_same=require_same,
    )


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 2)
    monkeypatch.setattr(module, "_FLUSH_EVERY", 4)


def test_every_frame_has_its_tokens_in_float16(store, tmp_path: Path):
    cache = compute(store, tmp_path / "cache")
    assert (cache.array.shape, cache.array.dtype) == ((19, 2, 3), np.float16)
    assert cache.manifest.bytes_per_frame == 12
    assert cache.manifest.encoder == IDENTITY
    expected = store.pixels[:, 0, 0, 0].astype(np.float32)
    assert np.allclose(cache.array[:, 0, 0], expected, rtol=1e-3)
    assert np.allclose(cache.array[:, 1, 2] - cache.array[:, 0, 0], 0.05, atol=0.04)
    assert (tmp_path / "cache" / "tokens.npy").stat().st_size == 128 + 19 * 12
    cache.verify()


@pytest.mark.parametrize("stop_after", [1, 7, 12])
def test_a_stopped_computation_goes_on(store, tmp_path: Path, stop_after: int):
    whole = compute(store, tmp_path / "whole")
    path = tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        compute(store, path, encoder=Means(stop_after))
    with pytest.raises(UserError, match=r"no feature cache at .*cache\.partial is unfinished"):
        open_features(path)
    rest = Means()
    cache = compute(store, path, encoder=rest)
    assert 100 - rest.frames_left == 19 - stop_after // 4 * 4  # noted every four frames
    assert np.array_equal(cache.array, whole.array)
    assert (path / "tokens.npy").read_bytes() == (whole.path / "tokens.npy").read_bytes()
    assert not (tmp_path / "cache.partial").exists()


def test_unfinished_work_of_another_encoder_or_store_is_refused(store, make_store, tmp_path: Path):
    path = tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        compute(store, path, encoder=Means(8))

    def other(saved: object, source: str) -> None:
        raise UserError(f"{source}: {saved} is not mine")

    with pytest.raises(UserError, match=r"cache\.partial: .*means.* is not mine"):
        compute(store, path, require_same=other)
    with pytest.raises(UserError, match=r"frames of the store 'store' .* not of .*made"):
        compute(make_store((5, 5)), path)
    tokens = tmp_path / "cache.partial" / "tokens.npy"
    tokens.write_bytes(tokens.read_bytes()[:150])
    with pytest.raises(UserError, match="lost rows"):
        compute(store, path)


def test_damaged_unfinished_work_is_not_sealed(store, tmp_path: Path):
    path = tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        compute(store, path, encoder=Means(12))
    tokens = tmp_path / "cache.partial" / "tokens.npy"
    good = tokens.read_bytes()
    tokens.write_bytes(good[:140] + b"????" + good[144:])
    with pytest.raises(UserError, match=r"tokens\.npy was altered while the cache was unfinished"):
        compute(store, path)
    tokens.unlink()
    tokens.mkdir()
    with pytest.raises(UserError, match=r"tokens\.npy is a folder"):
        compute(store, path)
    tokens.rmdir()
    tokens.write_bytes(good)
    assert np.array_equal(compute(store, path).array, compute(store, tmp_path / "whole").array)


def test_unfinished_work_of_older_versions_begins_anew(store, tmp_path: Path):
    path = tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        compute(store, path, encoder=Means(12))
    folder = tmp_path / "cache.partial"
    write_feature_manifest(folder, replace(read_feature_manifest(folder), done_sha256=None))
    rest = Means()
    cache = compute(store, path, encoder=rest)
    assert 100 - rest.frames_left == 19
    assert "done_sha256" not in (path / "features.json").read_text()
    cache.verify()


@pytest.mark.parametrize(
    "changes",
    [
        {"num_frames": "19"},
        {"num_tokens": 0},
        {"dim": -3},
        {"num_done": 10**9},
        {"tokens": 3},
        {"tokens": {"num_bytes": None, "sha256": ""}},
        {"encoder": "means"},
        {"store": None},
    ],
    ids=str,
)
def test_a_manifest_of_other_values_is_refused(store, tmp_path: Path, changes: dict[str, object]):
    record = compute(store, tmp_path / "cache").path / "features.json"
    content = json.loads(record.read_text()) | changes
    del content["sha256"]
    record.write_text(json.dumps(content | {"sha256": content_hash(content)}))
    with pytest.raises(UserError, match=r"features\.json"):
        open_features(tmp_path / "cache")


def test_damage_is_told(store, tmp_path: Path):
    path = compute(store, tmp_path / "cache").path
    tokens, record = path / "tokens.npy", path / "features.json"
    good = tokens.read_bytes()
    tokens.write_bytes(good[:-1])
    with pytest.raises(UserError, match="truncated"):
        open_features(path)
    tokens.write_bytes(good[:-1] + b"?")
    with pytest.raises(UserError, match="altered"):
        open_features(path)
    tokens.write_bytes(good)
    text = record.read_text()
    record.write_text(text.replace("means", "other"))
    with pytest.raises(UserError, match="its own hash does not match"):
        open_features(path)
    record.write_text(json.dumps(json.loads(text) | {"version": 9}))
    with pytest.raises(UserError, match="format version 9"):
        open_features(path)
    record.unlink()
    with pytest.raises(UserError, match="is not a feature cache"):
        open_features(path)


def test_a_small_disk_is_refused_before_anything_is_written(store, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("jepawm.files.free_bytes", lambda _: 227)
    with pytest.raises(UserError, match="needs 228 more bytes, 227 are free"):
        compute(store, tmp_path / "cache")
    assert not (tmp_path / "cache.partial").exists()


def test_numbers_beyond_float16_are_refused(store, tmp_path: Path):
    class Large(Means):
        def __call__(self, pixels: Tensor) -> Tensor:
            return super().__call__(pixels) + 1e5

    with pytest.raises(UserError, match="frames 0 to 1 are beyond float16"):
        compute(store, tmp_path / "cache", encoder=Large())


def test_what_exists_is_not_overwritten(store, tmp_path: Path):
    compute(store, tmp_path / "cache")
    with pytest.raises(UserError, match="exists already"):
        compute(store, tmp_path / "cache")


@pytest.mark.parametrize(("num_steps", "frameskip"), [(2, 1), (1, 3)])
def test_one_cache_serves_any_window(store, tmp_path: Path, num_steps: int, frameskip: int):
    cache = compute(store, tmp_path / "cache")
    shape = {"num_steps": num_steps, "frameskip": frameskip, "normalizer": store.normalizer()}
    plain = Windows(store, episodes=[2, 0], **shape)
    cached = Windows(store, episodes=[2, 0], features=cache, **shape)
    index = torch.tensor([0, 3, 1])
    one, other = plain.batch(index), cached.batch(index)
    assert isinstance(other.obs, EncodedObservation)
    assert other.obs.tokens.shape == (3, num_steps + 1, 2, 3)
    frames = one.obs.pixels[:, :, 0, 0, 0]
    assert torch.allclose(other.obs.tokens[:, :, 0, 0].float(), frames.float())
    assert torch.equal(one.obs.proprio, other.obs.proprio)
    assert torch.equal(one.actions, other.actions)


def test_windows_refuse_the_cache_of_another_store(store, make_store, tmp_path: Path):
    cache = compute(store, tmp_path / "cache")
    with pytest.raises(UserError, match=r"store 'store' .* not of .*made"):
        Windows(
            make_store((6, 9, 5)),
            episodes=[0],
            num_steps=1,
            frameskip=1,
            normalizer=store.normalizer(),
            features=cache,
        )
