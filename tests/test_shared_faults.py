"""Every case of ../shared/faults, where it lies beside the repository, ends as its README says."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAULTS = ROOT.parent / "shared" / "faults"
CASES = sorted(file.parent.name for file in FAULTS.glob("*/run.sh"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CASES, reason="there is no ../shared/faults"),
]
REFUSED = [
    "checkpoint",
    "config",
    "demos",
    "folder",
    "golden",
    "h5",
    "lerobot21",
    "lerobot",
    "mp4",
    "non",
    "npz",
    "png",
    "pusht",
    "robomimic",
    "wall",
]
"""First words of the cases whose input is refused; others may also end well."""
WORDS_OF_OLD = {"config_json_not_sealed", "float_pixels_and_goal_batch", "planted_kernel_library"}
"""Cases whose own script fails, as it uses names or files that are there no more."""


CODE_OF_LS = {"png_is_eps_runs_ghostscript"}
"""Cases whose script prints the exit code of another command; what was said decides."""


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """Return the path of a `jepawm` of this source, with a `python` beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, words in (("jepawm", "-P -m jepawm"), ("python", "")):  # as installed
        script = folder / name
        path = f'"{ROOT / "src"}${{PYTHONPATH:+:$PYTHONPATH}}"'
        script.write_text(
            f'#!/bin/bash\nexport PYTHONPATH={path}\nexec "{sys.executable}" {words} "$@"\n'
        )
        script.chmod(0o755)
    return folder / "jepawm"


@pytest.mark.parametrize("case", CASES or ["none"])
def test_case_ends_as_it_should(case: str, tmp_path: Path, command: Path):
    for name in (case, "_secret"):
        shutil.copytree(FAULTS / name, tmp_path / name)
    subprocess.run(["chmod", "-R", "u+w", str(tmp_path)], check=True)  # the cases are read-only
    done = subprocess.run(
        ["bash", str(tmp_path / case / "run.sh")],
        env={"JEPAWM": str(command), "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=600,
        check=False,
    )
    said = done.stdout + done.stderr
    assert "fault of the program" not in said
    assert case in WORDS_OF_OLD or "Traceback" not in said
    assert not re.search(r"\brc=(1|124|137)\b", said), said
    if case in CODE_OF_LS:
        assert re.search(r"^jepawm: .*; ", said, re.MULTILINE), said
        assert "_WAS_RUN" not in said
        return
    codes = {int(code) for code in re.findall(r"exit code (\d+)", done.stdout)}
    assert codes <= {2} or (case.partition("_")[0] not in REFUSED and codes <= {0, 2, 126}), said
    assert not list(tmp_path.rglob("*_RAN")), "code of a file ran"
