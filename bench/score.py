"""Seconds to score 1e6 detections against 1e5 figures: matching, sweep, bootstrap, and all of `evaluate`.

Run: python bench/score.py [--detections 1000000] [--figures 100000]
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from mitosieve.annotation import Annotations, Label
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.detection import Detections, suppress
from mitosieve.score.counted import count_in
from mitosieve.score.evaluation import evaluate
from mitosieve.score.interval import resample
from mitosieve.score.match import match_greedy, match_optimal, near_pairs
from mitosieve.score.sweep import sweep

MPP = 0.25
DENSITY_PER_MM2 = 1600
"""Detections per mm2 of the made slides: as dense as candidate nuclei, far denser than what a detector keeps."""

T = TypeVar("T")


def timed(what: str, job: Callable[[], T]) -> T:
    """Run, print seconds, return the result."""
    start = time.perf_counter()
    result = job()
    print(f"  {what:<44}{time.perf_counter() - start:8.2f} s")
    return result


def made(num_slides: int, num_detections: int, num_figures: int) -> tuple[Cohort, Detections]:
    """Random cells; 70 % of the figures have a detection within some um, the other detections lie anywhere."""
    generator = np.random.default_rng(1)
    side = round(np.sqrt(num_detections / num_slides / DENSITY_PER_MM2) * 1000 / MPP)
    ids = np.array([f"slide_{number:04d}" for number in range(num_slides)])
    figures = generator.uniform(0, side, (num_figures, 2)).round()
    figure_slide = np.sort(generator.integers(0, num_slides, num_figures))
    near = generator.permutation(num_figures)[: min(num_detections, 7 * num_figures // 10)]
    rest = num_detections - len(near)
    center = np.concatenate(
        [figures[near] + generator.normal(0, 2.5 / MPP, (len(near), 2)), generator.uniform(0, side, (rest, 2))]
    )
    slide = np.concatenate([figure_slide[near], generator.integers(0, num_slides, rest)])
    score = np.concatenate([generator.beta(3, 2, len(near)), generator.beta(1, 4, rest)]).round(6)
    entries = tuple(
        SlideEntry(
            slide_id=str(name), path="", case_id=f"case_{k // 2}", domain=f"d{k % 4}", mpp=MPP, width_l0=side,
            height_l0=side,
        )
        for k, name in enumerate(ids)
    )  # fmt: skip
    marks = Annotations(
        slide_id=ids[figure_slide],
        center_l0=figures,
        label=np.full(num_figures, Label.MITOTIC_FIGURE.value),
        score=np.full(num_figures, np.nan),
        votes=np.full(num_figures, ""),
        source=np.full(num_figures, ""),
    )
    order = generator.permutation(num_detections)
    found = Detections.of(slide_id=ids[slide[order]], center_l0=center[order], score=score[order], threshold=0.4)
    return Cohort(Path(), entries, marks), found


def run(num_slides: int, num_detections: int, num_figures: int) -> None:
    """Time each step on one made cohort."""
    cohort, found = made(num_slides, num_detections, num_figures)
    print(f"{len(found)} detections, {len(cohort.annotations)} figures, {num_slides} slides")
    counted = timed("choose what counts (ROI, labelled)", lambda: count_in(found, cohort))
    pairs = timed("pairs within 7.5 um", lambda: near_pairs(counted.figures, counted.detections, mpp=counted.mpp))
    timed("official greedy matching of them", lambda: match_greedy(pairs))
    timed("optimal matching of them", lambda: match_optimal(pairs))
    timed("F1 at every threshold (sweep)", lambda: sweep(pairs, counted.score))
    timed("evaluate: everything", lambda: evaluate(found, cohort).to_json())


def main() -> None:
    """Time one slide and many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detections", type=int, default=1_000_000)
    parser.add_argument("--figures", type=int, default=100_000)
    arguments = parser.parse_args()
    table_scores = np.random.default_rng(5).random(arguments.detections)
    suppress(np.zeros((2, 2)), np.zeros(2), radius_um=7.5)  # compiles
    cohort, found = made(2, 200, 20)
    evaluate(found, cohort)  # compiles
    for num_slides in (200, 1):
        run(num_slides, arguments.detections, arguments.figures)
    table = np.random.default_rng(2).integers(0, 50, (500, 3))
    cases = [f"case_{number}" for number in range(500)]
    generator = np.random.default_rng(4)
    place = generator.uniform(0, (arguments.detections / 500e-6) ** 0.5, (arguments.detections, 2))
    print(f"{arguments.detections} detections, 500 per mm2")
    timed("suppression within 7.5 um", lambda: suppress(place, table_scores, radius_um=7.5))
    print("500 slides, 500 cases")
    timed("bootstrap, 10,000 draws", lambda: resample(table, cases, np.random.default_rng(3)))


if __name__ == "__main__":
    main()
