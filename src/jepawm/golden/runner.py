"""Run every golden case of a folder and say which ones hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

from jepawm.errors import UserError, plain_text
from jepawm.golden.case import Comparison, GoldenCase, GoldenError, load_case

Check = Callable[[GoldenCase], Sequence[Comparison]]
Verdict = Literal["pass", "fail", "cannot run yet"]

CHECKS: dict[str, str] = {
    "wall_dynamics": "jepawm.golden.environments:check_wall_dynamics",
    "wall_frames": "jepawm.golden.environments:check_wall_frames",
    "wall_start_goal": "jepawm.golden.environments:check_wall_start_goal",
    "pusht_dynamics": "jepawm.golden.environments:check_pusht_dynamics",
    "pusht_frames": "jepawm.golden.environments:check_pusht_frames",
    "pointmaze_dynamics": "jepawm.golden.environments:check_pointmaze_dynamics",
    "data_slicing": "jepawm.golden.data:check_slicing",
    "train_val_split": "jepawm.golden.data:check_split",
    "planning_objectives": "jepawm.golden.planning:check_objectives",
    "cem_": "jepawm.golden.planning:check_cem",
    "rope_attention": "jepawm.golden.predictors:check_rope_attention",
    "predictor_": "jepawm.golden.predictors:check_predictor",
    "unroll_": "jepawm.golden.predictors:check_unroll",
    "training_loss": "jepawm.golden.training:check_training_loss",
    "image_preprocessing": "jepawm.golden.encoders:check_preprocessing",
    "encoder_": "jepawm.golden.encoders:check_encoder",
    "image_head": "jepawm.golden.encoders:check_image_head",
    "state_head": "jepawm.golden.encoders:check_state_head",
}
"""Check of each kind of case, by how the case's name begins; the longest match counts."""

# What a check raises when a case lacks what it needs, or the code under test gives up on it.
_CASE_ERRORS = (
    GoldenError,
    UserError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """The verdict on one file."""

    name: str
    """The file's path below the folder, without its ending."""
    verdict: Verdict
    """Whether it ran and every value was within its tolerance."""
    comparisons: tuple[Comparison, ...] = ()
    """What was compared."""
    tolerance: str = ""
    """The file's own tolerance, as text."""
    message: str = ""
    """Why it failed or cannot run."""

    @property
    def worst(self) -> Comparison | None:
        """Return the comparison that comes nearest to its limit, or furthest beyond it."""
        return max(self.comparisons, key=lambda one: one.excess, default=None)


@dataclass(frozen=True, kw_only=True)
class CaseSummary:
    """A case in numbers."""

    name: str
    """The file's path below the folder, without its ending."""
    verdict: Verdict
    """Whether it ran and every value was within its tolerance."""
    max_error: float | None
    """Largest error; None: nothing was compared."""
    of_limit: float | None
    """Largest error as a fraction of what its tolerance allows; None: nothing was compared."""
    tolerance: str
    """The file's own tolerance, as text."""
    message: str
    """Why it failed or cannot run."""


@dataclass(frozen=True, kw_only=True)
class GoldenSummary:
    """All cases of a folder in numbers."""

    counts: dict[str, int]
    """Cases of each verdict."""
    cases: Sequence[CaseSummary]
    """Each case, by name."""


def run(folder: Path) -> list[CaseResult]:
    """Run every `.npz` file below `folder`, sorted by name; one bad file stops no other."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder of the golden .npz files")
    paths = sorted(folder.rglob("*.npz"))
    if not paths:
        raise UserError(f"{folder} holds no .npz file; give the folder of the golden files")
    names = [plain_text(str(path.relative_to(folder).with_suffix(""))) for path in paths]
    return [run_file(path, name=name) for path, name in zip(paths, names, strict=True)]


def run_file(path: Path, *, name: str) -> CaseResult:
    """Run the case in one file and report it under `name`."""
    try:
        case = load_case(path)
    except GoldenError as error:
        return CaseResult(name=name, verdict="fail", message=str(error))
    tolerance = ", ".join(f"{key} {value:g}" for key, value in case.tolerance.items())
    target = find_check(case)
    if target is None:
        return CaseResult(
            name=name,
            verdict="cannot run yet",
            tolerance=tolerance,
            message="no check is known for this kind of case",
        )
    try:
        comparisons = tuple(_load_check(target)(case))
    except _CASE_ERRORS as error:
        message = f"{type(error).__name__}: {error}"
        return CaseResult(name=name, verdict="fail", tolerance=tolerance, message=message)
    return CaseResult(
        name=name,
        verdict="pass" if comparisons and all(one.passed for one in comparisons) else "fail",
        comparisons=comparisons,
        tolerance=tolerance,
        message=_explain(comparisons),
    )


def find_check(case: GoldenCase) -> str | None:
    """Return the check of a case as `module:function`, by file name, else by its `case` entry."""
    names = [case.name]
    if "case" in case.meta:
        names.append(str(case.meta["case"]))
    for name in names:
        matches = [prefix for prefix in CHECKS if name.startswith(prefix)]
        if matches:
            return CHECKS[max(matches, key=len)]
    return None


def all_passed(results: Sequence[CaseResult]) -> bool:
    """Return whether every case ran and passed."""
    return all(result.verdict == "pass" for result in results)


def any_differs(results: Sequence[CaseResult]) -> bool:
    """Return whether a case was compared and did not pass: a fault of this program, or of the file."""
    return any(result.verdict == "fail" and result.comparisons for result in results)


def _load_check(target: str) -> Check:
    module, function = target.split(":")
    return getattr(import_module(module), function)


def _explain(comparisons: Sequence[Comparison]) -> str:
    if not comparisons:
        return "the check compared nothing"
    failed = [one.name for one in comparisons if not one.passed]
    if not failed:
        return ""
    return f"{len(failed)} of {len(comparisons)} beyond tolerance: {', '.join(failed[:4])}"


def render(results: Sequence[CaseResult]) -> str:
    """Render a row per golden case and a last line with the counts."""
    width = max(len(result.name) for result in results)
    head = f"{'case':<{width}}  {'verdict':<14}  {'max error':>9}  {'of limit':>8}  tolerance"
    lines = [head]
    for result in results:
        row = f"{result.name:<{width}}  {result.verdict:<14}  "
        if result.worst is None:
            row += f"{'-':>9}  {'-':>8}  {result.tolerance}"
        else:
            largest = max(one.max_error for one in result.comparisons)
            row += f"{largest:>9.2g}  {result.worst.excess:>8.2g}  {result.tolerance}"
        lines.append(row.rstrip())
        if result.message:
            lines.append(f"    {plain_text(result.message)}")
    counts = count_verdicts(results).items()
    lines.append(", ".join(f"{count} {name}".replace("_", " ") for name, count in counts))
    return "\n".join(lines)


def summarize(results: Sequence[CaseResult]) -> GoldenSummary:
    """Return golden results in numbers."""
    cases = [
        CaseSummary(
            name=result.name,
            verdict=result.verdict,
            max_error=max((one.max_error for one in result.comparisons), default=None),
            of_limit=None if result.worst is None else result.worst.excess,
            tolerance=result.tolerance,
            message=result.message,
        )
        for result in results
    ]
    return GoldenSummary(counts=count_verdicts(results), cases=cases)


def count_verdicts(results: Sequence[CaseResult]) -> dict[str, int]:
    """Count the cases of each verdict."""
    verdicts = [result.verdict for result in results]
    return {
        "passed": verdicts.count("pass"),
        "failed": verdicts.count("fail"),
        "cannot_run_yet": verdicts.count("cannot run yet"),
    }
