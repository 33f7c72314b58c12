"""Scores of a sieve training's out-of-fold detections, by source: `python bench/out_of_fold.py RUN COHORT`.

Every whole slide of the run's training patients (`RUN/places`; crops are left out) was judged by networks that have not
seen its patient (`RUN/out-of-fold`). The threshold of each patient is that of best pooled F1 on all other patients, so
that no patient had a part in its own. Prints a row a domain and a row for all: figures, found, false alarms, missed, F1
with its 95 % interval (bootstrap over cases, below five over slides within them), precision,
recall, average precision; - where one is not defined.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from mitosieve.cohort.cohort import Cohort
from mitosieve.export.table import read_detections
from mitosieve.method.sieve.out_of_fold import whole_slides
from mitosieve.method.sieve.recipe import SieveRecipe
from mitosieve.method.sieve.task import crops_of
from mitosieve.recipe.recipe import load_recipe
from mitosieve.score.evaluation import choose_threshold, evaluate
from mitosieve.train import Places


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("cohort", type=Path)
    given = parser.parse_args()
    found = read_detections(given.run / "out-of-fold" / "detections.csv")
    whole = Cohort.load(given.cohort)
    cohort = judged_slides(given.run, whole)
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
    for part in (*sorted({entry.domain for entry in cohort.slides}), "all"):
        own = cohort if part == "all" else cohort.of_domain(part)
        rows = judged_found[np.isin(found.slide_id, [entry.slide_id for entry in own.slides])]
        content = evaluate(rows, own).to_json()
        pooled = content["pooled"]
        low, high = pooled.get("f1_interval") or (None, None)
        values = [pooled["f1"], low, high, pooled["precision"], pooled["recall"], content["ap"]]
        counts = [pooled[name] for name in ("figures", "tp", "fp", "fn")]
        print(part, *counts, *("-" if value is None else f"{value:.3f}" for value in values), sep="\t")


def judged_slides(run: Path, whole: Cohort) -> Cohort:
    """What the run judged: the whole slides of the patients that it learned from, with a detection or without."""
    recipe = load_recipe(str(run / "recipe.toml"))
    assert isinstance(recipe, SieveRecipe), f"{run} is no sieve training"
    places = Places.load(run / "places" / "train.parquet")
    case_of = whole.case_of
    cases = tuple(sorted({case_of[str(name)] for name in np.unique(places.index.slide_id)}))
    return whole_slides(whole, cases, set(crops_of(recipe, whole)))


if __name__ == "__main__":
    main()
