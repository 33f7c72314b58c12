"""Label noise where the truth is known: what DASC's memory finds of it, against loss and cleanlab, and its worth.

    python bench/noise.py OUT [--shares 0.05,0.1,0.2] [--seeds 1,2] [--device cpu] [--set KEY=VALUE ...]

For each share of noise and each seed: draws a phantom in whose marks that share is wrong (figures marked as imposters,
imposters marked as figures, and half as many figures unmarked and background nuclei marked as figures), trains recipe
dasc-small on fold A with the control "memory" (nothing is cleaned), and scores the detectors on test cases
against the TRUE figures, whatever was marked. A training label is wrong where what it says is not what its cell is.

Prints, per share: precision and recall of the verdict "noise" by the recipe's rule, by that with its first thresholds
and by the literal one, and of cleanlab's issues; area under the ROC curve of each ranking of the labels; F1 with and
without cleaning. Then means.
`--only-tables` reads runs that are there.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from sklearn.metrics import roc_auc_score

from mitosieve.annotation import Annotations, Label
from mitosieve.audit.ranking import cleanlab_verdict, mean_loss
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Split
from mitosieve.method.dasc.recipe import DascRecipe
from mitosieve.method.dasc.rules.memory import Memory
from mitosieve.method.dasc.rules.verdict import Verdict, VerdictConfig, label_verdicts, suspicion
from mitosieve.network.compute import Compute
from mitosieve.patch.index import Origin
from mitosieve.phantom import PhantomConfig, make_phantom, read_truth
from mitosieve.recipe.recipe import FoldRun, load_recipe, train_fold
from mitosieve.run import layout
from mitosieve.run.folder import write_json
from mitosieve.score.evaluation import evaluate
from mitosieve.sieve.cascade import detect
from mitosieve.sieve.detector import Detector
from mitosieve.train.places import Places

COHORT = PhantomConfig(cases=12, slides_per_case=3, size_px=(1280, 1280), difficulty=0.3)
SETTINGS = (
    'controls=["memory"]',
    "search.train.patch_visits=20000",
    *(f"{part}.train.batch_size=32" for part in ("memory", "contrast", "out_of_fold")),
    "contrast.train.epochs=40",
    "out_of_fold.train.epochs=30",
)
"""Some hundred labels make few batches of 64: smaller ones, and more epochs where nothing is counted by them."""

SAME_UM = 4.0
"""A label's cell is the true cell this near to its mark or place."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shares", default="0.05,0.1,0.2")
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--only-tables", action="store_true")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    cv2.setNumThreads(1)
    rows = []
    for share in map(float, asked.shares.split(",")):
        for seed in map(int, asked.seeds.split(",")):
            place = asked.out / f"noise-{share:g}-seed-{seed}"
            if not asked.only_tables:
                run(place, share, seed, (*SETTINGS, *asked.settings), Compute.choose(asked.device))
            told = json.loads((place / "found.json").read_text())
            rows.append({"share": share, "seed": seed, **told})
            print(json.dumps(rows[-1]), flush=True)
    table = pd.DataFrame(rows).drop(columns="seed").groupby("share").mean()
    with pd.option_context("display.width", 200, "display.max_rows", None):
        print(table.T.round(3).to_string())


def run(place: Path, share: float, seed: int, settings: tuple[str, ...], compute: Compute) -> None:
    folder = place / "cohort"
    if not folder.exists():
        config = replace(COHORT, flipped=share, missed=share / 2, added=share / 2)
        make_phantom(folder, config, np.random.default_rng([17, seed]))
    cohort = Cohort.load(folder)
    split = Split.by_case(cohort, folds=3, generator=np.random.default_rng(1))
    recipe = load_recipe("dasc-small", (*settings, f"seed={seed}"))
    what = FoldRun(recipe=recipe, cohort=cohort, split=split, fold="A", out=place / "run")
    train_fold(what, compute=compute, resume=what.out.exists())
    found = {**of_labels(what.out, cohort), **of_detectors(what.out, cohort, split.fold("A").test, compute)}
    write_json(place / "found.json", found)


def of_labels(folder: Path, cohort: Cohort) -> dict[str, float | None]:
    """What is found of the training labels that are wrong."""
    labels, memory = Places.load(folder / layout.LABELS), Memory.load(folder)
    wrong = is_wrong(labels, cohort)
    score = pd.read_parquet(folder / "out-of-fold.parquet")["score"].to_numpy()
    issues, quality = cleanlab_verdict(labels.index.label, score)
    right = np.where(labels.index.label == 1, score, 1 - score).astype(np.float64)
    told: dict[str, float | None] = {"labels": len(labels), "wrong": int(wrong.sum())}
    for name, config in (
        ("recipe", load_dasc().memory.verdict),
        ("fraction with centroid, from 0.5", VerdictConfig()),
        ("literal", VerdictConfig(rule="literal")),
    ):
        told |= precision_recall(name, label_verdicts(memory, config, 1) == Verdict.NOISE.value, wrong)
    told |= precision_recall("cleanlab", issues, wrong)
    rankings = {
        "suspicion": suspicion(memory),
        "loss in training": mean_loss(memory.history),
        "loss in training, last epoch": -np.log(np.maximum(memory.history[-1].astype(np.float64), 1e-7)),
        "noise share": memory.noise_share,
        "forget rate": memory.forget_rate,
        "centroid rate": memory.centroid_rate,
        "1 - mean confidence": 1 - memory.mean_confidence(),
        "loss out of fold": -np.log(np.maximum(right, 1e-7)),
        "cleanlab": 1 - quality,
    }
    marked = labels.mark >= 0
    for name, value in rankings.items():
        told[f"area {name}"] = float(roc_auc_score(wrong, value))
        told[f"area {name}, marks"] = float(roc_auc_score(wrong[marked], value[marked]))
    return told


def load_dasc() -> DascRecipe:
    recipe = load_recipe("dasc-small")
    assert isinstance(recipe, DascRecipe)
    return recipe


def is_wrong(labels: Places, cohort: Cohort) -> NDArray[np.bool_]:
    """Which labels say what their cell is not: figures that are none, and others that are figures."""
    truth = read_truth(cohort.folder)
    is_figure = np.zeros(len(labels), dtype=bool)
    mpp = {entry.slide_id: entry.mpp for entry in cohort.slides}
    at = labels.index.center_l0 + labels.offset_um / np.array([[mpp[str(name)]] for name in labels.index.slide_id])
    for name in np.unique(labels.index.slide_id):
        mine = np.flatnonzero(labels.index.slide_id == name)
        figures = truth[(truth.slide_id == name) & (truth.true_label == Label.MITOTIC_FIGURE.value)].center_l0
        if len(figures):
            is_figure[mine] = KDTree(figures).query(at[mine])[0] * mpp[str(name)] <= SAME_UM
    return is_figure != (labels.index.origin == Origin.FIGURE.value)


def precision_recall(name: str, called: NDArray[np.bool_], wrong: NDArray[np.bool_]) -> dict[str, float | None]:
    hit = int((called & wrong).sum())
    return {
        f"precision {name}": hit / int(called.sum()) if called.any() else None,
        f"recall {name}": hit / max(1, int(wrong.sum())),
        f"called {name}": int(called.sum()),
    }


def of_detectors(folder: Path, cohort: Cohort, cases: tuple[str, ...], compute: Compute) -> dict[str, float]:
    """F1 on test cases against the true figures; thresholds are those that the noisy validation marks gave."""
    truth = read_truth(cohort.folder)
    real = truth[truth.true_label == Label.MITOTIC_FIGURE.value]
    marks = Annotations.of(
        slide_id=real.slide_id.tolist(),
        center_l0=[(float(x), float(y)) for x, y in real.center_l0],
        label=[Label.MITOTIC_FIGURE.value] * len(real),
    )
    clean = Cohort(cohort.folder, cohort.slides, marks)
    told: dict[str, float] = {}
    for path in sorted(folder.glob("detector*")):
        result = evaluate(detect(Detector.load(path), clean, cases=cases, compute=compute), clean, cases=cases)
        told[f"F1 {path.name}"] = result.pooled.f1
        told[f"AP {path.name}"] = float(result.ap)
    return told


if __name__ == "__main__":
    main()
