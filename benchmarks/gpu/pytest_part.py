"""Run tests of the repository on this machine, slow ones and those of matrix tiles included."""

import re
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree as ET

from child import Child, ChildError


def run_tests(
    tests: Sequence[str], *, root: Path, logs: Path
) -> Callable[[float], dict[str, object]]:
    """Start them; returns what waits for them until a time and returns the row."""
    report = logs / "tests.xml"
    there = [str(root / name) for name in tests if (root / name).exists()]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "slow or not slow", "-p",
               "no:cacheprovider", f"--rootdir={root}", f"--junitxml={report}", *there]  # fmt: skip
    if find_spec("xdist") is not None:
        command += ["-n", "4"]
    child = Child(command, log=logs / "tests.log")
    lines: list[str] = []

    def wait(until: float) -> dict[str, object]:
        try:
            while (line := child.line(until=until)) is not None:
                lines.append(line)
        except ChildError as error:
            return {"error": f"{error} {''.join(lines)[-1000:]}"}
        finally:
            child.close()
        if not report.is_file():
            return {"error": "".join(lines)[-1500:] + child.tail()}
        return read_report(report, last=lines[-1].strip() if lines else "")

    return wait


def read_report(path: Path, *, last: str) -> dict[str, object]:
    """Return counts, those of the tests of matrix tiles, and the failed ones."""
    cases = list(ET.parse(path).getroot().iter("testcase"))

    def has(case: ET.Element, *kinds: str) -> bool:
        return any(case.find(kind) is not None for kind in kinds)

    tiles = [case for case in cases if re.search(r"kernels\.test_split", case.get("classname", ""))]
    failed = [case for case in cases if has(case, "failure", "error")]
    messages = []
    for case in failed[:10]:
        found = case.find("failure")
        found = case.find("error") if found is None else found
        message = "" if found is None else (found.get("message") or "")
        messages.append(f"{case.get('classname')}::{case.get('name')}: {message[:300]}")
    return {
        "passed": not failed,
        "num_tests": len(cases),
        "num_failed": len(failed),
        "num_skipped": sum(has(case, "skipped") for case in cases),
        "kernel_tests_run": sum(not has(case, "skipped") for case in tiles),
        "kernel_tests_failed": sum(has(case, "failure", "error") for case in tiles),
        "failed": messages,
        "summary": last,
    }
