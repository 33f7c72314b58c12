"""Scores of a sieve training's out-of-fold detections, by source: `python bench/out_of_fold.py RUN COHORT`.

Every slide was judged by networks that have not seen its patient (`RUN/out-of-fold`). The threshold of each patient is
that of best pooled F1 on all other patients, so that no patient had a part in its own. Prints a row a domain and a row
for all: figures, found, false alarms, missed, F1 with its 95 % interval (bootstrap over slides within cases),
precision, recall, average precision.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from mitosieve.cohort.cohort import Cohort
from mitosieve.export.table import read_detections
from mitosieve.score.evaluation import choose_threshold, evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("cohort", type=Path)
    given = parser.parse_args()
    found = read_detections(given.run / "out-of-fold" / "detections.csv")
    whole = Cohort.load(given.cohort)
    judged = {str(name) for name in np.unique(found.slide_id)}
    sources = {entry.source for entry in whole.slides if entry.slide_id in judged}  # a slide may have no detection
    kept = tuple(entry for entry in whole.slides if entry.labelled and entry.source in sources)
    marks = whole.annotations[np.isin(whole.annotations.slide_id, [entry.slide_id for entry in kept])]
    cohort = Cohort(whole.folder, kept, marks)
    is_figure = np.zeros(len(found), dtype=bool)
    case_of = cohort.case_of
    case = np.array([case_of[str(name)] for name in found.slide_id])
    for name in cohort.cases:
        others = tuple(one for one in cohort.cases if one != name)
        threshold = choose_threshold(found[case != name], cohort.of_cases(others), cases=others).threshold
        mine = case == name
        is_figure[mine] = found.score[mine] >= threshold
        print(f"{name}: threshold {threshold:.3f} from the others", flush=True)
    judged_found = replace(found, is_figure=is_figure)
    print("part", "figures", "tp", "fp", "fn", "f1", "low", "high", "precision", "recall", "ap", sep="\t")
    for part in (*sorted({entry.domain for entry in kept}), "all"):
        own = cohort if part == "all" else cohort.of_domain(part)
        rows = judged_found[np.isin(found.slide_id, [entry.slide_id for entry in own.slides])]
        content = evaluate(rows, own).to_json()
        pooled = content["pooled"]
        low, high = pooled["f1_interval"]
        values = [pooled["f1"], low, high, pooled["precision"], pooled["recall"], content["ap"]]
        counts = [pooled[name] for name in ("figures", "tp", "fp", "fn")]
        print(part, *counts, *(f"{value:.3f}" for value in values), sep="\t")


if __name__ == "__main__":
    main()
