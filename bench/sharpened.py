"""What sharpness does to a detector: `python bench/sharpened.py DETECTOR COHORT --cases H04`.

Each image of the cases is blurred or sharpened by so much of what a Gaussian of 0.8 px takes away, as scanners and
their software differ, and detected on anew. Printed for each amount: Laplacian variance, figures found and falsely
called, F1 at the detector's threshold, average precision, and how far the logit of the same place moves (median, and
middle half). 0 is the image as it is, written and read once more.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from mitosieve.calibration import logits_of
from mitosieve.cohort.cohort import Cohort
from mitosieve.detection import Detections
from mitosieve.network.compute import Compute
from mitosieve.score.evaluation import evaluate
from mitosieve.sieve.cascade import detect
from mitosieve.sieve.detector import Detector

SIGMA_PX = 0.8
SAME_PX = 2.0
"""Detections this near to each other are of one place."""


def changed(pixels: NDArray[np.uint8], amount: float) -> NDArray[np.uint8]:
    """Sharpened, or blurred by an amount below 0."""
    image = pixels.astype(np.float32)
    detail = image - cv2.GaussianBlur(image, (0, 0), SIGMA_PX)
    return np.clip(np.rint(image + amount * detail), 0, 255).astype(np.uint8)


def changed_cohort(cohort: Cohort, amount: float, folder: Path) -> tuple[Cohort, float]:
    """The cohort's images at another sharpness, and the mean of their Laplacian variances."""
    entries, sharp = [], []
    for number, entry in enumerate(cohort.slides):
        with cohort.open(entry.slide_id) as slide:
            pixels = changed(slide.read_l0(slide.bounds), amount)
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), pixels[..., ::-1])
        sharp.append(float(cv2.Laplacian(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var()))
        entries.append(replace(entry, path=str(path)))
    return Cohort(folder, tuple(entries), cohort.annotations), float(np.mean(sharp))


def moved(before: Detections, after: Detections) -> NDArray[np.float64]:
    """Difference of logit of places that both have."""
    found: list[NDArray[np.float64]] = [np.zeros(0)]
    for slide_id in dict.fromkeys(before.slide_id.tolist()):
        one, other = before.of_slide(slide_id), after.of_slide(slide_id)
        if len(other):
            distance, row = KDTree(other.center_l0).query(one.center_l0)
            near = distance <= SAME_PX
            found.append(logits_of(other.score[row[near]]) - logits_of(one.score[near]))
    return np.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector")
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--cases", required=True, help="comma-separated")
    parser.add_argument("--source", default="", help="of the cohort's sources this one alone")
    parser.add_argument("--amounts", default="0,-0.6,-0.3,0.3,0.6", help="the first is compared with")
    asked = parser.parse_args()
    detector, compute = Detector.load(asked.detector), Compute.choose("cpu")
    whole = Cohort.load(asked.cohort).of_cases(tuple(asked.cases.split(",")))
    kept = tuple(entry for entry in whole.slides if entry.labelled and asked.source in ("", entry.source))
    names = [entry.slide_id for entry in kept]
    cohort = Cohort(whole.folder, kept, whole.annotations[np.isin(whole.annotations.slide_id, names)])
    first: Detections | None = None
    for amount in map(float, asked.amounts.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            other, sharp = changed_cohort(cohort, amount, Path(folder))
            found = detect(detector, other, compute=compute)
        result = evaluate(found, cohort)
        first = found if first is None else first
        low, middle, high = np.quantile(moved(first, found), (0.25, 0.5, 0.75))
        print(
            f"{amount:+.1f}: Laplacian variance {sharp:.0f}, found {result.pooled.tp}, false {result.pooled.fp}, "
            f"F1 {result.f1:.3f}, AP {result.ap:.3f}, logit moves {middle:+.2f} [{low:+.2f}, {high:+.2f}]",
            flush=True,
        )


if __name__ == "__main__":
    main()
