"""What the slides of a run are like, for its detector: so that it can tell a slide that is unlike all of them.

Of the training and the validation cases: on the first the detector learned, on the others it was seen to work. Test
cases are not opened.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mitosieve.sieve.detector import Detector
from mitosieve.sieve.reference import Learnt, Reference
from mitosieve.sieve.traits import LEAST_PIECES, MOST_PIECES, SlideTraits, measure_pieces, tissue_pieces
from mitosieve.slide.overview import look_over
from mitosieve.train.job import Job


def reference_of(
    job: Job, detector: Detector, counts: Mapping[str, NDArray[np.int64]], *, scores_of: str = "validation"
) -> Reference:
    """What the labelled slides of a run's train and validation cases are like.

    Slides too small to be judged alone, as crops are, count as one for each case, domain and resolution.

    Args:
        job: of the run.
        detector: gives the resolution that its networks see.
        counts: of each validation slide, or of slides out of fold, how the first stage scored its places.
        scores_of: which slides these are, in a word.

    Raises:
        SlideError: a slide cannot be read.
    """
    entries = job.cohort.of_cases((*job.fold.train, *job.fold.validation)).labelled.slides
    measured: list[tuple[str, SlideTraits]] = []
    small: dict[tuple[str, str, float], list[NDArray[np.uint8]]] = {}
    for number, entry in enumerate(entries, start=1):
        with job.cohort.open(entry.slide_id) as slide:
            tissue = look_over(slide, detector.config.proposer.tissue).tissue  # as a slide to be judged is seen
            pieces = tissue_pieces(slide, tissue, detector.config.frame.mpp)
            mpp = slide.mpp
        if len(pieces) >= LEAST_PIECES:
            measured.append((entry.case_id, measure_pieces(pieces, mpp)))
        elif len(held := small.setdefault((entry.case_id, entry.domain, mpp), [])) < MOST_PIECES:
            held.extend(pieces)
        if job.progress is not None:
            job.progress("what slides are like", number, len(entries))
    measured += [(case, measure_pieces(pieces, mpp)) for (case, _, mpp), pieces in sorted(small.items(), key=_name)]
    case_of = {entry.slide_id: entry.case_id for entry in entries}
    reference = Reference.of(measured, [(case_of[name], item) for name, item in counts.items()], scores_of=scores_of)
    return replace(reference, learnt=_learnt(job))


def _learnt(job: Job) -> Learnt:
    """Of the training cases alone, for on the validation cases nothing was learnt, and of what a start had learnt."""
    part = job.cohort.of_cases(job.fold.train).labelled
    return Learnt(
        domains=tuple(sorted({entry.domain for entry in part.slides})),
        cases=len(part.cases),
        slides=len(part.slides),
        figures=len(part.known_figures),
        start="" if job.start is None else job.start.words,
        start_is_synthetic=start_is_synthetic(job),
    )


def start_is_synthetic(job: Job) -> bool | None:
    """Whether synthetic tissue is in what its start had learnt from; None where that says nothing."""
    if job.start is None:
        return False
    before = job.start.detector.reference
    known = None if before is None else before.learnt
    return None if known is None else known.is_synthetic or known.start_is_synthetic


def _name(item: tuple[tuple[str, str, float], list[NDArray[np.uint8]]]) -> tuple[str, str, float]:
    return item[0]
