"""Draw the search of one or more finegrained runs: validation F1 against the used fraction, a panel a run.

Run: .venv/bin/python docs/make_regime_picture.py runs/finegrained/A runs/finegrained/B --out docs/images/regimes.png
"""

import argparse
from pathlib import Path

from mitosieve.report.chart import chart_style
from mitosieve.report.regimes import RegimeSearch, draw_searches, read_search

DPI = 150


def main() -> None:
    """Read the runs and save one PNG."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder with regimes.json")
    parser.add_argument("--out", required=True, type=Path, help="the PNG")
    asked = parser.parse_args()
    searches: dict[str, RegimeSearch] = {}
    for run in asked.runs:
        search = read_search(run)
        if search is None:
            parser.error(f"{run} has no regimes.json")
        name = run.resolve().name
        searches[name if name not in searches else str(run)] = search
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    with chart_style():
        draw_searches(searches).savefig(asked.out, dpi=DPI, metadata={"Software": None})


if __name__ == "__main__":
    main()
