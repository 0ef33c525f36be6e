"""Run the commands of `test_first_minutes.py`, each in a fork in which a package is absent.

What all commands import is imported once.
"""

import json
import os
import sys
from importlib import import_module
from pathlib import Path

import jepawm.runs
from jepawm.cli import main

SHARED = ("jepawm.build", "jepawm.experiment", "jepawm.recipes", "jepawm.hub.load")


class Absent:
    """Say of one package that it is not there."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def run(package: str, words: list[str], *, folder: Path) -> None:
    """Do what the command does without the package; ends this process."""
    os.dup2(os.open(folder / "err", os.O_WRONLY | os.O_CREAT), 2)
    for name in [one for one in sys.modules if one.partition(".")[0] == package]:
        del sys.modules[name]
    sys.meta_path.insert(0, Absent(package))
    os.environ |= {"HF_HOME": str(folder / "hub"), "JEPAWM_DATA": str(folder / "data")}
    os.chdir(folder)
    code = 70
    try:
        code = main(words)
    finally:
        sys.stderr.flush()
        os._exit(code)


def start() -> None:
    for name in SHARED:
        import_module(name)
    for name in jepawm.runs.__all__:
        getattr(jepawm.runs, name)
    codes = []
    for case in json.loads(Path(sys.argv[1]).read_text()):
        child = os.fork()
        if child == 0:
            run(case["package"], case["words"], folder=Path(case["folder"]))
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    Path(sys.argv[2]).write_text(json.dumps(codes))


if __name__ == "__main__":
    start()
