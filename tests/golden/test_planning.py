"""The golden checks of planning on cases with other options, made by plain NumPy loops."""

import numpy as np
import pytest

from jepawm.golden.case import GoldenCase, GoldenError
from jepawm.golden.planning import check_cem, check_objectives

TOLERANCE = {"atol": 2e-5, "rtol": 1e-4}


def _cem_case(**changes) -> GoldenCase:
    hyper = {
        "action_dim": 5,
        "horizon": 4,
        "iterations": 4,
        "max_norm_dims": None,
        "max_norms": None,
        "momentum_mean": 0.0,
        "momentum_std": 0.0,
        "num_elites": 5,
        "num_samples": 40,
        "objective": "L2",
        "state_decay": 0.8,
        "steps_left": None,
        "var_scale": 0.7,
    } | changes
    return GoldenCase(
        name="cem_made", hyper=hyper, meta={}, arrays=_trace(hyper), tolerance=TOLERANCE
    )


def _trace(hyper: dict) -> dict[str, np.ndarray]:
    """Return the arrays of a CEM run, written down once more without the library."""
    random = np.random.default_rng(1)
    length = hyper["horizon"] if hyper["steps_left"] is None else hyper["steps_left"]
    length = min(length, hyper["horizon"])
    width, samples, iterations = hyper["action_dim"], hyper["num_samples"], hyper["iterations"]
    start, goal = random.normal(size=(2, 1, 6)).astype(np.float32)
    mixing = random.normal(size=(width, 6)).astype(np.float32)
    noise = random.normal(size=(iterations, length, samples, width)).astype(np.float32)
    mean = np.zeros((length, width))
    std = np.full((length, width), hyper["var_scale"])
    names = ("samples", "cost", "elite_indices_sorted", "mean", "std")
    names += ("best_cost", "elite_cost_mean", "elite_cost_std")
    found: dict[str, list] = {name: [] for name in names}
    for draws in noise:
        actions = mean[:, None] + std[:, None] * draws
        actions[:, 0] = mean
        for norm, dims in zip(hyper["max_norms"] or [], hyper["max_norm_dims"] or [], strict=False):
            actions[..., dims] = np.clip(actions[..., dims], -norm, norm)
        state = np.repeat(start, samples, axis=0)
        for action in actions:
            state = hyper["state_decay"] * state + action @ mixing
        error = state - goal
        cost = (np.abs(error) if hyper["objective"] == "L1" else error**2).mean(-1)
        elites = np.sort(np.argsort(cost)[: hyper["num_elites"]])
        keep_mean, keep_std = hyper["momentum_mean"], hyper["momentum_std"]
        mean = (1 - keep_mean) * actions[:, elites].mean(1) + keep_mean * mean
        std = (1 - keep_std) * actions[:, elites].std(1, ddof=1) + keep_std * std
        chosen = cost[elites]
        values = (actions, cost, elites, mean, std)
        values += (cost.min(), chosen.mean(), chosen.std(ddof=1))
        for name, value in zip(names, values, strict=True):
            found[name].append(np.array(value))
    arrays = {name: np.stack(values) for name, values in found.items()}
    given = {"start": start, "goal": goal, "mixing": mixing, "noise": noise}
    return arrays | given | {"returned_actions": mean}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"objective": "L1"},
        {"momentum_mean": 0.15, "momentum_std": 0.4},
        {"steps_left": 2},
        {"steps_left": 9},
        {"max_norms": [0.3], "max_norm_dims": [[1, 3]]},
        {"max_norms": [0.2, 0.6], "max_norm_dims": [[0], [2, 4]], "momentum_std": 0.3},
        {"num_samples": 23, "num_elites": 2, "iterations": 1, "horizon": 1},
    ],
)
def test_cem_with_other_options(changes):
    comparisons = check_cem(_cem_case(**changes))
    assert all(one.passed for one in comparisons), comparisons


@pytest.mark.parametrize(
    ("told", "ran"),
    [
        ({"momentum_mean": 0.3}, {}),
        ({"momentum_std": 0.3}, {}),
        ({"objective": "L1"}, {}),
        ({"max_norms": [0.3], "max_norm_dims": [[1]]}, {}),
        ({"var_scale": 0.5}, {}),
    ],
)
def test_cem_check_notices_every_option(told, ran):
    right, other = _cem_case(**ran), _cem_case(**told)
    wrong = GoldenCase(
        name="cem", hyper=other.hyper, meta={}, arrays=right.arrays, tolerance=TOLERANCE
    )
    assert not all(one.passed for one in check_cem(wrong))


def test_cem_case_that_contradicts_itself_is_refused():
    right, other = _cem_case(), _cem_case(steps_left=2)
    wrong = GoldenCase(
        name="cem", hyper=other.hyper, meta={}, arrays=right.arrays, tolerance=TOLERANCE
    )
    with pytest.raises(GoldenError, match="noise"):
        check_cem(wrong)


@pytest.mark.parametrize("num_goals", [1, 3])
def test_objectives_with_other_sizes(num_goals):
    random = np.random.default_rng(0)
    arrays = {
        "encodings_visual": random.normal(size=(4, 3, 2, 2, 5)).astype(np.float32),
        "encodings_proprio": random.normal(size=(4, 3, 1, 7)).astype(np.float32),
        "target_visual": random.normal(size=(1, num_goals, 2, 2, 5)).astype(np.float32),
        "target_proprio": random.normal(size=(1, num_goals, 1, 7)).astype(np.float32),
    }
    visual = arrays["encodings_visual"] - arrays["target_visual"]
    proprio = arrays["encodings_proprio"] - arrays["target_proprio"]
    steps = (visual**2).mean((2, 3, 4)) + 0.25 * (proprio**2).mean((2, 3))
    arrays["L2/alpha0.25/terminal"] = steps[-1]
    arrays["L1/visual_only/sum"] = np.abs(visual).mean((2, 3, 4)).sum(0)
    case = GoldenCase(name="x", hyper={}, meta={}, arrays=arrays, tolerance=TOLERANCE)
    comparisons = check_objectives(case)
    assert len(comparisons) == 2
    assert all(one.passed for one in comparisons), comparisons


def test_unknown_metric_is_refused():
    arrays = {
        "encodings_visual": np.zeros((1, 1, 1, 1, 1), np.float32),
        "target_visual": np.zeros((1, 1, 1, 1, 1), np.float32),
        "L7/visual_only/sum": np.zeros(1),
    }
    case = GoldenCase(name="x", hyper={}, meta={}, arrays=arrays, tolerance=TOLERANCE)
    with pytest.raises(GoldenError, match="L7"):
        check_objectives(case)
