"""Slicing and split against the reference's files, and against loops for other options."""

from pathlib import Path

import numpy as np
import pytest
import torch

from jepawm.golden.case import GoldenCase, GoldenError, load_case
from jepawm.golden.data import check_slicing, check_split


def test_slicing_matches_the_reference(golden_dir: Path):
    results = check_slicing(load_case(golden_dir / "data_slicing.npz"))
    assert len(results) == 7
    assert all(result.passed for result in results)


def test_split_matches_the_reference(golden_dir: Path):
    results = check_split(load_case(golden_dir / "train_val_split.npz"))
    assert len(results) == 4
    assert all(result.passed for result in results)


def _case(name: str, hyper: dict[str, object], arrays: dict[str, np.ndarray]) -> GoldenCase:
    tolerance = {"atol": 0.0, "rtol": 0.0}
    return GoldenCase(name=name, hyper=hyper, meta={}, arrays=arrays, tolerance=tolerance)


def _sliced_by_loops(
    *, lengths: list[int], n: int, frameskip: int, action_skip: int, process: str, seed: int
) -> GoldenCase:
    generator = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    windows: list[list[int]] = []
    for trajectory, length in enumerate(lengths):
        for column, width in (("actions", 3), ("states", 4)):
            rows = generator.normal(size=(length, width)).astype(np.float32)
            arrays[f"trajectory{trajectory}_{column}"] = rows
        for start in range(length - n * frameskip + 1):
            windows.append([trajectory, start, start + n * frameskip])  # noqa: PERF401
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(seed)).tolist()
    rows: dict[str, list[object]] = {"frame_indices": [], "action_rows": [], "state_rows": []}
    for trajectory, start, end in (windows[i] for i in order):
        frames = list(range(start, end, frameskip))
        actions = [arrays[f"trajectory{trajectory}_actions"][t] for t in range(start, end)]
        kept = actions[::action_skip]
        each = len(kept) // n if frameskip >= action_skip else 1
        pieces = [kept[i : i + each] for i in range(0, len(kept), each)]
        join = np.concatenate if process == "concat" else sum
        rows["frame_indices"].append(frames)
        rows["action_rows"].append([join(piece) for piece in pieces])
        rows["state_rows"].append([arrays[f"trajectory{trajectory}_states"][t] for t in frames])
    arrays |= {name: np.array(values) for name, values in rows.items()}
    arrays["proprio_rows"] = arrays["state_rows"][..., :2]
    arrays["windows_sorted"] = np.array(windows)
    arrays["windows_permuted"] = np.array([windows[i] for i in order])
    hyper = {
        "lengths": lengths, "n": n, "frameskip": frameskip, "action_skip": action_skip,
        "process_actions": process, "permutation_seed": seed,
    }  # fmt: skip
    return _case("data_slicing_other", hyper, arrays)


@pytest.mark.parametrize("process", ["concat", "sum"])
@pytest.mark.parametrize(
    ("lengths", "n", "frameskip", "action_skip"),
    [
        ([26, 20, 33], 4, 5, 1),
        ([7, 3, 2, 12], 3, 2, 1),  # episodes 1 and 2 are too short
        ([9, 30], 2, 4, 2),
        ([25, 24], 5, 5, 5),
        ([12, 9], 4, 1, 1),
        ([12, 9], 4, 2, 4),  # fewer action rows
        ([11], 1, 3, 1),
    ],
)
def test_other_options(lengths, n, frameskip, action_skip, process):
    case = _sliced_by_loops(
        lengths=lengths, n=n, frameskip=frameskip, action_skip=action_skip, process=process, seed=5
    )
    results = check_slicing(case)
    assert len(results) == 6
    assert all(result.passed for result in results), results


def test_a_wrong_order_fails():
    options = {"n": 2, "frameskip": 2, "action_skip": 1, "process": "concat", "seed": 5}
    case = _sliced_by_loops(lengths=[9, 8], **options)
    case.hyper["permutation_seed"] = 6
    failed = {result.name for result in check_slicing(case) if not result.passed}
    assert {"windows_permuted", "action_rows", "state_rows"} <= failed


def test_unknown_processing_is_told():
    options = {"n": 2, "frameskip": 2, "action_skip": 1, "process": "concat", "seed": 5}
    case = _sliced_by_loops(lengths=[9, 8], **options)
    case.hyper["process_actions"] = "mean"
    with pytest.raises(GoldenError, match="'mean'"):
        check_slicing(case)


@pytest.mark.parametrize(("count", "seed", "fraction"), [(10, 0, 0.5), (7, 3, 0.0), (33, 9, 1.0)])
def test_other_splits(count: int, seed: int, fraction: float):
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).numpy()
    group = f"n{count}_seed{seed}"
    arrays = {
        f"{group}/train": order[: int(fraction * count)],
        f"{group}/val": order[int(fraction * count) :],
    }
    case = _case("train_val_split_other", {"train_fraction": fraction}, arrays)
    assert all(result.passed for result in check_split(case))
