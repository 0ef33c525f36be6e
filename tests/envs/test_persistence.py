import numpy as np
import pytest

from jepawm.envs.persistence import persistent


def test_known_answer():
    noise = np.array([[[1.0], [1.0], [0.0]]])
    np.testing.assert_allclose(
        persistent(noise, np.array([[0.6]])), [[[1.0], [0.6 + 0.8], [0.6 * 1.4]]]
    )


def test_each_step_stays_standard_normal():
    noise = np.random.default_rng(0).standard_normal((20000, 8, 1))
    walked = persistent(noise, np.full((20000, 1), 0.9))
    assert walked.std(axis=0).ravel() == pytest.approx(np.ones(8), abs=0.02)
