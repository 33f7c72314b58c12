"""`Detector.detect` on what a person has at hand: a path, several, an opened slide, a cohort."""

import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from mitosieve.cohort.cohort import Cohort
from mitosieve.detection import Detections
from mitosieve.network.compute import Compute
from mitosieve.notebook.bar import watching
from mitosieve.run.progress import SLIDES, Progress
from mitosieve.scan import items_of_images
from mitosieve.sieve.cascade import Sieved, detect, sieve_slide
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
            return detect(detector, slides, compute=compute, progress=tell, on_slide=partial(_tell, detector))
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


def _detect_one(detector: Detector, slide: Slide, compute: Compute, progress: Progress | None) -> Detections:
    sieved = sieve_slide(detector, slide, compute=compute, progress=progress)
    _tell(detector, slide, sieved)
    return sieved.found


_CALLER = 5
"""Frames from a warning below to who called `Detector.detect`: `_detect_one` or `cascade.detect`, `detect_on`, it."""


def _tell(detector: Detector, slide: Slide, sieved: Sieved) -> None:
    """Warn, as the command does, of a resolution that can hardly be right, of what a file holds besides, and of a slide
    unlike those that the detector knows.
    """
    known = detector.reference
    strange = () if known is None else known.compare(sieved.survey.traits, sieved.counts).warnings
    for told in (*slide.notes, resolution_warning(slide, detector), *strange):
        if told:
            warnings.warn(f"{slide.slide_id}: {told}", stacklevel=_CALLER)
