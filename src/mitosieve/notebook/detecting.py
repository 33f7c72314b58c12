"""`Detector.detect` on what a person has at hand: a path, several, an opened slide, a cohort."""

import warnings
from collections.abc import Iterable
from pathlib import Path

from shapely.geometry.base import BaseGeometry

from mitosieve.cohort.cohort import Cohort
from mitosieve.detection import Detections
from mitosieve.network.compute import Compute
from mitosieve.notebook.bar import watching
from mitosieve.run.progress import SLIDES, Progress
from mitosieve.scan import items_of_images
from mitosieve.sieve.cascade import sieve_slide
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.resolution import open_for, resolution_warning
from mitosieve.slide.slide import Slide

Slides = str | Path | Slide | Cohort | Iterable[str | Path]


def detect_on(
    detector: Detector,
    slides: Slides,
    *,
    mpp: float | None = None,
    compute: Compute | None = None,
    progress: Progress | None = None,
) -> Detections:
    """Detections of all slides named, in their order; slides are called as the command calls them.

    What the command warns of is a `UserWarning`: a resolution that can hardly be right, another picture in the file,
    a slide unlike those that the detector knows.

    Args:
        detector: any.
        slides: a path, several, an opened slide, or a cohort, whose ROIs are kept.
        mpp: um per px of level 0 of paths; None takes what the files state.
        compute: machine; None chooses.
        progress: told how far it is; None draws a bar in a notebook.

    Raises:
        InputError: two slides of the same name.
        SlideError: a slide cannot be read.
        ResolutionError: a file states no usable resolution, or one far from the detector's, and `mpp` states none.
    """
    compute = Compute.choose() if compute is None else compute
    with watching(progress) as tell:
        if isinstance(slides, Cohort):
            return _detect_cohort(detector, slides, compute, tell)
        if isinstance(slides, Slide):
            return _detect_one(detector, slides, compute, tell)
        paths = [slides] if isinstance(slides, str | Path) else list(slides)
        found = [Detections.empty(detector.stage_names)]
        stated = None if mpp is None else str(mpp)
        items = items_of_images([Path(path) for path in paths], mpp=stated, roi=None) if paths else []
        if tell is not None and items:
            tell(SLIDES, 0, len(items))
        for number, item in enumerate(items, start=1):
            with open_for(item, detector) as slide:
                found.append(_detect_one(detector, slide, compute, tell))
            if tell is not None:
                tell(SLIDES, number, len(items), figures=sum(len(part.figures) for part in found))
        return Detections.concatenate(found)


def _detect_cohort(detector: Detector, cohort: Cohort, compute: Compute, progress: Progress | None) -> Detections:
    found = [Detections.empty(detector.stage_names)]
    if progress is not None and cohort.slides:
        progress(SLIDES, 0, len(cohort.slides))
    for number, entry in enumerate(cohort.slides, start=1):
        with cohort.open(entry.slide_id) as slide:
            found.append(_detect_one(detector, slide, compute, roi=entry.roi, stacklevel=5))
        if progress is not None:
            progress(SLIDES, number, len(cohort.slides))
    return Detections.concatenate(found)


def _detect_one(
    detector: Detector,
    slide: Slide,
    compute: Compute,
    progress: Progress | None = None,
    roi: BaseGeometry | None = None,
    stacklevel: int = 4,
) -> Detections:
    """Warn, as the command does, of a resolution that can hardly be right, of what a file holds besides, and of a slide
    unlike those that the detector knows.
    """
    for told in (*slide.notes, resolution_warning(slide, detector)):
        if told:
            warnings.warn(f"{slide.slide_id}: {told}", stacklevel=stacklevel)
    sieved = sieve_slide(detector, slide, compute=compute, roi=roi, progress=progress)
    if detector.reference is not None:
        for told in detector.reference.compare(sieved.survey.traits, sieved.counts).warnings:
            warnings.warn(f"{slide.slide_id}: {told}", stacklevel=stacklevel)
    return sieved.found
