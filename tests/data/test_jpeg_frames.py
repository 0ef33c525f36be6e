import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.jpeg_frames import JpegFrames, decode_picture
from jepawm.data.windows import Windows
from jepawm.data.writer import EpisodeWriter
from jepawm.errors import UserError

SIZE = 144
LENGTHS = (6, 9)


def frames_of(episode: int, num_frames: int) -> np.ndarray:
    """Smooth pictures, brighter with time, other colours in each episode."""
    ramp = np.linspace(0, 100, SIZE)
    frames = np.empty((num_frames, 3, SIZE, SIZE), np.uint8)
    for t in range(num_frames):
        frames[t, 0] = ramp + 10 * t
        frames[t, 1] = ramp[:, None] + 40 * episode
        frames[t, 2] = 90
    return frames


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    path = tmp_path / "store"
    with EpisodeWriter(path, environment="toy", image_size=SIZE, settings={}) as writer:
        for episode, length in enumerate(LENGTHS):
            actions = np.arange(2 * length, dtype=np.float32).reshape(length, 2)
            writer.append(frames_of(episode, length), actions)
    return open_store(path)


def test_large_frames_are_jpeg_and_read_back_within_its_loss(store: EpisodeStore):
    assert store.manifest.pixel_encoding == "jpeg"
    truth = np.concatenate([frames_of(e, n) for e, n in enumerate(LENGTHS)]).astype(int)
    frames = store.frames(np.arange(15))
    assert frames.shape == truth.shape
    assert np.abs(frames - truth).max() <= 6
    assert sum(file.stat().st_size for file in store.path.glob("pixel*")) < truth.size / 5


def test_many_frames_in_any_order_equal_single_ones(store: EpisodeStore):
    rows = np.array([[14, 0, 3], [3, 7, 7], [1, 2, 13]])
    together = store.frames(rows)
    assert together.shape == (3, 3, 3, SIZE, SIZE)
    for index in np.ndindex(rows.shape):
        assert np.array_equal(together[index], store.frames(rows[index].reshape(1))[0])


def test_windows_read_both_encodings_alike(store: EpisodeStore, tmp_path: Path):
    with EpisodeWriter(
        tmp_path / "raw", environment="toy", image_size=SIZE, settings={}, pixels="raw"
    ) as writer:
        for start, length in zip(store.starts, store.lengths, strict=True):
            rows = np.arange(start, start + length)
            writer.append(store.frames(rows), np.array(store.actions[rows]))
    raw = open_store(tmp_path / "raw")
    assert raw.manifest.pixel_encoding == "raw"
    batches = [
        Windows(
            one, episodes=[0, 1], num_steps=2, frameskip=2, normalizer=store.normalizer()
        ).batch(torch.tensor([0, 3, 5]))
        for one in (store, raw)
    ]
    assert torch.equal(batches[0].obs.pixels, batches[1].obs.pixels)
    assert torch.equal(batches[0].actions, batches[1].actions)


def test_same_frames_same_bytes(store: EpisodeStore, tmp_path: Path):
    with EpisodeWriter(tmp_path / "b", environment="toy", image_size=SIZE, settings={}) as writer:
        for episode, length in enumerate(LENGTHS):
            actions = np.arange(2 * length, dtype=np.float32).reshape(length, 2)
            writer.append(frames_of(episode, length), actions)
    for name in ("pixels.npy", "pixel_sizes.npy", "manifest.json"):
        assert (tmp_path / "b" / name).read_bytes() == (store.path / name).read_bytes()


def test_a_damaged_picture_is_named(store: EpisodeStore):
    assert isinstance(store.pixels, JpegFrames)
    pictures = np.array(store.pixels.pictures)
    pictures[int(store.pixels.sizes[0]) :][:200] = 0
    damaged = JpegFrames(
        file=store.path / "pixels.npy",
        pictures=pictures,
        sizes=store.pixels.sizes,
        image_size=SIZE,
    )
    damaged.read(np.array([0]))
    with pytest.raises(UserError, match=r"pixels\.npy: frame 1 is damaged"):
        damaged.read(np.array([1]))


def test_missing_sizes(store: EpisodeStore):
    (store.path / "pixel_sizes.npy").unlink()
    with pytest.raises(UserError, match=r"pixel_sizes\.npy is missing"):
        open_store(store.path)


def picture(kind: str, *, size: tuple[int, int] = (6, 4)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, (200, 100, 50)).save(buffer, format=kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
def test_pictures_that_are_read(kind: str):
    pixels = decode_picture(picture(kind), name="a")
    assert pixels.shape == (4, 6, 3)
    assert np.abs(pixels.astype(int) - (200, 100, 50)).max() < 8


def test_other_pictures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pillow runs Ghostscript for an EPS picture, whatever its name is."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n%%EOF\n"
    others = [picture(kind) for kind in ("GIF", "TIFF", "PPM", "ICO")]
    for content in (eps, b"", b"no picture", *others):
        with pytest.raises(UserError, match="a picture of a is no PNG or JPEG picture"):
            decode_picture(content, name="a")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("side", [9_000, 20_000])
def test_pictures_of_a_sane_size(side: int):
    """The header alone is changed: nothing of that size is decoded."""
    content = bytearray(picture("PNG"))
    content[16:24] = side.to_bytes(4) * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    with pytest.raises(
        UserError, match=r"a picture of a has .* pixels; frames have 1 to 67,108,864"
    ):
        decode_picture(bytes(content), name="a")


def test_damaged_pictures_are_one_message():
    random = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "BMP", "WEBP"):
        whole = picture(kind, size=(40, 30))
        for _ in range(40):
            damaged = bytearray(whole)
            for place in random.integers(0, len(whole), size=6):
                damaged[place] ^= 1 << int(random.integers(8))
            cut = int(random.integers(12, len(whole)))
            for content in (damaged, whole[:cut]):
                with suppress(UserError):  # anything else is not
                    decode_picture(bytes(content), name="a")


def test_a_picture_of_another_size_in_a_store(store: EpisodeStore):
    assert isinstance(store.pixels, JpegFrames)
    other = np.frombuffer(picture("JPEG", size=(9_000, 9_000)), np.uint8)
    frames = JpegFrames(
        file=store.path / "pixels.npy",
        pictures=other,
        sizes=np.array([len(other)]),
        image_size=SIZE,
    )
    with pytest.raises(UserError, match=r"pixels\.npy: frame 0 has \(9000, 9000\) pixels"):
        frames.read(np.array([0]))


DEEP = {
    "uint16": (np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000, "16 bits"),
    "depth in millimetres": (np.full((8, 8), 700, np.uint16), "16 bits"),
}


@pytest.mark.parametrize("name", DEEP)
def test_pictures_of_more_than_8_bits_are_refused(name: str):
    levels, bits = DEEP[name]
    buffer = BytesIO()
    Image.fromarray(levels).save(buffer, format="PNG")
    with pytest.raises(UserError, match=rf"a picture of a\.png has {bits} a pixel in one channel"):
        decode_picture(buffer.getvalue(), name="a.png")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_pictures_of_8_bits_and_less_keep_their_levels(mode: str):
    buffer = BytesIO()
    grey = Image.fromarray(np.where(np.eye(8) > 0, 255, 0).astype(np.uint8))
    grey.convert(mode).save(buffer, format="PNG")
    decoded = decode_picture(buffer.getvalue(), name="a.png")
    assert np.array_equal(decoded, np.repeat(255 * np.eye(8, dtype=np.uint8)[..., None], 3, 2))
