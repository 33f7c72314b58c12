"""Whether a slide's um per px can be right for a detector: a wrong one finds next to nothing and says nothing.

Cells of a slide that is stated twice too coarse look half as large to the networks. What a detector is made for are the
resolution of its networks and those of its training's slides, where it knows them.
"""

import math

from mitosieve.errors import ResolutionError
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.reader_process import SlideSource
from mitosieve.slide.slide import Slide

TOLD_FROM, REFUSED_FROM = 1.5, 3.0
"""How many times a slide may differ: more is told, and much more needs a user's word. Between the objectives in use,
10, 20 and 40, lies a factor of 2 each; 4 is an overview taken for the slide, or a number in another unit."""


def resolution_warning(slide: Slide, detector: Detector) -> str:
    """A sentence where the slide's um per px differs from the detector's by more than TOLD_FROM; else empty."""
    times, own = _apart(slide, detector)
    if times <= TOLD_FROM:
        return ""
    return f"{slide.mpp:.4g} um/px differs {times:.1f} times from the detector's {own:.4g}: is it right?"


def check_resolution(slide: Slide, detector: Detector, *, stated: bool) -> None:
    """Refuse a resolution that differs by more than REFUSED_FROM, unless it was stated by the user or a cohort.

    Raises:
        ResolutionError: it differs, and nobody but the file says so.
    """
    times, own = _apart(slide, detector)
    if times > REFUSED_FROM and not stated:
        raise ResolutionError(
            f"says {slide.mpp:.4g} um per px, which differs {times:.1f} times from the detector's {own:.4g}",
            where=slide.path,
            remedy=f"if it is right, state it: --mpp {slide.mpp:.4g}; else state the true one",
        )


def open_for(source: SlideSource, detector: Detector) -> Slide:
    """Open a slide for a detector.

    Raises:
        SlideError: it cannot be read.
        ResolutionError: no usable resolution, or one that is too far from the detector's.
    """
    slide = source.open()
    try:
        check_resolution(slide, detector, stated=source.mpp is not None)
    except BaseException:
        slide.close()
        raise
    return slide


def _apart(slide: Slide, detector: Detector) -> tuple[float, float]:
    """How many times the slide's um per px differs from the nearest of the detector's, and that one."""
    known = None if detector.reference is None else detector.reference.known.get("resolution")
    trained = [math.exp(row[0]) for row in known.values.tolist()] if known else []
    return min((max(slide.mpp / mpp, mpp / slide.mpp), mpp) for mpp in (detector.config.frame.mpp, *trained))
