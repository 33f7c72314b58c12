"""The AMIBR crops as a cohort: `python bench/amibr.py OUT`, or added to one: `--add-to COHORT`.

Terms: research use, non-commercial; the crops, and a cohort of them, are never redistributed.

The crops ($MITOSIEVE_DATA/amibr: 128x128 px round figures of MIDOG 2021 and TUPAC16) are imported as the format
`points` with case, domain and mpp of each. Crops that were padded with black at their slide's border are left out: a
network would learn the black. A crop has a figure in its middle and hardly any area, so it is for training only: with
`--folds` (CSV fold,case,part of the cohort that is added to) and `--table`, a table is written in which all its cases
are in train of every fold, for `mitosieve split COHORT --table TABLE`.

    python bench/amibr.py --add-to cohort --folds ../shared/data/mitos14/folds.csv --table folds.csv
"""

import argparse
import csv
import io
import os
import tempfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from mitosieve.cohort.area import padding_px
from mitosieve.cohort.cohort import SLIDES_FILE, Cohort
from mitosieve.cohort.importing import import_cohort
from mitosieve.cohort.split import Split
from mitosieve.cohort.table import Row, read_table
from mitosieve.errors import MitosieveError
from mitosieve.run.folder import write_atomic

DATA = Path(os.environ.get("MITOSIEVE_DATA", Path(__file__).parents[2] / "shared" / "data")) / "amibr"

COLUMNS = ("image", "x", "y", "label", "case", "domain", "mpp")


def padding_of(rows: list[Row]) -> dict[str, int]:
    """Padded px by crop name; an unreadable crop ends the script."""
    found: dict[str, int] = {}
    for name in dict.fromkeys(row.values["patch"] for row in rows):
        pixels = cv2.imread(str(DATA / "patches" / name), cv2.IMREAD_COLOR)
        if pixels is None:
            raise SystemExit(f"{DATA / 'patches' / name}: cannot be read\nremedy: fetch the crops again")
        found[name] = max(padding_px(np.asarray(pixels, dtype=np.uint8)))
    return found


def as_csv(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()


def points_of(rows: list[Row], kept: set[str]) -> str:
    wanted = [row.values for row in rows if row.values["patch"] in kept]
    return as_csv(COLUMNS, [(v["patch"], *(v[name] for name in COLUMNS[1:])) for v in wanted])


def table_with(folds: Path, cases: set[str], cohort: Cohort) -> str:
    """The rows of `folds`, which must fit the cohort as it is, and for each fold all `cases` in train."""
    given = Split.from_table(folds)
    given.with_unlabelled(cohort).check(cohort, where=folds)
    known = sorted(cases & given.cases)
    if known:
        raise SystemExit(f"{folds}: names {known[0]} already\nremedy: give the folds of the cohort without the crops")
    rows = [tuple(row.values[n] for n in ("fold", "case", "part")) for row in read_table(folds, required=("fold",))]
    rows += [(fold, case, "train") for fold in given.folds for case in sorted(cases)]
    return as_csv(("fold", "case", "part"), rows)


def print_counts(rows: list[Row], padding: dict[str, int]) -> None:
    """Crops, cases and marks by domain, after what was left out."""
    print("domain", "cases", "crops", "left out", "figures", "imposters", sep="\t")
    for domain in (*sorted({row.values["domain"] for row in rows}), "total"):
        own = [row.values for row in rows if domain in {row.values["domain"], "total"}]
        kept = [values for values in own if not padding[values["patch"]]]
        names = {values["patch"] for values in own}
        labels = Counter(values["label"] for values in kept)
        out = sum(padding[name] > 0 for name in names)
        cases = len({values["case"] for values in kept})
        print(domain, cases, len(names) - out, out, labels["mitotic figure"], labels["imposter"], sep="\t")


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("out", nargs="?", type=Path, help="cohort folder to make")
    place.add_argument("--add-to", type=Path, metavar="COHORT", help="cohort to add to")
    parser.add_argument("--folds", type=Path, help="CSV fold,case,part of that cohort")
    parser.add_argument("--table", type=Path, help="CSV to write: those folds with all cases of the crops in train")
    given = parser.parse_args()
    if (given.folds is None) != (given.table is None) or (given.folds and not given.add_to):
        parser.error("--folds and --table go together, with --add-to")
    if given.out and (given.out / SLIDES_FILE).exists():
        parser.error(f"{given.out} is a cohort already: name another folder, or use --add-to")
    return given


def main() -> None:
    given = asked()
    labels = DATA / "labels.csv"
    rows = read_table(labels, required=("patch", *COLUMNS[1:]))
    padding = padding_of(rows)
    kept = {name for name, px in padding.items() if not px}
    cases = {row.values["case"] for row in rows if row.values["patch"] in kept}
    # whatever is wrong with the cohort or its folds is said before anything is written
    old = Cohort.load(given.add_to) if given.add_to else None
    table = table_with(given.folds, cases, old) if given.folds and old else ""
    folder = given.out if old is None else old.folder
    with tempfile.TemporaryDirectory() as scratch:
        points = write_atomic(Path(scratch) / "amibr.csv", points_of(rows, kept))
        report = import_cohort("points", points, folder, images=DATA / "patches")
    if table:
        write_atomic(given.table, table)
    print_counts(rows, padding)
    print(f"{len(padding) - len(kept)} crops are padded with black at an edge and were left out")
    for warning in report.warnings:
        print(f"warning: {warning}")
    print(folder)
    if table:
        print(given.table)


if __name__ == "__main__":
    try:
        main()
    except MitosieveError as error:
        raise SystemExit(str(error)) from error
