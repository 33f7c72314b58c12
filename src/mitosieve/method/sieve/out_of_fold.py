"""What the networks of a sieve training say of patients that they have not seen, with labels and without."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mitosieve.cohort.cohort import Cohort
from mitosieve.detection import Detections
from mitosieve.export.table import read_detections, write_detections
from mitosieve.method.sieve.scale import Scale, match_scale
from mitosieve.run import layout
from mitosieve.run.folder import reading, write_atomic
from mitosieve.sieve.cascade import Sieved, Slide, detect
from mitosieve.sieve.detector import Detector
from mitosieve.slide.overview import look_over
from mitosieve.slide.tissue import TissueRule
from mitosieve.train import Job


def whole_slides(cohort: Cohort, cases: tuple[str, ...], crops: set[str]) -> Cohort:
    """The labelled slides of some cases that are no crops: in a crop a figure is where somebody put it."""
    kept = tuple(entry for entry in cohort.of_cases(cases).slides if entry.labelled and entry.slide_id not in crops)
    names = np.array([entry.slide_id for entry in kept], dtype=np.str_)
    marks = cohort.annotations[np.isin(cohort.annotations.slide_id, names)]
    return Cohort(cohort.folder, kept, marks)


def tissue_mm2(slides: Cohort, rule: TissueRule) -> float:
    """Tissue of some slides within their ROIs, as a slide that is detected on is seen."""
    total = 0.0
    for entry in slides.slides:
        with slides.open(entry.slide_id) as slide:
            total += look_over(slide, rule).tissue.area_within_mm2(entry.roi, slide.mpp_xy)
    return total


def detect_out_of_fold(
    job: Job, slides: Cohort, detectors: Sequence[Detector], part_of_case: Mapping[str, int]
) -> tuple[Detections, dict[str, NDArray[np.int64]]]:
    """Detections of every slide by the detector that has not seen its patient, and how its first stage scored places.

    Both are kept in the run.

    Args:
        job: of the run.
        slides: whole slides of the training cases.
        detectors: of each part, trained without it.
        part_of_case: part of each case; of one without a place no network has learned, so any may judge it.
    """
    folder = job.file(layout.OUT_OF_FOLD_SLIDES)
    file, counts_file = folder / layout.DETECTIONS, folder / layout.SCORE_COUNTS
    if file.exists() and counts_file.exists():
        with reading(counts_file), np.load(counts_file) as kept:
            return read_detections(file), {
                str(name): row for name, row in zip(kept["slide_id"], kept["counts"], strict=True)
            }
    counts: dict[str, NDArray[np.int64]] = {}

    def on_slide(slide: Slide, sieved: Sieved) -> None:
        counts[slide.slide_id] = sieved.counts

    found = [Detections.empty(detectors[0].stage_names)]
    for number, detector in enumerate(detectors):
        cases = tuple(case for case in slides.cases if part_of_case.get(case, 0) == number)
        if cases:
            more = detect(detector, slides, cases=cases, compute=job.compute, progress=job.progress, on_slide=on_slide)
            found.append(more)
    whole = Detections.concatenate(found)
    names, rows = np.array(list(counts), dtype=np.str_), np.array(list(counts.values()))
    write_atomic(counts_file, lambda handle: np.savez(handle, slide_id=names, counts=rows))
    write_detections(file, whole)
    return read_detections(file), counts  # as whoever resumes has them, to the last digit


def unseen_slides(cohort: Cohort, cases: Sequence[str]) -> Cohort:
    """The slides of some cases without labels, whose patient has none with: no network has learned from them."""
    learned = {entry.case_id for entry in cohort.slides if entry.labelled}
    wanted = set(cases) - learned
    kept = tuple(entry for entry in cohort.slides if entry.case_id in wanted)
    names = np.array([entry.slide_id for entry in kept], dtype=np.str_)
    return Cohort(cohort.folder, kept, cohort.annotations[np.isin(cohort.annotations.slide_id, names)])


def scale_of(job: Job, whole: Detector, members: Sequence[Detector]) -> Scale:
    """What brings a detector's scores to those of its members, by the fold's training slides without labels.

    Args:
        job: of the run; test cases are left alone.
        whole: the detector.
        members: single networks of each stage.
    """
    slides = unseen_slides(job.cohort, job.fold.train)
    if not slides.slides:
        return Scale()
    found = [detect(one, slides, compute=job.compute, progress=job.progress).score for one in (whole, *members)]
    return match_scale(found[0], found[1:])
