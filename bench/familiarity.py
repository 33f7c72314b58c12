"""Whether a detector knows what it does not know: `python bench/familiarity.py DETECTOR`.

DETECTOR is of fold A of `mitos14`, or of what `--validation` and `--test` say. Of the sets in $MITOSIEVE_DATA:

1. For each trait the area under the ROC curve of foreign against home slides, and the share of slides that warn. Home
   are the frames of one case of `mitos14` beside the frames of all others, each case in turn. Crops of `amibr` are
   pooled by case, as in training.
2. The same of scores, which the validation cases judge alone, with the test cases as home.
3. By source, how strange its slides are (median distance in limits), and the detector's F1.
4. What the traits cost.

Frames of `icpr12` and `aperio_a03` are of the patients H03 and H04 of `mitos14` (other scanner, other fields).
"""

import argparse
import csv
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

from mitosieve.annotation import Annotations
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.familiarity import Familiarity
from mitosieve.network.compute import Compute
from mitosieve.score.evaluation import choose_threshold, evaluate
from mitosieve.sieve.cascade import Sieved, detect, detect_slide
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.reference import TRAITS, Reference
from mitosieve.sieve.score_counts import BINS, LOGIT_STEP, LOGIT_TOP
from mitosieve.sieve.traits import LEAST_PIECES, MOST_PIECES, SlideTraits, measure_pieces, tissue_pieces
from mitosieve.slide.overview import look_over
from mitosieve.slide.slide import open_slide

DATA = Path(os.environ.get("MITOSIEVE_DATA", Path(__file__).parents[2] / "shared" / "data"))
HOME = "mitos14"
FRAMES = {HOME: 0.2273, "icpr12": 0.2456, "aperio_a03": 0.2456, "brecahad": 0.25}
"""um per px; that of brecahad is not stated."""
UNLABELLED_MPP = 0.25


@dataclass(frozen=True)
class Seen:
    """One slide, or the crops of one case."""

    source: str
    case: str
    traits: SlideTraits


def marks_of(source: str) -> list[dict[str, str]]:
    with (DATA / source / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def cohort_of(source: str, folder: Path, cases: set[str] | None = None) -> Cohort:
    """A set of frames as a cohort; its cases carry the set's name where it is not home."""
    rows = marks_of(source)
    case_of = {row["image"]: row["case"] for row in rows}
    usual = rows[0]["case"]
    entries: list[SlideEntry] = []
    for path in sorted((DATA / source / "frames").iterdir()):
        case = case_of.get(path.name, usual)
        if cases is None or case in cases:
            name = f"{source} {case}"
            entry = SlideEntry(
                slide_id=path.stem, path=str(path), case_id=name, domain=source, mpp=FRAMES[source], width_l0=0
            )
            entries.append(entry)
    kept = {entry.slide_id for entry in entries}
    own = [row for row in rows if Path(row["image"]).stem in kept]
    marks = Annotations.of(
        slide_id=[Path(row["image"]).stem for row in own],
        center_l0=[(float(row["x"]), float(row["y"])) for row in own],
        label=[row["label"] for row in own],
        source="labels.csv",
    )
    return Cohort(folder, tuple(entries), marks)


def pieces_of(path: Path, mpp: float, frame_mpp: float) -> list[NDArray[np.uint8]]:
    with open_slide(path, mpp=mpp) as slide:
        return tissue_pieces(slide, look_over(slide).tissue, frame_mpp)


def seen_frames(source: str, paths: Iterable[tuple[str, Path]], mpp: float, frame_mpp: float) -> list[Seen]:
    return [Seen(source, case, measure_pieces(pieces_of(path, mpp, frame_mpp), mpp)) for case, path in paths]


def seen_crops(frame_mpp: float) -> list[Seen]:
    """The crops of `amibr`, those of one case together; sources are its scanners."""
    files: dict[tuple[str, str, float], list[Path]] = defaultdict(list)
    for row in marks_of("amibr"):
        key = (f"amibr {row['domain']}", row["case"], float(row["mpp"]))
        path = DATA / "amibr" / "patches" / row["patch"]
        if path not in files[key]:
            files[key].append(path)
    seen: list[Seen] = []
    for (source, case, mpp), paths in files.items():
        pieces = [piece for path in paths[:MOST_PIECES] for piece in pieces_of(path, mpp, frame_mpp)]
        if len(pieces) >= LEAST_PIECES:
            seen.append(Seen(source, case, measure_pieces(pieces, mpp)))
    return seen


def everything_seen(frame_mpp: float) -> list[Seen]:
    seen: list[Seen] = []
    for source, mpp in FRAMES.items():
        case_of = {row["image"]: row["case"] for row in marks_of(source)}
        paths = sorted((DATA / source / "frames").iterdir())
        seen += seen_frames(source, [(case_of.get(path.name, "none"), path) for path in paths], mpp, frame_mpp)
    tiles = [(path.stem, path) for path in sorted((DATA / "unlabelled").glob("*.jpg"))]
    return [*seen, *seen_frames("unlabelled", tiles, UNLABELLED_MPP, frame_mpp), *seen_crops(frame_mpp)]


def area_under_curve(foreign: NDArray[np.float64], home: NDArray[np.float64]) -> float:
    rank = rankdata(np.concatenate([foreign, home]))[: len(foreign)].sum()
    return float((rank - len(foreign) * (len(foreign) + 1) / 2) / (len(foreign) * len(home)))


Strange = Callable[[Reference, Seen], float]
"""How strange a slide is beside a reference, above 1 it warns."""


def strange_by(name: str) -> Strange:
    def strange(reference: Reference, slide: Seen) -> float:
        likeness = reference.compare(slide.traits, np.zeros(BINS, dtype=np.int64))
        if name == "all":
            return likeness.strangeness or 0.0
        trait = likeness.traits.get(name)
        if trait is None:
            return 0.0
        return np.inf if trait.distance is None else trait.distance / trait.limit

    return strange


def strange_by_mahalanobis(reference: Reference, slide: Seen) -> float:
    """Alternative: from the middle of all slides, covariance shrunk by a tenth; limit by cases left out."""
    known = reference.known["stain"]
    rows, vector = known.values / known.spread, slide.traits.stain
    if vector is None:
        return np.inf
    far = [_mahalanobis(rows[known.case != one], rows[known.case == one]) for one in np.unique(known.case)]
    limit = np.quantile(np.concatenate(far), 0.99)
    return float(_mahalanobis(rows, np.array([vector]) / known.spread)[0] / limit)


def _mahalanobis(rows: NDArray[np.float64], some: NDArray[np.float64]) -> NDArray[np.float64]:
    covariance = np.cov(rows.T)
    width = len(covariance)
    shrunk = 0.9 * covariance + 0.1 * np.trace(covariance) / width * np.eye(width)
    apart = some - np.median(rows, axis=0)
    return np.sqrt(np.einsum("ij,jk,ik->i", apart, np.linalg.inv(shrunk), apart) / width)


def compare_traits(seen: list[Seen]) -> None:
    home = [slide for slide in seen if slide.source == HOME]
    sources = list(dict.fromkeys(slide.source for slide in seen if slide.source != HOME))
    ways = {name: strange_by(name) for name in (*TRAITS, "all") if name != "scores"}
    ways["stain, Mahalanobis"] = strange_by_mahalanobis
    print("1. AUC of foreign against home slides / share that warn; mean over home cases left out")
    print("\t".join(["trait", "home warns", *sources, "all foreign"]))
    cases = sorted({slide.case for slide in home})
    references = {
        out: Reference.of([(slide.case, slide.traits) for slide in home if slide.case != out]) for out in cases
    }
    for name, strange in ways.items():
        area: dict[str, list[tuple[float, float]]] = defaultdict(list)
        warns: list[float] = []
        for out, reference in references.items():
            own = np.array([strange(reference, slide) for slide in home if slide.case == out])
            warns.append(float((own > 1).mean()))
            far = {s: np.array([strange(reference, slide) for slide in seen if slide.source == s]) for s in sources}
            far["all foreign"] = np.concatenate(list(far.values()))
            for source, values in far.items():
                area[source].append((area_under_curve(values, own), float((values > 1).mean())))
        cells = ["{:.3f} / {:.2f}".format(*np.mean(area[source], axis=0)) for source in (*sources, "all foreign")]
        print("\t".join([name, f"{np.mean(warns):.3f}", *cells]))


def reference_for(detector: Detector, seen: list[Seen], test: set[str], counts: list[tuple[str, NDArray[np.int64]]]):  # noqa: ANN201
    """The detector's own reference, or, of a detector of before, the one that a training would have left."""
    if detector.reference is not None:
        return detector.reference
    home = [slide for slide in seen if slide.source == HOME and slide.case not in test]
    return Reference.of([(slide.case, slide.traits) for slide in home], counts)


def logit_at(share: float) -> Callable[[NDArray[np.int64]], float]:
    """Alternative to the share of places that look like figures: a quantile of the logits of all places."""
    edges = -LOGIT_TOP + LOGIT_STEP * np.arange(BINS + 1)

    def at(counts: NDArray[np.int64]) -> float:
        return float(np.interp(share, np.concatenate([[0.0], np.cumsum(counts)]) / max(1, counts.sum()), edges))

    return at


def run(detector: Detector, cohort: Cohort) -> tuple[dict[str, Sieved], float, float]:
    """What is seen of each slide; F1 at the detector's threshold, and the best F1."""
    sieved: dict[str, Sieved] = {}
    found = detect(
        detector,
        cohort,
        compute=Compute.choose("cpu"),
        on_slide=lambda slide, seen: sieved.update({slide.slide_id: seen}),
    )
    return sieved, evaluate(found, cohort).f1, choose_threshold(found, cohort).f1


def compare_scores(detector: Detector, seen: list[Seen], validation: set[str], test: set[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        parts = {f"{HOME} {case}": cohort_of(HOME, Path(folder), {case}) for case in sorted(validation | test)}
        for source in FRAMES:
            if source != HOME:
                for case in sorted({row["case"] for row in marks_of(source)}):
                    parts[f"{source} {case}"] = cohort_of(source, Path(folder), {case})
        done = {name: run(detector, cohort) for name, cohort in parts.items()}
    counts = {name: [item.counts for item in sieved.values()] for name, (sieved, *_) in done.items()}
    judges = [(name, item) for name in counts if name.removeprefix(f"{HOME} ") in validation for item in counts[name]]
    reference = reference_for(detector, seen, test, judges)
    compare_score_numbers(counts, judges, {f"{HOME} {case}" for case in test})
    print("\n3. F1 by source (the validation cases chose the threshold; test cases are home)")
    columns = ("slides", "F1", "best F1", "lost", *TRAITS, "all: median", "warn")
    print("\t".join(["source", *columns]))
    table: list[list[float]] = []
    for name, (sieved, f1, best) in done.items():
        likeness = [reference.compare(item.survey.traits, item.counts) for item in sieved.values()]
        strange = [float(np.median([_share(one, trait) for one in likeness])) for trait in TRAITS]
        strange.append(float(np.median([one.strangeness or 0.0 for one in likeness])))
        warns = np.mean([bool(one.warnings) for one in likeness])
        cells = [f"{value:.2f}" for value in strange]
        print("\t".join([name, str(len(sieved)), f"{f1:.3f}", f"{best:.3f}", f"{best - f1:.3f}", *cells]), end="")
        print(f"\t{warns:.2f}")
        if name.removeprefix(f"{HOME} ") not in validation:
            table.append([f1, best - f1, *strange])
    rho = [
        [spearmanr(column, target).statistic for column in np.array(table).T[2:]] for target in np.array(table).T[:2]
    ]
    for what, row in zip(("F1", "F1 lost"), rho, strict=True):
        cells = ", ".join(f"{name} {value:.2f}" for name, value in zip((*TRAITS, "all"), row, strict=True))
        print(f"Spearman's rank correlation with {what} over {len(table)} sources: {cells}")


def _share(one: Familiarity, trait: str) -> float:
    """A trait's distance in limits; 0 where it was not measured."""
    likeness = one.traits.get(trait)
    return 0.0 if likeness is None or likeness.distance is None else likeness.distance / likeness.limit


def compare_score_numbers(
    counts: dict[str, list[NDArray[np.int64]]], judges: list[tuple[str, NDArray[np.int64]]], home: set[str]
) -> None:
    """The trait "scores", and what else might have stood in its place, as table 1."""
    reference = Reference.of([], judges)
    bare = SlideTraits(resolution=0.0, stain=None, sharpness=None)

    def own(item: NDArray[np.int64]) -> float:
        return reference.compare(bare, item).strangeness or 0.0

    def by(number: Callable[[NDArray[np.int64]], float]) -> Callable[[NDArray[np.int64]], float]:
        values, cases = np.array([number(item) for _, item in judges]), np.array([case for case, _ in judges])
        spread = max(0.25, 1.4826 * float(np.median(np.abs(values - np.median(values)))))
        left = [np.abs(v - values[cases != c]).min() for v, c in zip(values, cases, strict=True)]
        limit = max(spread, float(np.quantile(left, 0.99)))
        return lambda item: float(np.abs(number(item) - values).min() / limit)

    ways = {"scores": own, **{f"logit at {share:g}": by(logit_at(share)) for share in (0.5, 0.9, 0.97)}}
    foreign = [name for name in counts if not name.startswith(HOME)]
    print("\n2. Scores of the first stage, as table 1; home are the test cases")
    print("\t".join(["number", "home warns", *foreign]))
    for name, strange in ways.items():
        near = np.array([strange(item) for case in home for item in counts[case]])
        far = [np.array([strange(item) for item in counts[source]]) for source in foreign]
        cells = [f"{area_under_curve(values, near):.3f} / {(values > 1).mean():.2f}" for values in far]
        print("\t".join([name, f"{(near > 1).mean():.3f}", *cells]))


def print_cost(detector: Detector) -> None:
    """CPU time, which other work on the machine changes least; opening the file and writing results not counted."""
    paths = sorted((DATA / HOME / "frames").iterdir())[::8]
    compute, mpp = Compute.choose("cpu"), detector.config.frame.mpp
    own, whole = 0.0, 0.0
    for path in (paths[0], *paths):  # the first one warms up
        with open_slide(path, mpp=FRAMES[HOME]) as slide:
            tissue = look_over(slide).tissue
            start = time.process_time()
            measure_pieces(tissue_pieces(slide, tissue, mpp), slide.mpp)
            between = time.process_time()
            detect_slide(detector, slide, compute=compute)
            end = time.process_time()
        if path != paths[0]:
            own, whole = own + between - start, whole + end - between
    count = len(paths) - 1
    print(
        f"\n4. Traits of a frame of {HOME}: {1000 * own / count:.1f} ms of CPU time, {own / whole:.1%} of the "
        f"{1000 * whole / count:.0f} ms that the detector takes for it"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="whether a detector knows what it does not know")
    parser.add_argument("detector", type=Path)
    parser.add_argument("--validation", default="H14,H18", help="cases of mitos14 that chose its threshold")
    parser.add_argument("--test", default="H04", help="cases of mitos14 that it has not seen")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    detector = Detector.load(options.detector)
    seen = everything_seen(detector.config.frame.mpp)
    compare_traits(seen)
    compare_scores(detector, seen, set(options.validation.split(",")), set(options.test.split(",")))
    print_cost(detector)


if __name__ == "__main__":
    main()
