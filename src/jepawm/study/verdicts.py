"""Verdicts on the paper's claims, by a rule that is written down here and on the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jepawm.study.claims import CLAIMS, Claim, Expectation
from jepawm.study.differences import Estimate
from jepawm.study.tables import AxisTable

Word = Literal["agrees", "disagrees", "cannot tell"]

LEAST_SEEDS = 3
"""Training seeds below which nothing is decided."""
MARGIN = 0.05
"""Gain of success that counts as none: 5 points."""
RULE = (
    "The difference of two values is taken for each training seed and task, and averaged. Its 95 % "
    "interval counts seeds and tasks as drawn at random (two-way analysis of variance, Satterthwaite's "
    f"degrees of freedom, Student's quantile). With fewer than {LEAST_SEEDS} seeds nothing is decided. A "
    "claim that one value succeeds more often agrees where the whole interval is above 0, disagrees where "
    "it is below 0. A claim that a value gains nothing agrees where the interval ends at or below "
    f"{100 * MARGIN:.0f} points, and disagrees where it is above 0 and does not. All else cannot be told, and the "
    "smallest effect says what the sample could have shown: an effect of that size is found in four of "
    "five such samples. Over several recipes the verdict is that of those that can tell, if they agree "
    "with each other. Intervals are for one comparison each; among twenty true equalities one is "
    "expected to look like a difference."
)
"""How verdicts are reached."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A claim on one recipe."""

    table: AxisTable
    """Where its rows are."""
    difference: Estimate
    """First value minus second, in success."""
    distance: Estimate | None
    """The same in final distance to the goal; None without states."""
    paper: float | None
    """The paper's difference in this environment; None where it gives none."""
    word: Word
    """What follows."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the rows say of a claim."""

    claim: Claim
    """The claim."""
    findings: tuple[Finding, ...]
    """What each recipe says; empty where there are no rows yet."""
    word: Word
    """What follows from all."""
    why: str
    """Why it cannot be told; empty if it can."""


def judge(tables: Sequence[AxisTable]) -> list[Verdict]:
    """Return a verdict on every claim."""
    return [_verdict(claim, tables) for claim in CLAIMS]


def decide(difference: Estimate, expects: Expectation) -> Word:
    """Return what one difference says of a claim."""
    low, high = difference.ci95
    if difference.num_seeds < LEAST_SEEDS:
        return "cannot tell"
    if expects == "no more":
        if high <= MARGIN:
            return "agrees"
        return "disagrees" if low > 0 else "cannot tell"
    if low > 0:
        return "agrees"
    return "disagrees" if high < 0 else "cannot tell"


def _verdict(claim: Claim, tables: Sequence[AxisTable]) -> Verdict:
    findings = tuple(
        finding
        for table in tables
        if table.axis == claim.axis
        and claim.is_about(table.env)
        and (finding := _finding(claim, table)) is not None
    )
    words: set[Word] = {one.word for one in findings if one.word != "cannot tell"}
    if not findings:
        return Verdict(claim=claim, findings=(), word="cannot tell", why="no rows yet")
    if len(words) == 1:
        return Verdict(claim=claim, findings=findings, word=words.pop(), why="")
    if words:
        why = "the recipes contradict each other"
    elif all(one.difference.num_seeds < LEAST_SEEDS for one in findings):
        why = f"fewer than {LEAST_SEEDS} seeds"
    else:
        smallest = min(one.difference.smallest for one in findings)
        why = f"an effect below {100 * smallest:.0f} points would not show"
    return Verdict(claim=claim, findings=findings, word="cannot tell", why=why)


def _finding(claim: Claim, table: AxisTable) -> Finding | None:
    difference = table.compare(claim.first, claim.second)
    if difference is None:
        return None
    paper = claim.paper.get(table.env)
    return Finding(
        table=table,
        difference=difference,
        distance=table.compare(claim.first, claim.second, of="distance"),
        paper=None if paper is None else paper[0] - paper[1],
        word=decide(difference, claim.expects),
    )
