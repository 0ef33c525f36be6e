"""One run: its rows, its clock, its processes."""

import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from child import Child, start_script
from scale import Scale


@dataclass(kw_only=True)
class Run:
    """Where rows go, and until when."""

    scale: Scale
    """What is measured."""
    device: str
    """Where."""
    tiny: bool
    """Whether it is only tried."""
    results: Path
    """File of the rows."""
    logs: Path
    """Folder of what the processes print."""
    common: Mapping[str, object]
    """What all rows say."""
    reserved: float = 0.0
    """Seconds at the end that a later part needs."""
    start: float = field(default_factory=monotonic)
    """When it began."""
    num_failed: int = 0
    """Rows that failed."""

    def row(self, section: str, **more: object) -> None:
        """Write and print a row."""
        failed = "error" in more or more.get("passed") is False
        self.num_failed += failed
        seconds = round(monotonic() - self.start, 1)
        row = {**self.common, "section": section, "at_seconds": seconds, **more}
        with self.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{seconds:6.1f} s  {'FAILED  ' if failed else ''}{section:9} {brief(more)}",
              flush=True)  # fmt: skip

    def guard(self, section: str, part: Callable[[], None]) -> None:
        """Run a part; where it fails, say so in a row and go on."""
        try:
            part()
        except Exception:  # noqa: BLE001 - the next part runs all the same
            self.row(section, error=traceback.format_exc()[-3000:])

    def until(self, seconds: float) -> float:
        """Return the end of a part that takes so long, before that of the whole."""
        return min(monotonic() + seconds, self.start + self.scale.total_seconds - self.reserved)

    def child(self, script: str, name: str, **spec: object) -> Child:
        """Start a process."""
        whole = {"device": self.device, "tiny": self.tiny, **spec}
        return start_script(script, whole, log=self.logs / f"{name.replace('/', '-')}.log")


def brief(row: Mapping[str, object]) -> str:
    """Return what of a row fits a line."""
    hidden = {"compiler", "where", "chunk", "horizon", "bounds", "bound_of", "gflop_plain"}
    shown = []
    for name, value in row.items():
        if name in hidden:
            continue
        if isinstance(value, float):
            shown.append(f"{name}={value:.4g}")
        elif isinstance(value, dict):
            shown.append(f"{name}=" + ",".join(f"{k}:{v:.2g}" if isinstance(v, float) else f"{k}:{v}"
                                              for k, v in value.items()))  # fmt: skip
        elif name in ("seconds_from_to", "ms_from_to") and isinstance(value, list):
            shown.append("(" + " to ".join(f"{one:.4g}" for one in value) + ")")
        else:
            shown.append(f"{name}={value}")
    return " ".join(shown)
