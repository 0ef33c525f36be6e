from pathlib import Path

import numpy as np
import pytest

from jepawm.data.manifest import column_statistics, read_manifest


def test_statistics_are_unbiased():
    mean, std = column_statistics(np.array([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]]))
    assert mean == [3.0, 5.0]
    assert std == [2.0, 0.0]


def test_one_row_and_constant_columns_have_std_zero():
    assert column_statistics(np.array([[4.0]])) == ([4.0], [0.0])
    _, std = column_statistics(np.full((1000, 1), 0.1, dtype=np.float32))
    assert std == [0.0]


def test_text_round_trip(store_path: Path):
    manifest = read_manifest(store_path)
    assert (store_path / "manifest.json").read_text() == manifest.to_text()
    assert manifest.statistics.action_mean[1] == pytest.approx(-14 / 16)
