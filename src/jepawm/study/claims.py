"""What the paper claims about its choices (section 4), as comparisons that rows can decide."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jepawm.report.paper import PAPER, PLANNERS

Expectation = Literal["more", "no more"]
"""`more`: the first value succeeds more often; `no more`: it gains nothing worth having."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim."""

    id: str
    """Short name."""
    says: str
    """The finding, in words."""
    axis: str
    """Axis whose rows decide it."""
    first: str
    """Value that it speaks for."""
    second: str
    """Value that it compares with."""
    expects: Expectation = "more"
    """What the first value does."""
    environments: tuple[str, ...] = ()
    """Environments that it is about; empty: any."""
    noisy: bool = False
    """Whether it is about noisy worlds, the stand-in for real data; else about plain ones."""
    paper: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """The paper's success rates of both values by environment, where it gives them."""
    figure: str = ""
    """What else the paper says in numbers."""
    recipes: tuple[str, ...] = ("study_grid",)
    """Bases that decide it; the command names the first."""

    @property
    def command(self) -> str:
        """Return what makes its rows."""
        noise = f" --noise {NOISE:g}" if self.noisy else ""
        values = f"--values {self.first},{self.second}{noise}"
        return f"jepawm study run {self.axis} {self.recipes[0]} {values}"

    def is_about(self, env: str) -> bool:
        """Return whether an environment can decide it."""
        noisy = env.startswith("noisy:")
        return noisy == self.noisy and (not self.environments or env in self.environments)


@dataclass(frozen=True, kw_only=True)
class Beyond:
    """A claim that the study cannot decide."""

    says: str
    """The finding, in words."""
    why: str
    """Why not here."""
    command: str
    """What would decide it where that is at hand."""


def _planned(first: str, second: str) -> dict[str, tuple[float, float]]:
    return {env: (PLANNERS[first][env], PLANNERS[second][env]) for env in PLANNERS[first]}


def _table_1(other: Literal["dino_wm", "vjepa2_ac"]) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for env, row in PAPER.items():
        number = getattr(row, other)
        if number is not None and row.measure == "success":
            found[env] = (row.jepa_wm.success, number.success)
    return found


NOISE = 0.5
"""Strength of the noise in commands of claims about real data."""
_NAVIGATION = ("wall", "pointmaze")
_TOKEN = ("study_token",)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="window-2-over-1",
        says="A context of two beats one by far: two frames show velocity.",
        axis="window",
        first="2",
        second="1",
    ),
    Claim(
        id="window-3-over-2",
        says="A context of three is best in simulation.",
        axis="window",
        first="3",
        second="2",
    ),
    Claim(
        id="window-7-over-3",
        says="Longer contexts gain nothing in simulation.",
        axis="window",
        first="7",
        second="3",
        expects="no more",
    ),
    Claim(
        id="rollout-2-over-1",
        says="A two-step rollout loss beats teacher forcing alone.",
        axis="rollout_steps",
        first="2",
        second="1",
    ),
    Claim(
        id="rollout-2-over-6",
        says="In simulation more than two rollout steps hurt.",
        axis="rollout_steps",
        first="2",
        second="6",
    ),
    Claim(
        id="gradient-last-over-all",
        says="Truncated backpropagation through a rollout beats full gradients.",
        axis="rollout_gradient",
        first="last",
        second="all",
    ),
    Claim(
        id="prefix-random-over-first",
        says="Rollouts that start after a random true prefix are best.",
        axis="rollout_prefix",
        first="random",
        second="first",
    ),
    Claim(
        id="mse-over-l1",
        says="MSE is the best distance to train with.",
        axis="distance",
        first="mse",
        second="l1",
    ),
    Claim(
        id="mse-over-smooth-l1",
        says="MSE is the best distance to train with.",
        axis="distance",
        first="mse",
        second="smooth_l1",
    ),
    Claim(
        id="proprio-over-none",
        says="Proprioception helps everywhere.",
        axis="proprio",
        first="feature",
        second="none",
        figure="Metaworld, mean of two tasks: 39.2 with it, 29.7 without",
    ),
    Claim(
        id="dino-over-vjepa",
        says="DINO encoders are clearly above V-JEPA (here: small transformers of one size, pretrained "
        "on the frames of the environment).",
        axis="encoder",
        first="dino",
        second="vjepa",
    ),
    Claim(
        id="adaln-rope-over-feature-sincos",
        says="AdaLN with RoPE is best on average, by a little.",
        axis="conditioning_positions",
        first="adaln+rope",
        second="feature+sincos",
    ),
    Claim(
        id="adaln-over-sequence",
        says="AdaLN with RoPE is best on average, by a little.",
        axis="conditioning_positions",
        first="adaln+rope",
        second="sequence+rope",
    ),
    Claim(
        id="feature-over-adaln-wall",
        says="On Wall, feature conditioning wins.",
        axis="conditioning_positions",
        first="feature+rope",
        second="adaln+rope",
        environments=("wall",),
    ),
    Claim(
        id="size-l-over-s",
        says="In simulation a larger model gains nothing.",
        axis="size",
        first="L",
        second="S",
        expects="no more",
        figure="Metaworld: 29.7 with ViT-S, 19.4 with ViT-L",
    ),
    Claim(
        id="size-l-over-s-noisy",
        says="On real data a larger model helps (here: a noisy world).",
        axis="size",
        first="L",
        second="S",
        noisy=True,
    ),
    Claim(
        id="depth-6-over-3",
        says="On Wall and Maze a predictor of depth 3 is enough.",
        axis="depth",
        first="6",
        second="3",
        expects="no more",
        environments=_NAVIGATION,
    ),
    Claim(
        id="depth-6-over-3-noisy",
        says="On real data a deeper predictor helps (here: a noisy world).",
        axis="depth",
        first="6",
        second="3",
        noisy=True,
    ),
    Claim(
        id="recipe-over-dino-wm",
        says="The recipe beats DINO-WM.",
        axis="recipe",
        first="small_jepa_wm",
        second="small_dino_wm",
        paper=_table_1("dino_wm"),
        recipes=("small_jepa_wm_wall",),
    ),
    Claim(
        id="recipe-over-vjepa2-ac",
        says="The recipe beats V-JEPA-2-AC.",
        axis="recipe",
        first="small_jepa_wm",
        second="small_vjepa2_ac",
        paper=_table_1("vjepa2_ac"),
        figure="RoboCasa: 25.4 against 16.2 on Reach, 30.7 against 33.1 on Place",
        recipes=("small_jepa_wm_wall",),
    ),
    Claim(
        id="data-100-over-10",
        says="More data always helps.",
        axis="data",
        first="100",
        second="10",
    ),
    Claim(
        id="data-10-over-2",
        says="More data always helps.",
        axis="data",
        first="10",
        second="2",
    ),
    Claim(
        id="cem-l2-over-cem-l1",
        says="The cost L2 beats L1; on Wall by 32 points.",
        axis="planner_cost",
        first="cem+l2",
        second="cem+l1",
        paper=_planned("cem+l2", "cem+l1"),
        recipes=_TOKEN,
    ),
    Claim(
        id="cem-over-nevergrad",
        says="CEM beats Nevergrad in simulation.",
        axis="planner_cost",
        first="cem+l2",
        second="nevergrad+l2",
        paper=_planned("cem+l2", "nevergrad+l2"),
        recipes=_TOKEN,
    ),
    Claim(
        id="cem-over-gd",
        says="Gradient descent fails in navigation.",
        axis="planner_cost",
        first="cem+l2",
        second="reference_gd+l2",
        environments=_NAVIGATION,
        paper=_planned("cem+l2", "reference_gd+l2"),
        recipes=_TOKEN,
    ),
    Claim(
        id="cem-over-adam",
        says="Adam fails in navigation (the paper's never takes an Adam step).",
        axis="planner_cost",
        first="cem+l2",
        second="reference_adam+l2",
        environments=_NAVIGATION,
        paper=_planned("cem+l2", "reference_adam+l2"),
        recipes=_TOKEN,
    ),
    Claim(
        id="cem-over-real-adam",
        says="Gradient descent fails in navigation: here with an Adam that steps.",
        axis="planner_cost",
        first="cem+l2",
        second="adam+l2",
        environments=_NAVIGATION,
        recipes=_TOKEN,
    ),
    Claim(
        id="cem-over-our-gd",
        says="Gradient descent fails in navigation: here with several starts and scaled steps.",
        axis="planner_cost",
        first="cem+l2",
        second="gd+l2",
        environments=_NAVIGATION,
        recipes=_TOKEN,
    ),
)
"""Claims in the order of the paper's section 4."""

BEYOND: tuple[Beyond, ...] = (
    Beyond(
        says="Prediction error and success go together over checkpoints (Spearman 0.47 to 0.86).",
        why="no axis: a diagnosis of one run measures it",
        command="jepawm diagnose RUN",
    ),
    Beyond(
        says="Failures push into the wall beside the door, drift to the border, oscillate at the goal.",
        why="no axis: a diagnosis of one run counts them",
        command="jepawm diagnose RUN",
    ),
    Beyond(
        says="DINO encoders (ViT-L) are clearly above V-JEPA; DINOv3 is above DINOv2 on photographs only.",
        why="small transformers cannot speak for ViT-L: needs the published weights and an accelerator",
        command="jepawm train jepa_wm_wall --encoder dinov2 --encoder.weights hub; then --encoder "
        "dinov3, vjepa, vjepa2",
    ),
    Beyond(
        says="On DROID more rollout steps, longer contexts, larger and deeper models help.",
        why="needs the DROID recordings and an accelerator",
        command="jepawm train jepa_wm_droid --loss.rollout-steps 6 --predictor.window 5",
    ),
    Beyond(
        says="On RoboCasa Nevergrad is level with CEM, and sequence conditioning wins.",
        why="needs RoboCasa and its assets",
        command="jepawm eval jepa_wm_droid --planner nevergrad",
    ),
)
"""Claims without a verdict, and why."""
