"""Draw the drift of models into docs/images, from the last row of each in results/diagnose.jsonl.

jepawm diagnose wall --row results/diagnose.jsonl
python benchmarks/drift.py wall pointmaze pusht
"""

import argparse
import json
from pathlib import Path

from drawing import write_chart

from jepawm.diagnosis.drift import Drift
from jepawm.report.diagnosis import drift_charts
from jepawm.strict_json import strict_converter

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Draw one picture for each model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+", help="names of models in the rows")
    parser.add_argument("--rows", type=Path, default=ROOT / "results" / "diagnose.jsonl")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.rows.read_text(encoding="utf-8").splitlines()]
    drawn = {row["source"]: row for row in rows if row["drift"] is not None}
    for source in options.sources:
        if source not in drawn:
            parser.error(f"no row of {source} in {options.rows} has drift")
        drift = strict_converter().structure(drawn[source]["drift"], Drift)
        chart = drift_charts(drift)[0]
        path = ROOT / "docs" / "images" / f"drift-{source}.svg"
        write_chart(chart, path)
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
