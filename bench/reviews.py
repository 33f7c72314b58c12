"""What decisions of a reader gain: F1 on other cases against how many detections were judged, and which first.

    python bench/reviews.py run COHORT --split SPLIT --fold A --start DETECTOR --out OUT [--tune]
    python bench/reviews.py show OUT... [--picture docs/images/reviews.png]

An oracle answers from marks that are hidden: a detection is a figure where the official rule pairs it with one. The
start detects on the fold's validation cases, which are judged, and on its test cases, on which F1 is told; `--review`
and `--judge` name other cases. Detections are judged in an order: by doubt (score nearest to the threshold), by score
(highest first), at random (of `--orders` orders the one of median F1, of two in the middle the higher, with its own
interval; all stand in its file). After 0, 25, 50, 100, 200 and 400 decisions the threshold is
refitted (`review.adapt`); where that is refused (fewer than 20, or of one kind) it stays, and is counted so. `--tune`
also takes the decisions into the cohort (`import reviews`), trains on (`train swift-tune --start`) and detects anew.

No mark of a test case chooses anything. Intervals are of the package's bootstrap over the test slides or cases. Every
point is a file in OUT and is not made again; a killed run goes on where it was. Cost of a point: a second for the
threshold, a short training and a detection for `--tune` (`--only doubt-100` makes one).
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mitosieve import Cohort, Detector, Split
from mitosieve.annotation import Label
from mitosieve.cohort.split import Fold
from mitosieve.cohort.version import relocated
from mitosieve.detection import Detections, detection_ids
from mitosieve.errors import InputError
from mitosieve.export.table import read_detections, write_detections
from mitosieve.network.compute import Compute
from mitosieve.recipe.recipe import FoldRun, Start, load_recipe, train_fold
from mitosieve.review.adapt import adapt
from mitosieve.review.decision import Decision
from mitosieve.review.judged import Judged
from mitosieve.review.log import DecisionLog
from mitosieve.review.marks import import_reviews
from mitosieve.run.folder import write_json
from mitosieve.run.seed import derive_generator
from mitosieve.score.compare import ScoredMethod, compare
from mitosieve.score.counted import count_in
from mitosieve.score.evaluation import EvaluateConfig, Evaluation, evaluate
from mitosieve.score.match import match_greedy, near_pairs
from mitosieve.sieve.cascade import detect

DECISIONS = (0, 25, 50, 100, 200, 400)
RANKS = ("doubt", "score", "random")


def oracle(found: Detections, cohort: Cohort) -> np.ndarray:
    """Which detections of labelled slides find a figure, at any score; (N,) in the order of the table."""
    answer = np.zeros(len(found), dtype=bool)
    for slide_id in sorted(set(found.slide_id.tolist())):
        rows = np.flatnonzero(found.slide_id == slide_id)
        rows = rows[np.argsort(-found.score[rows], kind="stable")]
        counted = count_in(found[rows], cohort, (cohort.case_of[slide_id],))
        pairs = near_pairs(counted.figures, counted.detections, mpp=counted.mpp)
        chosen = match_greedy(pairs)
        place = {tuple(center): row for center, row in zip(found.center_l0[rows].tolist(), rows.tolist(), strict=True)}
        hit = pairs.detection[chosen[chosen >= 0]]
        answer[[place[tuple(center)] for center in counted.detections.center_l0[hit].tolist()]] = True
    return answer


def order_of(found: Detections, threshold: float, rank: str, seed: int) -> np.ndarray:
    """Rows in the order in which they are judged."""
    generator = derive_generator(seed, f"reviews {rank}")
    shuffled = generator.permutation(len(found))
    if rank == "random":
        return shuffled
    logit = np.log(found.score) - np.log1p(-np.minimum(found.score, 1 - 1e-9))
    middle = np.log(threshold) - np.log1p(-threshold)
    key = np.abs(logit - middle) if rank == "doubt" else -found.score
    return shuffled[np.argsort(key[shuffled], kind="stable")]


def detected(path: Path, detector: Detector, cohort: Cohort, cases: tuple[str, ...], compute: Compute) -> Detections:
    """What a detector finds on cases, kept as a table."""
    if not path.exists():
        print(f"detecting on {', '.join(cases)}", file=sys.stderr)
        write_detections(path, detect(detector, cohort, cases=cases, compute=compute))
    return read_detections(path)


class Setting:
    """What one fold's curve is made of: cases to judge, cases to score, and the start's detections on both."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.cohort = Cohort.load(given.cohort)
        self.fold = Split.load(given.split).fold(given.fold)
        self.review = tuple(given.review.split(",")) if given.review else self.fold.validation
        self.judge = tuple(given.judge.split(",")) if given.judge else self.fold.test
        if set(self.review) & {*self.judge, *self.fold.train} or set(self.judge) & set(self.fold.train):
            raise InputError("reviewed and scored cases must be apart from one another and from train")
        torch.set_num_threads(given.threads)
        self.compute = Compute.choose("cpu" if given.device == "auto" else given.device)
        self.start = Start.load(given.start)
        self.threshold = given.threshold or self.start.detector.config.threshold
        self.found = detected(given.out / "review.csv", self.start.detector, self.cohort, self.review, self.compute)
        self.test = detected(given.out / "test.csv", self.start.detector, self.cohort, self.judge, self.compute)
        self.truth = oracle(self.found, self.cohort)

    def score(self, found: Detections, threshold: float) -> Evaluation:
        return evaluate(found.at_threshold(threshold), self.cohort, cases=self.judge)

    def row(self, found: Detections, threshold: float) -> dict[str, Any]:
        """F1 at a threshold, and its difference from the start as it came, paired over the same resamples."""
        before, after = self.score(self.test, self.threshold), self.score(found, threshold)
        config = EvaluateConfig()
        methods = [ScoredMethod(name=n, slides=e.slides, radius_um=7.5) for n, e in (("0", before), ("1", after))]
        differences = compare(methods, config.generator("reviews")).differences
        told = next(one for one in differences if one.figure == "f1")
        return {
            "threshold": threshold,
            "f1": after.f1,
            "f1_interval": after.interval.to_json(),
            "ap": after.ap,
            "gain": told.value,
            "gain_interval": told.interval.to_json(),
            "unit": after.bootstrap.unit,
        }

    def refitted(self, rows: np.ndarray) -> float | None:
        """The threshold after decisions about some rows; None where they are too few or of one kind."""
        _, slide = np.unique(self.found.slide_id[rows], return_inverse=True)
        judged = Judged(
            score=self.found.score[rows],
            is_figure=self.truth[rows],
            slide=slide.astype(np.intp),
            missed=0,
            left_out=0,
            readers=("oracle",),
        )
        try:
            made = adapt(judged, self.found.score, self.threshold, np.random.default_rng(1), resamples=20)
        except InputError:
            return None
        return made.points["balanced"]


def adapt_point(setting: Setting, rank: str, count: int) -> dict[str, Any]:
    """One point of the curve of thresholds."""
    orders = setting.given.orders if rank == "random" and count else 1
    thresholds = []
    for seed in range(1, orders + 1):
        rows = order_of(setting.found, setting.threshold, rank, seed)[:count]
        thresholds.append(setting.refitted(rows) if count else None)
    used = [setting.threshold if value is None else value for value in thresholds]
    rows = [setting.row(setting.test, value) for value in used]
    middle = int(np.argsort([row["f1"] for row in rows], kind="stable")[len(rows) // 2])  # of several the upper median
    shown = order_of(setting.found, setting.threshold, rank, middle + 1)[:count]
    return {
        **rows[middle],
        "orders": orders,
        "f1_of_orders": [row["f1"] for row in rows],
        "refused": sum(value is None for value in thresholds) if count else 0,
        "judged": len(shown),
        "figures": int(setting.truth[shown].sum()),
    }


def tune_point(setting: Setting, rank: str, count: int, folder: Path) -> dict[str, Any]:
    """One point of the curve of networks: the same decisions imported, trained on, and detected anew."""
    rows = order_of(setting.found, setting.threshold, rank, 1)[:count]
    hidden = setting.cohort.of_cases((*setting.fold.train, *setting.review))
    marked = np.isin(hidden.annotations.slide_id, [e.slide_id for e in setting.cohort.of_cases(setting.review).slides])
    entries = tuple(
        type(e)(**{**e.__dict__, "labelled": False, "roi_wkt": ""}) if e.case_id in setting.review else e
        for e in hidden.slides
    )
    old = relocated(Cohort(hidden.folder, entries, hidden.annotations[~marked]), folder / "old")
    old.save()
    ids = detection_ids(setting.found, setting.start.detector.digest)
    log = DecisionLog(folder / "found" / "decisions.jsonl")
    log.path.parent.mkdir(parents=True, exist_ok=True)
    log.path.unlink(missing_ok=True)
    for row in rows.tolist():
        x, y = setting.found.center_l0[row].tolist()
        log.append(
            Decision.now(
                kind="verdict", slide_id=str(setting.found.slide_id[row]), detection_id=ids[row], x_px=x, y_px=y,
                verdict="figure" if setting.truth[row] else "imposter", reader="oracle", how="gallery",
                detector=setting.start.detector.digest, score=float(setting.found.score[row]),
            )
        )  # fmt: skip
    report = import_reviews(folder / "found", folder / "old", folder / "new")
    labels = report.cohort.annotations.label
    split = Split(folds={"all": Fold(train=report.cohort.cases, validation=(), test=())})
    recipe = load_recipe("swift-tune", (*setting.start.thresholds, *setting.given.set))
    what = FoldRun(
        recipe=recipe, cohort=report.cohort, split=split, fold="all", out=folder / "run", start=setting.start
    )
    detector = train_fold(what, compute=setting.compute, resume=(folder / "run" / "run.json").exists())
    found = detected(folder / "test.csv", detector, setting.cohort, setting.judge, setting.compute)
    return {
        **setting.row(found, setting.threshold),
        "judged": len(rows),
        "figures": int(setting.truth[rows].sum()),
        "figures_in_training": int((labels == Label.MITOTIC_FIGURE.value).sum()),
    }


def run(given: argparse.Namespace) -> None:
    setting = Setting(given)
    facts = {
        "cohort_hash": setting.cohort.hash(), "fold": given.fold, "start": setting.start.detector.digest,
        "threshold": setting.threshold, "review": list(setting.review), "judge": list(setting.judge),
        "detections": len(setting.found), "figures_among_them": int(setting.truth.sum()),
    }  # fmt: skip
    same = given.out / "setting.json"
    if same.exists() and json.loads(same.read_text()) != json.loads(json.dumps(facts)):
        raise InputError("holds another curve", where=given.out, remedy="choose another --out")
    write_json(same, facts)
    for rank in given.ranks.split(","):
        for count in (int(word) for word in given.decisions.split(",")):
            name = f"{rank}-{count}"
            if given.only and name not in given.only.split(","):
                continue
            for kind in ("adapt", *(("tune",) if given.tune and count else ())):
                path = given.out / kind / name / "point.json"
                if not path.exists():
                    point = adapt_point(setting, rank, count) if kind == "adapt" else tune_point(
                        setting, rank, count, path.parent
                    )  # fmt: skip
                    write_json(path, {"rank": rank, "decisions": count, **point})
                told = json.loads(path.read_text())
                low, high = told["gain_interval"]
                print(f"{given.fold} {kind} {name}: F1 {told['f1']:.3f}, gain {told['gain']:+.3f} [{low}, {high}]")


def points_of(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / kind).glob("*/point.json"))]


def show(given: argparse.Namespace) -> None:
    """Markdown tables of the curves, and a picture."""
    for folder in given.folders:
        facts = json.loads((folder / "setting.json").read_text())
        print(f"\nFold {facts['fold']}: judged {', '.join(facts['review'])}; scored {', '.join(facts['judge'])}\n")
        print("| what | decisions | figures among them | threshold | F1 [95 %] | gain [95 %] | AP |")
        print("|---|---|---|---|---|---|---|")
        for kind in ("adapt", "tune"):
            for point in sorted(points_of(folder, kind), key=lambda p: (p["rank"], p["decisions"])):
                f1, gain = (" [{:.3f}, {:.3f}]".format(*point[f"{key}_interval"]) for key in ("f1", "gain"))
                print(
                    f"| {kind}, by {point['rank']} | {point['decisions']} | {point['figures']} | "
                    f"{point['threshold']:.3f} | {point['f1']:.3f}{f1} | {point['gain']:+.3f}{gain} | "
                    f"{point['ap']:.3f} |"
                )
    if given.picture:
        draw(given.folders, given.picture)


def draw(folders: list[Path], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(folders), figsize=(5 * len(folders), 3.6), squeeze=False, sharey=True)
    colours = dict(zip(RANKS, ("#0072b2", "#d55e00", "#777777"), strict=True))
    for axis, folder in zip(axes[0], folders, strict=True):
        for kind, style in (("adapt", "-"), ("tune", "--")):
            for rank in RANKS:
                points = [p for p in points_of(folder, kind) if p["rank"] == rank]
                points.sort(key=lambda p: p["decisions"])
                if not points:
                    continue
                x, y = [p["decisions"] for p in points], [p["f1"] for p in points]
                low, high = zip(*(p["f1_interval"] for p in points), strict=True)
                axis.plot(x, y, style, color=colours[rank], marker="o", label=f"{kind}, by {rank}")
                if rank == "doubt":
                    axis.fill_between(x, low, high, color=colours[rank], alpha=0.12)
        facts = json.loads((folder / "setting.json").read_text())
        axis.set_title(f"judged {', '.join(facts['review'])}; scored {', '.join(facts['judge'])}", fontsize=9)
        axis.set_xlabel("decisions")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("F1 on other cases")
    axes[0][-1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("run")
    one.add_argument("cohort", type=Path)
    one.add_argument("--split", type=Path, required=True)
    one.add_argument("--fold", required=True)
    one.add_argument("--start", required=True, help="detector that has not seen the judged cases")
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--review", default="", help="cases to judge, instead of validation")
    one.add_argument("--judge", default="", help="cases to score, instead of test")
    one.add_argument("--threshold", type=float, default=None, help="to begin with, instead of the start's own")
    one.add_argument("--decisions", default=",".join(map(str, DECISIONS)))
    one.add_argument("--ranks", default=",".join(RANKS))
    one.add_argument("--orders", type=int, default=20)
    one.add_argument("--only", default="", help="points, as doubt-100")
    one.add_argument("--tune", action="store_true")
    one.add_argument("--set", action="append", default=[], help="of recipe swift-tune")
    one.add_argument("--threads", type=int, default=1)
    one.add_argument("--device", default="auto")
    one.set_defaults(do=run)
    other = commands.add_parser("show")
    other.add_argument("folders", type=Path, nargs="+")
    other.add_argument("--picture", type=Path, default=None)
    other.set_defaults(do=show)
    given = parser.parse_args()
    given.do(given)


if __name__ == "__main__":
    main()
