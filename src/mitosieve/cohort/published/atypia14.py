"""MITOS-ATYPIA-14: the official training archive, and a copy of some of its frames with a table of labels."""

import re
from pathlib import Path

from mitosieve.cohort.atypia14 import MPP
from mitosieve.cohort.marked import Caution, MarkedImage
from mitosieve.cohort.published.contract import Counts, Found, PublishedSet, visible
from mitosieve.errors import FormatError

_TRAINING = ("03", "04", "05", "07", "10", "11", "12", "14", "15", "17", "18")
"""Numbers of the training slides; the test slides 06, 08, 09, 13 and 16 have no public labels."""

_FRAME = re.compile(r"[AH]\d\d_\d\d[A-D][a-d]\.")
"""Slide, x10 frame, quarter, and its quarter. Frames of other sets of these slides (ICPR 2012) are called otherwise."""

_SPLITS = ("mitos-atypia-14", "mitos-atypia-14-uts")

_APERIO = Counts(slides=1200, figures=749, imposters=2884)
"""Of the eleven Aperio slides. Source: DeepMicroscopy/SlideRunner, databases/MITOS2014.sqlite, which joins two or three
raters by majority. Descriptions of the challenge speak of 1,136 frames a scanner. Of Hamamatsu no count is known."""

_FETCH = (
    "after registering, the training archives of one or both scanners, unpacked into one folder: "
    "<slide>/frames/x40/*.tiff and <slide>/mitosis/*.csv for A03 to A18, H03 to H18"
)


def look(folder: Path) -> Found:
    """Find the slides of one scanner or both, or a copy (`labels.csv` beside `frames/`).

    Raises:
        FormatError: neither is there.
    """
    if (folder / "labels.csv").is_file() and (folder / "frames").is_dir():
        return _copy(folder)
    below = [folder, *(path for path in visible(folder, "**/*") if path.is_dir())]
    slides = {path.name for path in below if re.fullmatch(r"[AH]\d\d", path.name)}
    letters = sorted({name[0] for name in slides})
    if not letters:
        raise FormatError(
            "holds no slide of MITOS-ATYPIA-14 (A03, H03, ...), and no copy (labels.csv beside frames/)",
            where=folder,
            remedy=f"fetch from {ATYPIA14.address}: {_FETCH}",
        )
    return Found(
        form="atypia14",
        labels=folder,
        images=folder,
        mpp=lambda image: MPP[image.slide_id[0]],
        mpp_over_file=True,
        splits=_SPLITS,
        absent=tuple(
            f"{letter}{number}" for letter in letters for number in _TRAINING if f"{letter}{number}" not in slides
        ),
        wanted=lambda image: image.case_id in _TRAINING,
        expected={"Aperio Scanscope XT": _APERIO},
        counted="MITOS2014.sqlite of DeepMicroscopy/SlideRunner",
    )


def _copy(folder: Path) -> Found:
    images = [path.name for path in visible(folder / "frames")]
    foreign = [name for name in images if not _FRAME.match(name)]
    if foreign or not images:
        shown = f"'{foreign[0]}' is none of its x40 frames" if foreign else "there is no frame"
        raise FormatError(
            f"is no copy of MITOS-ATYPIA-14: {shown} (A03_00Aa, H18_12Dd, ...)",
            where=folder / "frames",
            remedy="import other data by its own format (mitosieve import points), at its own resolution",
        )
    text = (
        "this is a copy of some frames with a table of labels, not the official archive: frames may be missing, "
        "compressed or without imposters, and scores on it do not compare with the literature's"
    )
    return Found(
        form="points",
        labels=folder / "labels.csv",
        images=folder / "frames",
        mpp=_mpp_of_copy,
        mpp_over_file=True,
        splits=("mitos-atypia-14-copy",),
        cautions=(Caution(text=text),),
    )


def _mpp_of_copy(image: MarkedImage) -> float | None:
    return MPP.get(Path(image.file_name).name[:1])


ATYPIA14 = PublishedSet(
    what="MITOS-ATYPIA-14, training part: breast, 11 cases, x40 frames, figures and imposters, two scanners",
    address="https://mitos-atypia-14.grand-challenge.org/Dataset/",
    fetch=_FETCH,
    terms="the challenge's, agreed to on registering; no licence could be read",
    splits=(*_SPLITS, "mitos-atypia-14-copy"),
    look=look,
)
