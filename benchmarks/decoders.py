"""Train the decoder and the probe of a bundled model, and measure them on episodes that nobody has seen.

    python benchmarks/decoders.py wall --num-episodes 600 --out runs/decoders

A row goes to results/decoders.jsonl: seconds of training, and on new episodes of another seed the peak
signal-to-noise ratio of the pictures, the mean distance between the brightest spot of a picture and that
of the real frame (Wall, PointMaze), how far the probe's place is from the real one, in pixels of a frame,
and on Push-T the pose of the block, found in the pictures by template matching against the renderer. What
is there in `--out` is not trained again. `--picture FILE` draws real frames above decoded ones.
"""

import argparse
import json
import platform
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time

import imageio.v3 as iio
import numpy as np
import torch
from tasks import command
from template_matching import angle_between, find_blocks

from jepawm.contracts import HoldsOut, Simulator
from jepawm.decoding import DecodingConfig
from jepawm.files import data_root
from jepawm.hub.load import LoadedModel, load
from jepawm.runs import DecoderRules, train_decoder_run
from jepawm.runs.datasets import find_or_collect
from jepawm.training.decoding import Frames, measure_pictures

RESULTS = Path(__file__).parents[1] / "results" / "decoders.jsonl"
SEED = 1000
SPOTS = ("wall", "pointmaze")


def main() -> None:
    """Append a row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="bundled checkpoint")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--num-episodes", type=int)
    parser.add_argument("--num-steps", type=int, default=DecodingConfig().num_steps)
    parser.add_argument("--held-out-episodes", type=int, default=40)
    parser.add_argument("--num-frames", type=int, default=512)
    parser.add_argument("--num-matched", type=int, default=64)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    row = measure(options)
    print(json.dumps(row))
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Train one decoder and return its row."""
    run, root = options.out / options.source, data_root(options.data_root)
    began, cpu = perf_counter(), process_time()
    done = train_decoder_run(
        options.source,
        DecodingConfig(num_steps=options.num_steps),
        rules=DecoderRules(out=run, num_episodes=options.num_episodes),
        data_root=root,
        device="cpu",
        resume=True,
    )
    row: dict[str, object] = {
        "source": options.source,
        "steps": done.steps,
        "parameters": done.parameters,
        "bytes": (run / "decoder" / "model.safetensors").stat().st_size,
        "training_seconds": done.training_seconds,
        "wall_seconds": perf_counter() - began,
        "cpu_seconds": process_time() - cpu,
    }
    loaded = load(run)
    frames = _new_frames(loaded, num_episodes=options.held_out_episodes, root=root)
    row["psnr"] = measure_pictures(
        loaded.require_decoder(), loaded.model, frames=frames, count=options.num_frames
    )
    row |= _places(loaded, frames, count=options.num_frames, spots=options.source in SPOTS)
    if options.source == "pusht":
        row |= _poses(loaded, frames, count=options.num_matched)
    if options.picture:
        _draw(loaded, frames, path=options.picture)
    return row | {
        "held_out": {"episodes": options.held_out_episodes, "seed": SEED},
        "threads": torch.get_num_threads(),
        "command": command(),
        "date": datetime.now(tz=UTC).date().isoformat(),
        "machine": platform.processor() or platform.machine(),
    }


def _new_frames(loaded: LoadedModel, *, num_episodes: int, root: Path) -> Frames:
    """Return frames of episodes of another seed; of recordings, those that training never replays."""
    data = replace(loaded.experiment.data, num_episodes=num_episodes, seed=SEED)
    if isinstance(data.policy, HoldsOut):
        data = replace(data, policy=data.policy.held_out("test"))
    store = find_or_collect(loaded.experiment.env, data, data_root=root)
    return Frames(store, episodes=np.arange(len(store)), normalizer=loaded.normalizer)


@torch.no_grad()
def _places(
    loaded: LoadedModel, frames: Frames, *, count: int, spots: bool
) -> dict[str, dict[str, float]]:
    """Return how far brightest spot and probe are from the truth, in pixels of a frame."""
    decoder, index = loaded.require_decoder(), frames.spaced(count)
    latents, real = frames.read(index, model=loaded.model, kind="pixels")
    found: dict[str, dict[str, float]] = {}
    if spots:
        background = decoder.output_mean
        away = _brightest(decoder.pixels(latents).float() - background)
        away -= _brightest(real - background)
        found["spot_px"] = _summary(np.linalg.norm(away, axis=-1))
    env, probe = loaded.make_env(), loaded.state_probe
    if isinstance(env, Simulator) and env.state_to_pixel is not None and probe is not None:
        _, states = frames.read(index, model=loaded.model, kind="states")
        off = (probe(latents) - states)[:, :2] * env.state_to_pixel
        found["probe_px"] = _summary(off.norm(dim=1).numpy())
    return found


def _brightest(change: torch.Tensor) -> np.ndarray:
    """Return the place `[n, 2]` where pictures `[n, 3, h, w]` differ most from the background."""
    sums = change.abs().sum(1)
    flat = sums.flatten(1).argmax(1).numpy()
    return np.stack([flat % sums.shape[2], flat // sums.shape[2]], axis=1).astype(float)


@torch.no_grad()
def _poses(loaded: LoadedModel, frames: Frames, *, count: int) -> dict[str, dict[str, float]]:
    """Return how far the block's pose in the pictures is from the real one."""
    index = frames.spaced(count)
    latents, real = frames.read(index, model=loaded.model, kind="pixels")
    _, states = frames.read(index, model=loaded.model, kind="states")
    truth = states.double().numpy()
    scale = real.shape[-1] / 512
    found: dict[str, dict[str, float]] = {}
    for name, pictures in (("block", loaded.require_decoder().pixels(latents)), ("matching", real)):
        poses = find_blocks(pictures.float().numpy(), agents=truth[:, :2])
        away = scale * np.linalg.norm(poses[:, :2] - truth[:, 2:4], axis=1)
        found[f"{name}_px"] = _summary(away)
        found[f"{name}_rad"] = _summary(angle_between(poses[:, 2], truth[:, 4]))
    return found


def _summary(errors: np.ndarray) -> dict[str, float]:
    return {
        "mean": float(errors.mean()),
        "median": float(np.median(errors)),
        "p95": float(np.quantile(errors, 0.95)),
        "largest": float(errors.max()),
    }


@torch.no_grad()
def _draw(loaded: LoadedModel, frames: Frames, *, path: Path, count: int = 10) -> None:
    """Draw real frames above decoded ones."""
    latents, real = frames.read(frames.spaced(count), model=loaded.model, kind="pixels")
    rows = torch.cat([real.to(torch.uint8), loaded.require_decoder().pixels(latents)], dim=2)
    sheet = rows.permute(2, 0, 3, 1).reshape(rows.shape[2], -1, 3)
    iio.imwrite(path, sheet.numpy())


if __name__ == "__main__":
    main()
