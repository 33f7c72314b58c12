"""Whether a slide's um per px, and the area to look in, can be right: wrong ones find next to nothing and say nothing.

Cells of a slide that is stated twice too coarse look half as large to the networks. What a detector is made for are the
resolution of its networks and those of its training's slides, where it knows them.
"""

import math

import shapely

from mitosieve.errors import InputError, ResolutionError
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
        InputError: the area to look in lies beside the slide.
    """
    slide = source.open()
    try:
        check_resolution(slide, detector, stated=source.mpp is not None)
        _check_roi(source, slide)
    except BaseException:
        slide.close()
        raise
    return slide


def _check_roi(source: SlideSource, slide: Slide) -> None:
    """Refuse an area without a pixel of the slide: it was drawn on another one, or in another unit."""
    width, height = slide.size_l0
    whole = shapely.box(-0.5, -0.5, width - 0.5, height - 0.5)
    if source.roi is None or (source.roi.intersects(whole) and not source.roi.touches(whole)):
        return
    x0, y0, x1, y1 = source.roi.bounds
    raise InputError(
        f"the area to look in, x {x0:g} to {x1:g} and y {y0:g} to {y1:g}, lies beside the slide of {width} x {height} "
        "px: nothing would be looked at",
        where=source.path,
        remedy="give the area of this slide, in px of its largest level",
    )


def _apart(slide: Slide, detector: Detector) -> tuple[float, float]:
    """How many times the slide's um per px differs from the nearest of the detector's, and that one."""
    known = None if detector.reference is None else detector.reference.known.get("resolution")
    trained = [math.exp(row[0]) for row in known.values.tolist()] if known else []
    return min((max(slide.mpp / mpp, mpp / slide.mpp), mpp) for mpp in (detector.config.frame.mpp, *trained))
