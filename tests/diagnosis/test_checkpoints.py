import pytest

from jepawm.diagnosis.checkpoints import CheckpointFigures, Checkpoints, compare_checkpoints


def figures(step: int, success: float, *errors: float) -> CheckpointFigures:
    return CheckpointFigures(step=step, errors=errors, success=success, ci95=(0.0, 1.0))


def test_checkpoints_are_sorted_and_correlated_by_hand():
    given = [
        figures(300, 0.8, 0.1, 0.9),
        figures(100, 0.2, 0.4, 0.9),
        figures(200, 0.5, 0.3, 0.9),
        figures(400, 0.9, 0.2, 0.9),
    ]
    found = compare_checkpoints(given, protocol="paper", tasks=96)
    assert [one.step for one in found.figures] == [100, 200, 300, 400]
    first, second = found.correlations
    assert first.k == 1
    assert first.correlation == pytest.approx(-0.8)  # ranks 4 3 1 2 and 1 2 3 4
    assert first.ci95 is not None
    assert -1.0 < first.ci95[0] < -0.8 < first.ci95[1] < 1.0
    assert (second.correlation, second.ci95) == (None, None)  # the error is the same everywhere


def test_a_perfect_order_has_no_interval():
    given = [figures(step, step / 10, -float(step)) for step in range(1, 6)]
    (found,) = compare_checkpoints(given, protocol="paper", tasks=2).correlations
    assert (found.correlation, found.ci95) == (pytest.approx(-1.0), None)


def test_errors_and_correlations_go_together():
    with pytest.raises(ValueError, match="other errors"):
        Checkpoints(protocol="p", tasks=2, figures=(figures(1, 0.5, 0.1),), correlations=())
