"""Does DASC doubt the labels that experts disagreed on? `python bench/agreement.py COHORT RUN [RUN ...]`

Needs a cohort whose marks have an expert score (the share of raters who called it a figure). For each run, over its
training labels, within figures and within imposters: the rank correlation of the expert score with the mean probability
that the memory's fused head gave to "mitotic figure", and with the suspicion of the label; with 95 % intervals of a
bootstrap over slides (fewer than ten cases: too narrow, it leaves out how cases differ). Then the verdicts by score.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from mitosieve.cohort.cohort import Cohort
from mitosieve.method.dasc.rules.memory import Memory
from mitosieve.method.dasc.rules.verdict import suspicion
from mitosieve.method.dasc.verdicts import Verdicts
from mitosieve.patch.index import Origin
from mitosieve.run import layout
from mitosieve.run.seed import derive_generator
from mitosieve.train.places import Places

DRAWS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("runs", nargs="+", type=Path)
    asked = parser.parse_args()
    cohort = Cohort.load(asked.cohort)
    for run in asked.runs:
        tell(run, cohort)


def tell(run: Path, cohort: Cohort) -> None:
    labels, memory = Places.load(run / layout.LABELS), Memory.load(run)
    found = Verdicts.load(run / layout.VERDICTS, labels.index.patch_id)
    expert = np.where(labels.mark >= 0, cohort.annotations.score[np.maximum(labels.mark, 0)], np.nan)
    right = memory.mean_confidence()
    figure = np.where(labels.index.label == 1, right, 1 - right)
    for origin in (Origin.FIGURE, Origin.IMPOSTER):
        mine = np.flatnonzero((labels.index.origin == origin.value) & np.isfinite(expert))
        for name, value in (("probability of figure", figure), ("suspicion", suspicion(memory))):
            rho, low, high = correlation(value[mine], expert[mine], labels.index.slide_id[mine])
            print(f"{run.name} {origin.value}s ({len(mine)}): {name} {rho:+.3f} [{low:+.3f}, {high:+.3f}]")
    kind = np.where(np.isfinite(expert), [f"{o} {s:g}" for o, s in zip(labels.index.origin, expert, strict=True)], "")
    kind = np.where(kind == "", labels.index.origin, kind)
    table = pd.DataFrame(
        {"label": kind, "of": 1, "noise": found.verdict == "noise", "hard": found.verdict == "hard", "kept": found.kept}
    )
    means = table.groupby("label").agg({"of": "sum", "noise": "mean", "hard": "mean", "kept": "mean"})
    print(means.round(3).to_string(), flush=True)


def correlation(
    value: NDArray[np.floating], expert: NDArray[np.floating], slide: NDArray[np.str_]
) -> tuple[float, float, float]:
    """Spearman's rho with the 95 % interval over draws of slides."""
    names, of = np.unique(slide, return_inverse=True)
    rows = [np.flatnonzero(of == number) for number in range(len(names))]
    generator = derive_generator(1, "agreement")
    drawn: list[float] = []
    for _ in range(DRAWS):
        some = np.concatenate([rows[i] for i in generator.integers(0, len(rows), len(rows))])
        if len(np.unique(expert[some])) > 1 and len(np.unique(value[some])) > 1:
            drawn.append(float(spearmanr(value[some], expert[some]).statistic))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(spearmanr(value, expert).statistic), float(low), float(high)


if __name__ == "__main__":
    main()
