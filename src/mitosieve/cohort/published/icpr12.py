"""ICPR 2012 (MITOS): the contest's frames of its two slide scanners."""

import re
from pathlib import Path

from mitosieve.cohort.icpr12 import MPP
from mitosieve.cohort.marked import Caution
from mitosieve.cohort.published.contract import Counts, Found, PublishedSet, files_below
from mitosieve.errors import FormatError

_SLIDES = ("00", "01", "02", "03", "04")
_FRAMES = Counts(slides=50)
"""A scanner; of training (35) and evaluation (15). Figures: papers give 226 and 100 of Aperio, the copy in
DeepMicroscopy/SlideRunner's databases has 226 and 101, so neither is held against a user's."""

_PER_SLIDE = 10
_FETCH = (
    "the training and the evaluation data of scanner A, of scanner H or of both, unpacked into one folder: "
    "A00_00.bmp with A00_00.csv beside it, to A04_09 (H00_00 to H04_09)"
)


def look(folder: Path) -> Found:
    """Find the frames of one scanner or both, at any depth.

    Raises:
        FormatError: there is none.
    """
    here = {path.stem for path in files_below(folder, "*.*") if re.fullmatch(r"[AH]0[0-4]_0\d", path.stem)}
    letters = sorted({name[0] for name in here})
    if not letters:
        raise FormatError(
            "holds no frame of ICPR 2012 (A00_00, H04_09, ...)",
            where=folder,
            remedy=f"fetch from {ICPR12.address}: {_FETCH}",
        )
    whole = [f"{letter}{slide}_{frame:02d}" for letter in letters for slide in _SLIDES for frame in range(_PER_SLIDE)]
    text = (
        "the contest's test frames come from the five slides that it trains on: scores of its own division are not of "
        "unseen patients; divide by slide (mitosieve split)"
    )
    return Found(
        form="icpr12",
        labels=folder,
        images=folder,
        mpp=lambda image: MPP[image.slide_id[0]],
        mpp_over_file=True,
        splits=(),
        absent=tuple(name for name in whole if name not in here),
        expected=dict.fromkeys(("Aperio Scanscope XT", "Hamamatsu NanoZoomer 2.0-HT"), _FRAMES),
        counted="the contest's description",
        cautions=(Caution(text=text),),
    )


ICPR12 = PublishedSet(
    what="ICPR 2012 contest (MITOS): breast, 5 slides, 50 frames a scanner, figures alone",
    address="http://ludo17.free.fr/mitos_2012/",
    fetch=_FETCH,
    terms="the contest's; no licence could be read",
    splits=(),
    look=look,
)
