"""Verdicts: what intervals say of claims."""

import pytest

from jepawm.study.claims import BEYOND, CLAIMS
from jepawm.study.differences import Estimate
from jepawm.study.known_axes import find_axis
from jepawm.study.tables import axis_tables
from jepawm.study.verdicts import decide, judge


def difference(low: float, high: float, *, seeds: int = 3) -> Estimate:
    return Estimate(
        mean=(low + high) / 2, ci95=(low, high), smallest=0.1, num_seeds=seeds, num_tasks=96
    )


@pytest.mark.parametrize(
    ("low", "high", "more", "no_more"),
    [
        (0.01, 0.2, "agrees", "disagrees"),
        (-0.1, 0.2, "cannot tell", "cannot tell"),
        (-0.2, -0.01, "disagrees", "agrees"),
        (-0.04, 0.05, "cannot tell", "agrees"),
        (0.01, 0.04, "agrees", "agrees"),  # a gain, and too small to be worth having
    ],
)
def test_intervals_decide(low: float, high: float, more: str, no_more: str):
    assert decide(difference(low, high), "more") == more
    assert decide(difference(low, high), "no more") == no_more
    assert decide(difference(low, high, seeds=2), "more") == "cannot tell"


def test_every_claim_is_about_values_that_its_axis_knows():
    for claim in CLAIMS:
        names = [value.name for value in find_axis(claim.axis).values]
        assert {claim.first, claim.second} <= set(names), claim.id
        assert claim.command.startswith(f"jepawm study run {claim.axis} ")
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    assert all(one.command.startswith("jepawm ") for one in BEYOND)


def rows_of(make_row, value: str, count: int, *, recipe: str = "study_grid", seeds: int = 3):
    success = [task < count for task in range(96)]
    return [
        make_row("window", value, seed=seed, success=success, recipe=recipe)
        for seed in range(seeds)
    ]


def word_of(rows, claim: str = "window-2-over-1"):
    return next(one for one in judge(axis_tables(rows)) if one.claim.id == claim)


def test_a_clear_difference_agrees_or_disagrees(make_row):
    rows = rows_of(make_row, "1", 10) + rows_of(make_row, "2", 80)
    assert word_of(rows).word == "agrees"
    assert word_of(rows_of(make_row, "1", 80) + rows_of(make_row, "2", 10)).word == "disagrees"


def test_what_cannot_be_told_says_why(make_row):
    assert word_of(rows_of(make_row, "1", 10)).why == "no rows yet"
    few = rows_of(make_row, "1", 10, seeds=2) + rows_of(make_row, "2", 80, seeds=2)
    assert word_of(few).why == "fewer than 3 seeds"
    equal = rows_of(make_row, "1", 50) + rows_of(make_row, "2", 50)
    assert word_of(equal).why.startswith("an effect below ")
    rows = rows_of(make_row, "1", 10) + rows_of(make_row, "2", 80)
    rows += rows_of(make_row, "1", 80, recipe="other") + rows_of(make_row, "2", 10, recipe="other")
    contradicting = word_of(rows)
    assert (contradicting.word, contradicting.why) == (
        "cannot tell",
        "the recipes contradict each other",
    )
    assert [one.word for one in contradicting.findings] == ["disagrees", "agrees"]


def test_claims_about_real_data_read_rows_of_noisy_worlds(make_row):
    rows = [
        make_row("size", value, seed=seed, success=[task < count for task in range(96)], env=env)
        for env, counts in (("wall", (80, 80)), ("noisy:wall@0.5", (20, 80)))
        for value, count in zip(("S", "L"), counts, strict=True)
        for seed in range(3)
    ]
    assert word_of(rows, "size-l-over-s").word == "agrees"
    noisy = word_of(rows, "size-l-over-s-noisy")
    assert noisy.word == "agrees"
    assert [one.table.env for one in noisy.findings] == ["noisy:wall@0.5"]
    assert noisy.claim.command.endswith("--noise 0.5")


def test_claims_about_one_environment_leave_others_out(make_row):
    rows = [
        make_row(
            "depth", value, seed=seed, success=[task < count for task in range(96)], env="pusht"
        )
        for value, count in (("3", 80), ("6", 10))
        for seed in range(3)
    ]
    assert word_of(rows, "depth-6-over-3").findings == ()
