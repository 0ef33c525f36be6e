"""How exactly a small network reads the block's pose from latents of Push-T.

    python benchmarks/pose_probe.py pusht --store STORE --data-root DIR

The network (two layers of 256) is fitted to frames of the store that the model was trained on, and
read on the starts and goals of held-out tasks, whose demonstrations neither has seen. The row goes to
results/pose_probe.jsonl.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from tasks import command, find_tasks
from torch import Tensor, nn

from jepawm.data.episodes import EpisodeStore, open_store
from jepawm.hub.load import LoadedModel, load
from jepawm.types import Observation, concatenate

ROOT = Path(__file__).parents[1]
STEPS, BATCH, LEARNING_RATE = 6000, 256, 3e-3
PLACE, TURN = 60.0, 0.7  # about the standard deviation of places in pixels, and of cos and sin


def main() -> None:
    """Fit, read, append the row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="run or bundled checkpoint")
    parser.add_argument("--store", type=Path, required=True, help="frames to fit the network to")
    parser.add_argument("--data-root", type=Path, help="where the recorded demonstrations are")
    parser.add_argument("--frames", type=int, default=40_000)
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "pose_probe.jsonl")
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.manual_seed(options.seed)
    loaded = load(options.model)
    store = open_store(options.store)
    rows = np.linspace(0, store.manifest.num_frames - 1, 2 * options.frames).astype(np.int64)
    probe = fit(*stored(loaded, store, rows[::2]))
    row = {
        "command": command(),
        "date": datetime.now(tz=UTC).date().isoformat(),
        "unseen_demonstrations": errors(probe, *held_out(loaded, options)),
        "other_frames_of_the_store": errors(probe, *stored(loaded, store, rows[1::40])),
    }
    with options.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(row)


def pose(states: Float[Tensor, "n 7"]) -> Float[Tensor, "n 4"]:
    """Return place, cosine and sine of the block, of order 1."""
    turned = torch.stack([states[:, 4].cos(), states[:, 4].sin()], dim=1) / TURN
    return torch.cat([states[:, 2:4] / PLACE, turned], dim=1)


@torch.no_grad()
def encode(loaded: LoadedModel, pixels: Tensor) -> Float[Tensor, "n width"]:
    """Return the tokens of frames, flat."""
    return torch.cat([loaded.model.encoder(part).flatten(1) for part in pixels.split(256)])


@torch.no_grad()
def stored(loaded: LoadedModel, store: EpisodeStore, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return tokens and states `[n, 7]` of frames of a store."""
    assert store.state is not None
    parts = np.array_split(rows, max(1, len(rows) // 400))
    tokens = [encode(loaded, torch.from_numpy(store.frames(part))) for part in parts]
    return torch.cat(tokens), torch.from_numpy(store.state[rows]).float()


def fit(tokens: Float[Tensor, "n width"], states: Float[Tensor, "n 7"]) -> nn.Module:
    """Fit the network."""
    wanted = pose(states)
    width = tokens.shape[1]
    probe = nn.Sequential(
        nn.Linear(width, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, 4)
    )
    optimizer = torch.optim.AdamW(probe.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / STEPS)
        index = torch.randint(len(tokens), (BATCH,))
        optimizer.zero_grad()
        F.mse_loss(probe(tokens[index]), wanted[index]).backward()
        optimizer.step()
    return probe.eval()


def held_out(loaded: LoadedModel, options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Return tokens and states `[n, 7]` of the starts and goals of held-out tasks."""
    env, tasks = find_tasks(
        loaded,
        protocol=loaded.experiment.protocol("paper"),
        num_tasks=options.tasks,
        seed=options.seed,
        split=options.split,
        data_root=options.data_root,
    )
    seen: list[Observation] = [env.reset(tasks), env.goal_observation()]
    states = np.concatenate([env.states(), np.array([task.goal for task in tasks])])
    return encode(loaded, concatenate(seen, dim=0).pixels), torch.from_numpy(states).float()


@torch.no_grad()
def errors(
    probe: nn.Module, tokens: Float[Tensor, "n width"], states: Float[Tensor, "n 7"]
) -> dict[str, float]:
    """Return medians and 90th percentiles of the errors of place (pixels) and angle (radians)."""
    found = probe(tokens)
    distance = (found[:, :2] * PLACE - states[:, 2:4]).norm(dim=1)
    turn = torch.atan2(found[:, 3], found[:, 2]) - states[:, 4]
    angle = torch.atan2(turn.sin(), turn.cos()).abs()
    return {
        "frames": len(states),
        "px_median": distance.median().item(),
        "px_q90": distance.quantile(0.9).item(),
        "rad_median": angle.median().item(),
        "rad_q90": angle.quantile(0.9).item(),
    }


if __name__ == "__main__":
    main()
