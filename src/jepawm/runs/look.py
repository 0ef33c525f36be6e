"""`jepawm report` and `jepawm list`."""

from pathlib import Path

from jepawm.data.exporting import EXPORTERS
from jepawm.data.formats import FORMATS
from jepawm.envs import ENVIRONMENTS
from jepawm.hub.load import bundled_names
from jepawm.hub.released import DECODERS, RELEASED
from jepawm.planning import PLANNERS
from jepawm.protocol import PROTOCOLS
from jepawm.recipes import RECIPES
from jepawm.report import write_report


def report_run(run: Path) -> Path:
    """Write the report of a run folder; returns its path."""
    return write_report(run)


def list_all() -> dict[str, object]:
    """List everything that has a name."""
    return {
        "recipes": RECIPES.names(),
        "environments": ENVIRONMENTS.names(),
        "planners": PLANNERS.names(),
        "protocols": sorted(PROTOCOLS),
        "data_formats": FORMATS.names(),
        "export_formats": EXPORTERS.names(),
        "checkpoints": bundled_names(),
        "released": sorted(RELEASED),
        "released_decoders": sorted(DECODERS),
    }
