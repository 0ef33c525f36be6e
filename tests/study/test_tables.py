"""Rows side by side: groups, pairs, costs."""

import numpy as np
import pytest

from jepawm.study.tables import axis_tables, cost_seconds

NUM = 96


def outcomes(count: int) -> list[bool]:
    return [task < count for task in range(NUM)]


def test_rows_of_an_axis_stand_in_its_order_beside_their_references(make_row):
    rows = [make_row("window", value, seed=seed) for value in ("7", "1") for seed in (1, 0)]
    rows.append(make_row("window", "oracle", row="oracle"))
    rows.append(make_row("window", "1", recipe="study_token"))
    grid, token = axis_tables(rows)
    assert (grid.recipe, token.recipe) == ("study_grid", "study_token")
    assert grid.values == ["1", "7"]
    assert [row.seed for row in grid.of("7")] == [0, 1]
    assert [row.measured.row for row in grid.references] == ["oracle"]
    assert grid.own == "1"


def test_differences_are_paired_by_seed_and_task(make_row):
    rows = [
        make_row("window", value, seed=seed, success=outcomes(count))
        for value, count in (("1", 40), ("2", 64))
        for seed in range(3)
    ]
    rows.append(make_row("window", "2", seed=9, success=outcomes(0)))  # no partner: left out
    (table,) = axis_tables(rows)
    found = table.compare("2", "1")
    assert found is not None
    assert found.mean == pytest.approx(24 / NUM)
    assert (found.num_seeds, found.num_tasks) == (3, NUM)
    of_tasks = np.array([0.0] * 40 + [1.0] * 24 + [0.0] * 32)
    half = 1.985251 * of_tasks.std(ddof=1) / np.sqrt(NUM)
    assert found.ci95 == pytest.approx((0.25 - half, 0.25 + half), abs=1e-6)
    distance = table.compare("2", "1", of="distance")
    assert distance is not None
    assert distance.mean == pytest.approx(-9 * 24 / NUM)
    assert table.compare("2", "5") is None


def test_the_last_row_of_a_run_counts_and_the_others_are_told(make_row):
    first = make_row("window", "1", success=outcomes(10))
    again = make_row("window", "1", success=outcomes(20), setup="changed")
    (table,) = axis_tables([first, again])
    assert table.rows == (again,)
    assert table.replaced == 1


def test_models_and_evaluations_that_rows_share_cost_once(make_row):
    rows = [make_row("planner", value, model="m") for value in ("cem", "gd")]
    rows.append(make_row("cost", "l2", model="m", setup=rows[0].measured.setup))
    assert cost_seconds(rows) == 60.0 + 2 * 6.0
