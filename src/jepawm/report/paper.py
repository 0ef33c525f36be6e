"""The paper's numbers as data (arXiv 2512.24497, tables 1 and S5.1), for reports and tables."""

from dataclasses import dataclass
from typing import Literal

PAPER_ARXIV = "2512.24497"


@dataclass(frozen=True, kw_only=True)
class PaperNumber:
    """One cell of table 1."""

    success: float
    """Success rate, 0 to 1; on DROID the action score divided by 100."""
    std: float
    """Standard deviation over epochs and seeds, same unit; NOT a confidence interval."""


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """What the paper reports for one environment."""

    title: str
    """Name of the environment in the paper."""
    num_episodes: int
    """Episodes in one evaluation."""
    jepa_wm: PaperNumber
    """The paper's own model."""
    dino_wm: PaperNumber
    """DINO-WM, retrained by the paper's authors."""
    vjepa2_ac: PaperNumber | None = None
    """V-JEPA-2-AC, retrained by the paper's authors; None where the paper has no number."""
    measure: Literal["success", "action score"] = "success"
    """What the numbers measure."""


def paper_row(environment: str) -> PaperRow | None:
    """Return the paper's row for an environment, or None if the paper does not have it."""
    return PAPER.get(environment.partition("@")[0])  # robocasa:reach@FILE


def _number(percent: float, std: float) -> PaperNumber:
    return PaperNumber(success=percent / 100, std=std / 100)


PAPER: dict[str, PaperRow] = {
    "pointmaze": PaperRow(
        title="Maze",
        num_episodes=96,
        jepa_wm=_number(83.9, 2.3),
        dino_wm=_number(81.6, 3.4),
    ),
    "wall": PaperRow(
        title="Wall",
        num_episodes=96,
        jepa_wm=_number(78.8, 3.9),
        dino_wm=_number(64.1, 4.6),
    ),
    "pusht": PaperRow(
        title="Push-T",
        num_episodes=96,
        jepa_wm=_number(70.2, 2.8),
        dino_wm=_number(66.0, 4.7),
    ),
    "metaworld_reach": PaperRow(
        title="MW-Reach",
        num_episodes=96,
        jepa_wm=_number(58.2, 9.3),
        dino_wm=_number(44.8, 8.9),
    ),
    "metaworld_reach_wall": PaperRow(
        title="MW-Reach-Wall",
        num_episodes=96,
        jepa_wm=_number(41.6, 10.0),
        dino_wm=_number(35.1, 9.4),
    ),
    "robocasa:reach": PaperRow(
        title="RoboCasa-Reach",
        num_episodes=32,
        jepa_wm=_number(25.4, 16.6),
        dino_wm=_number(19.1, 13.4),
        vjepa2_ac=_number(16.2, 8.3),
    ),
    "robocasa:place": PaperRow(
        title="RoboCasa-Place",
        num_episodes=32,
        jepa_wm=_number(30.7, 8.0),
        dino_wm=_number(21.7, 7.2),
        vjepa2_ac=_number(33.1, 7.2),
    ),
    "droid": PaperRow(
        title="DROID",
        num_episodes=64,
        jepa_wm=_number(48.2, 1.8),
        dino_wm=_number(39.4, 2.1),
        vjepa2_ac=_number(42.9, 2.5),
        measure="action score",
    ),
}
"""The paper's row by the name of the environment; `droid` is a data set."""

_PLANNED_IN = ("pointmaze", "wall", "pusht", "metaworld_reach", "metaworld_reach_wall")


def _planner(*percents: float) -> dict[str, float]:
    return {env: percent / 100 for env, percent in zip(_PLANNED_IN, percents, strict=True)}


PLANNERS: dict[str, dict[str, float]] = {
    "cem+l2": _planner(83.9, 78.8, 70.2, 58.2, 41.6),
    "cem+l1": _planner(79.7, 46.7, 63.4, 55.1, 40.8),
    "nevergrad+l2": _planner(72.7, 35.4, 48.0, 29.3, 21.0),
    "nevergrad+l1": _planner(69.5, 30.9, 48.2, 27.8, 21.3),
    "reference_adam+l2": _planner(17.7, 1.1, 9.0, 55.3, 39.7),
    "reference_gd+l2": _planner(17.7, 1.1, 9.1, 55.3, 39.7),
    "reference_gd+l1": _planner(16.1, 0.0, 0.9, 53.3, 40.1),
}
"""Success of the paper's model by planner and cost (table S5.1), then by environment. Its Adam never
takes an Adam step (`planning/reference_gradient.py`)."""
