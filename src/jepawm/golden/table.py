"""The results of the golden runner, for people and for programs."""

from collections.abc import Sequence

from jepawm.golden.runner import CaseResult


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
            lines.append(f"    {result.message}")
    lines.append(", ".join(f"{count} {name}" for name, count in count_verdicts(results).items()))
    return "\n".join(lines)


def to_json(results: Sequence[CaseResult]) -> dict[str, object]:
    """Return golden results as a JSON object."""
    cases = [
        {
            "name": result.name,
            "verdict": result.verdict,
            "max_error": max((one.max_error for one in result.comparisons), default=None),
            "of_limit": None if result.worst is None else result.worst.excess,
            "tolerance": result.tolerance,
            "message": result.message,
        }
        for result in results
    ]
    return {"counts": count_verdicts(results), "cases": cases}


def count_verdicts(results: Sequence[CaseResult]) -> dict[str, int]:
    """Count the cases of each verdict."""
    verdicts = [result.verdict for result in results]
    return {
        "passed": verdicts.count("pass"),
        "failed": verdicts.count("fail"),
        "cannot run yet": verdicts.count("cannot run yet"),
    }
