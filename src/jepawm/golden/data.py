"""Check windows, action blocks and the split of episodes against golden cases."""

import re

import numpy as np
import torch

from jepawm.data.windows import (
    action_blocks,
    frame_indices,
    permute,
    split_episodes,
    window_table,
)
from jepawm.golden.case import Comparison, GoldenCase, GoldenError, compare, exact

_SUM_ROUNDING = 1e-6  # sums of floats depend on the order of adding in the last bit


def check_slicing(case: GoldenCase) -> list[Comparison]:
    """Compare windows and their frames, actions, states and proprioception, in permuted order."""
    num_frames, frameskip = case.option("n", int), case.option("frameskip", int)
    action_skip = case.optional("action_skip", int) or 1
    process = case.optional("process_actions", str) or "concat"
    if process not in ("concat", "sum"):
        raise GoldenError(f"{case.name}: process_actions {process!r} is neither concat nor sum")
    span = num_frames * frameskip
    table = window_table(case.option("lengths", list), span=span)
    windows = permute(table, case.option("permutation_seed", int))
    frames = frame_indices(windows[:, 1], num_frames=num_frames, frameskip=frameskip)
    results = [
        exact("windows_sorted", table, case.array("windows_sorted").reshape(-1, 3)),
        exact("windows_permuted", windows, case.array("windows_permuted").reshape(-1, 3)),
    ]
    if len(windows) == 0:
        return results
    results.append(exact("frame_indices", frames, case.array("frame_indices")))
    states = _gather(case, "states", windows[:, 0], frames)
    results.append(exact("state_rows", states, case.array("state_rows")))
    results.append(_check_proprio(case, windows, frames))
    steps = windows[:, 1:2] + np.arange(span)
    blocks = action_blocks(
        torch.from_numpy(_gather(case, "actions", windows[:, 0], steps)),
        num_blocks=num_frames,
        frameskip=frameskip,
        action_skip=action_skip,
        process_actions=process,
    )
    rounding = _SUM_ROUNDING if process == "sum" else 0.0
    atol, rtol = max(case.atol, rounding), max(case.rtol, rounding)
    results.append(compare("action_rows", blocks, case.array("action_rows"), atol=atol, rtol=rtol))
    width = case.optional("reported_action_dim", int)
    if width is not None and frameskip >= action_skip:
        results.append(exact("reported_action_dim", blocks.shape[-1], width))
    return results


def check_split(case: GoldenCase) -> list[Comparison]:
    """Compare train and validation episodes, in order, for every count and seed of the file."""
    fraction = case.option("train_fraction", float)
    results: list[Comparison] = []
    for group in sorted({name.rpartition("/")[0] for name in case.arrays}):
        match = re.fullmatch(r"n(\d+)_seed(\d+)", group)
        if match is None:
            raise GoldenError(f"{case.name}: array group {group!r} is not n<count>_seed<seed>")
        count, seed = (int(number) for number in match.groups())
        train, val = split_episodes(count, train_fraction=fraction, seed=seed)
        results.append(exact(f"{group}/train", train, case.array(f"{group}/train")))
        results.append(exact(f"{group}/val", val, case.array(f"{group}/val")))
    return results


def _check_proprio(case: GoldenCase, windows: np.ndarray, frames: np.ndarray) -> Comparison:
    expected = case.array("proprio_rows")
    own = f"trajectory{windows[0, 0]}_proprio" in case.arrays
    rows = _gather(case, "proprio" if own else "states", windows[:, 0], frames)
    # Files without proprioception of their own use the first columns of the state.
    return exact("proprio_rows", rows[..., : expected.shape[-1]], expected)


def _gather(
    case: GoldenCase, column: str, trajectories: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Read `rows` `[n, T]` of each window's own trajectory `[n]`; returns `[n, T, width]`."""
    return np.stack(
        [
            case.array(f"trajectory{trajectory}_{column}")[window]
            for trajectory, window in zip(trajectories.tolist(), rows, strict=True)
        ]
    )
