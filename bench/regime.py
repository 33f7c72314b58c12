"""The search over mining regimes where the truth is known: a phantom whose unlabelled slides hold figures.

    python bench/regime.py OUT [--workers 2]

Draws a cohort with marked figures and imposters on labelled cases and as many figures, unmarked, on unlabelled cases;
trains recipe finegrained-small (narrower and shorter: see SETTINGS) on fold A; prints what each cap drops of the
unlabelled candidates, by the truth, and whether a regime between the extremes wins on validation.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch

from mitosieve.annotation import Label
from mitosieve.cli.terminal import print_regimes
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Split
from mitosieve.network.compute import Compute
from mitosieve.parallel.processes import ProcessMap
from mitosieve.patch.index import Origin
from mitosieve.phantom import PhantomConfig, make_phantom, read_truth
from mitosieve.recipe.recipe import FoldRun, load_recipe, train_fold
from mitosieve.run import layout
from mitosieve.train.places import Places
from mitosieve.train.proposals import TruthConfig, sort_proposals
from mitosieve.train.scores import PoolScores

COHORT = PhantomConfig(cases=14, slides_per_case=2, size_px=(1024, 1024), difficulty=0.4, unlabelled_cases=5)
TRAINING = ("patch_visits=6000",)
SETTINGS = (
    *(f"{part}.{setting}" for part in ("first.train", "trial", "ensemble.train") for setting in TRAINING),
    "network.widths=[4, 6, 8, 16]",
    "network.head=32",
    "ensemble.members=2",
    'controls=[{name = "no_cap", about = "nothing dropped", cap = 1.0}, {name = "random", choice = "random"}]',
)
CAPS = (0.3, 0.5, 0.7, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    folder = asked.out / "cohort"
    if not folder.exists():
        make_phantom(folder, COHORT, np.random.default_rng(11))
    cohort = Cohort.load(folder)
    split = Split.by_case(cohort, folds=3, generator=np.random.default_rng(1))
    what = FoldRun(
        recipe=load_recipe("finegrained-small", SETTINGS), cohort=cohort, split=split, fold="A", out=asked.out / "run"
    )
    with ProcessMap(workers=asked.workers, threads=1) as mapper:
        train_fold(what, compute=Compute.choose("cpu"), resume=what.out.exists(), mapper=mapper)
    print_caps(what.out, folder)
    content = json.loads((what.out / "regimes.json").read_text())
    print_regimes(content)
    print_winner(content)


def print_caps(run: Path, cohort: Path) -> None:
    """Of the unlabelled candidates at or above each cap, how many are figures by the truth, and how many of all."""
    places, truth = Places.load(run / layout.places_of("train")), read_truth(cohort)
    score = PoolScores.load(run / layout.scores_of_round(1), places.index.patch_id).score
    rows = places.index.with_origin(Origin.UNLABELLED)
    is_figure = np.zeros(len(rows), dtype=bool)
    true_figure = truth.true_label == Label.MITOTIC_FIGURE.value
    for name in np.unique(places.index.slide_id[rows]):
        mine = places.index.slide_id[rows] == name
        figures = truth.center_l0[true_figure & (truth.slide_id == name)]
        center = places.index.center_l0[rows[mine]]
        is_figure[mine] = sort_proposals(center * 0.25, figures * 0.25, TruthConfig())[0]
    print(f"unlabelled candidates: {len(rows)}, of them {int(is_figure.sum())} are unmarked figures")
    for cap in CAPS:
        dropped = score[rows] >= cap
        hit = int((dropped & is_figure).sum())
        print(
            f"cap {cap:.1f}: drops {int(dropped.sum())}, {hit} of them figures: "
            f"recall {hit / max(1, is_figure.sum()):.3f}, precision {hit / max(1, dropped.sum()):.3f}"
        )


def print_winner(content: dict) -> None:
    """Whether a regime between keeping all and keeping least did best."""
    regimes = content["rounds"][0]["regimes"]
    shares = sorted({row["regime"]["labelled"] for row in regimes})
    best = max(regimes, key=lambda row: (row["mean"], -row["patches"]))
    between = shares[0] < best["regime"]["labelled"] < shares[-1]
    everything = max(row["mean"] for row in regimes if row["regime"]["labelled"] == shares[-1])
    least = max(row["mean"] for row in regimes if row["regime"]["labelled"] == shares[0])
    print(
        f"best: share {best['regime']['labelled']:g}, cap {best['regime']['cap']:g}: {best['mean']:.3f} "
        f"[{best['low']:.3f}, {best['high']:.3f}]; all {everything:.3f}; least {least:.3f}; "
        f"{'a regime between the extremes wins' if between else 'NO regime between the extremes wins'}"
    )


if __name__ == "__main__":
    main()
