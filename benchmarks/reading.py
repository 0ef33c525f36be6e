"""Time random 4-frame clips from stores against decoding whole episodes for them, at 64 and 224 px.

    python benchmarks/reading.py --folder runs/bench/reading

Whole-episode decoding is what the reference does: its Push-T and Metaworld loaders decode the mp4
of an episode, its PointMaze loader loads the tensor file of an episode, and then four frames are
kept. It converts all of them to float; rows that do not say so leave that out. Each round times
every way once, in turn; the medians over all rounds are compared. One clip at a time, files in the
page cache. The row goes to results/reading.jsonl.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import av
import numpy as np
import torch

from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.data.video import read_video
from jepawm.data.writer import EpisodeWriter, PixelEncoding

ROOT = Path(__file__).parents[1]
NUM_EPISODES = 8
NUM_FRAMES = 100
FRAMESKIP = 5
STORES: dict[int, tuple[PixelEncoding, ...]] = {64: ("raw",), 224: ("jpeg", "raw")}
"""Stores by frame size: first as it is by default, which every ratio is taken to."""
CLIP = np.arange(4) * FRAMESKIP


def main() -> None:
    """Write the data once, measure, print a table, append the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder for the data sets")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "reading.jsonl")
    options = parser.parse_args()
    torch.set_num_threads(1)
    row: dict[str, object] = {
        "command": f"python benchmarks/reading.py --rounds {options.rounds}",
        "date": datetime.now(tz=UTC).date().isoformat(),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
    }
    for size in STORES:
        folder = options.folder / f"{size}px"
        if not folder.exists():
            write_data(folder, size)
        row[f"{size}px"] = report(size, measure(ways(folder, size), rounds=options.rounds))
    with options.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def write_data(folder: Path, size: int) -> None:
    """Write the same episodes as a store, as mp4 files and as tensor files."""
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                EpisodeWriter(
                    folder / pixels, environment="toy", image_size=size, settings={}, pixels=pixels
                )
            )
            for pixels in STORES[size]
        ]
        for episode in range(NUM_EPISODES):
            frames = moving_blobs(episode, size)
            for writer in writers:
                writer.append(frames.transpose(0, 3, 1, 2), np.zeros((NUM_FRAMES, 2), np.float32))
            torch.save(torch.from_numpy(frames), folder / f"{episode}.pth")
            with av.open(str(folder / f"{episode}.mp4"), "w") as container:
                stream = container.add_stream("libx264", rate=10)
                stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
                for frame in frames:
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
                container.mux(stream.encode(None))


def moving_blobs(episode: int, size: int) -> np.ndarray:
    """Draw coloured blobs that move over a textured floor: `[L, size, size, 3]`."""
    generator = np.random.default_rng(episode)
    grid = np.linspace(0, 1, size)
    y, x = np.meshgrid(grid, grid, indexing="ij")
    floor = 128 + 60 * np.sin(17 * x + 5 * np.cos(9 * y)) + generator.normal(0, 3, (size, size))
    frames = np.repeat(floor[None, :, :, None], NUM_FRAMES, axis=0).repeat(3, axis=3)
    time = np.linspace(0, 2 * np.pi, NUM_FRAMES)[:, None, None]
    for colour in range(3):
        phase, rate = generator.uniform(0, 6), generator.uniform(1, 3)
        distance = (x - 0.5 - 0.35 * np.cos(rate * time + phase)) ** 2
        distance = distance + (y - 0.5 - 0.35 * np.sin(rate * time + phase)) ** 2
        frames[..., colour] += 110 * np.exp(-distance / 0.005)
    return np.clip(frames, 0, 255).astype(np.uint8)


def as_float(frames: torch.Tensor) -> np.ndarray:
    """Return `[L, side, side, 3]` bytes as `[L, 3, side, side]` floats, as the reference does."""
    return (frames.permute(0, 3, 1, 2).float() / 255).numpy()


def ways(folder: Path, size: int) -> dict[str, Callable[[int, int], np.ndarray]]:
    """Return the ways to read the clip of an episode that begins at a frame."""

    def from_store(store: EpisodeStore, episode: int, start: int) -> np.ndarray:
        return store.frames(int(store.starts[episode]) + start + CLIP)

    def whole_mp4(episode: int, start: int) -> np.ndarray:
        file = folder / f"{episode}.mp4"
        return np.stack(list(read_video(file, name=file.name)))[start + CLIP]

    def whole_mp4_float(episode: int, start: int) -> np.ndarray:
        file = folder / f"{episode}.mp4"
        frames = torch.from_numpy(np.stack(list(read_video(file, name=file.name))))
        return as_float(frames)[start + CLIP]

    def whole_tensor(episode: int, start: int) -> np.ndarray:
        return torch.load(folder / f"{episode}.pth", weights_only=True).numpy()[start + CLIP]

    def whole_tensor_float(episode: int, start: int) -> np.ndarray:
        frames = torch.load(folder / f"{episode}.pth", weights_only=True)
        return as_float(frames)[start + CLIP]

    return {
        **{
            f"store ({pixels})": partial(from_store, open_store(folder / pixels))
            for pixels in STORES[size]
        },
        "whole mp4": whole_mp4,
        "whole mp4, as float": whole_mp4_float,
        "whole tensor file": whole_tensor,
        "whole tensor file, as float": whole_tensor_float,
    }


def measure(
    readers: dict[str, Callable[[int, int], np.ndarray]], *, rounds: int
) -> dict[str, list[float]]:
    """Time every way once a round, after one round that does not count."""
    generator = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for index in range(rounds + 1):
        episode = int(generator.integers(NUM_EPISODES))
        start = int(generator.integers(NUM_FRAMES - CLIP[-1]))
        for name, read in readers.items():
            began = perf_counter()
            read(episode, start)
            if index > 0:
                seconds[name].append(perf_counter() - began)
    return seconds


def report(size: int, seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Print medians and ratios; returns them."""
    first, *_ = (median(times) for times in seconds.values())
    rows = {}
    for name, times in seconds.items():
        middle = median(times)
        rows[name] = {
            "median_ms": round(1e3 * middle, 4),
            "fastest_ms": round(1e3 * min(times), 4),
            "ratio": round(middle / first, 2),
        }
        spread = f"{1e3 * min(times):.3g} to {1e3 * max(times):.3g}"
        print(f"{size:>4} px  {name:<28} {1e3 * middle:8.3f} ms ({spread})  {middle / first:6.1f}x")
    return rows


if __name__ == "__main__":
    main()
