"""Statistics as LeRobot keeps them: of every column, of each episode and of all together."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Shaped, UInt8

Stats = dict[str, dict[str, list]]
"""By column: min, max, mean, std and count; those of images by colour, scaled to [0, 1]."""
_SAMPLED_FRAMES = 100


def episode_stats(
    columns: Mapping[str, Shaped[np.ndarray, "L *d"]],
    frames: UInt8[np.ndarray, "L height width 3"],
    *,
    camera: str,
) -> Stats:
    """Measure one episode; of its frames at most a hundred, evenly spread."""
    stats = {name: _measure(rows.reshape(len(rows), -1)) for name, rows in columns.items()}
    count = min(len(frames), _SAMPLED_FRAMES)
    sampled = frames[np.linspace(0, len(frames) - 1, count).astype(int)]
    image = _measure(sampled.reshape(-1, 3) / 255.0)
    stats[camera] = {
        key: [[[number]] for number in numbers] for key, numbers in image.items() if key != "count"
    }
    stats[camera]["count"] = [count]
    return stats


def merge_stats(parts: Sequence[Stats]) -> Stats:
    """Join statistics of episodes: exactly, as if all rows had been measured together."""
    merged: Stats = {}
    for name in parts[0]:
        count = np.array([part[name]["count"][0] for part in parts])
        values = {
            key: np.array([part[name][key] for part in parts])
            for key in ("min", "max", "mean", "std")
        }
        weights = (count / count.sum()).reshape(-1, *[1] * (values["mean"].ndim - 1))
        mean = (weights * values["mean"]).sum(axis=0)
        variance = (weights * (values["std"] ** 2 + (values["mean"] - mean) ** 2)).sum(axis=0)
        merged[name] = {
            "min": values["min"].min(axis=0).tolist(),
            "max": values["max"].max(axis=0).tolist(),
            "mean": mean.tolist(),
            "std": np.sqrt(variance).tolist(),
            "count": [int(count.sum())],
        }
    return merged


def _measure(rows: np.ndarray) -> dict[str, list]:
    return {
        "min": rows.min(axis=0).tolist(),
        "max": rows.max(axis=0).tolist(),
        "mean": rows.mean(axis=0, dtype=np.float64).tolist(),
        "std": rows.std(axis=0, dtype=np.float64).tolist(),
        "count": [len(rows)],
    }
