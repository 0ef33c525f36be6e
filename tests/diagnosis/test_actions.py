import numpy as np
import pytest

from jepawm.diagnosis.actions import action_errors, summarize_actions


def test_own_and_other_actions_of_a_perfect_model(make_model, make_stretch):
    stretch = make_stretch(num_steps=7)
    found = action_errors(make_model(), stretch, window=1, horizon=3)  # starts at 0 and 3
    moves = stretch.actions.unflatten(-1, (-1, 2)).sum(-2).double().numpy()  # [B, T, 2]
    apart = np.roll(moves, 1, axis=0) - moves
    squares = [(apart[:, first : first + 3].cumsum(1) ** 2).mean(-1) for first in (0, 3)]
    np.testing.assert_allclose(found.own, 0.0, atol=1e-9)
    np.testing.assert_allclose(found.other, np.mean(squares, axis=0), rtol=1e-4)
    np.testing.assert_allclose(found.moved, found.other, rtol=1e-4)


def test_a_model_that_ignores_the_actions_does_not_tell_them_apart(make_model, make_stretch):
    found = action_errors(make_model(-1.0), make_stretch(), window=2, horizon=2)
    np.testing.assert_array_equal(found.moved, 0.0)
    steps = summarize_actions([found], variance=2.0)
    assert [step.k for step in steps] == [1, 2]
    assert steps[0].own == pytest.approx(found.own[:, 0].mean() / 2)
    assert steps[0].other_minus_own.difference == 0.0
    assert steps[0].other_minus_own.ci95 == (0.0, 0.0)
