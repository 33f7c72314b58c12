"""TUPAC16's auxiliary set of mitoses, with the challenge's labels or the alternative ones of Bertram et al. 2020."""

from functools import partial
from pathlib import Path

from mitosieve.cohort.published.contract import Counts, Found, PublishedSet, visible
from mitosieve.cohort.tupac import FIGURES, IMPOSTERS, KNOWN_EMPTY
from mitosieve.errors import FormatError

_CASES = tuple(f"{number:02d}" for number in range(1, 74))
"""The training cases; 74 to 107 are the challenge's test cases, whose labels are not public."""

_MPP = 0.25
"""um per px of all images. Source: TUPAC16 data description."""

_ORIGINAL = Counts(slides=656, figures=1552, imposters=0)
_ALTERNATIVE = Counts(slides=656, figures=1999, imposters=10483)
"""Source: Bertram et al. 2020 (arXiv 2007.05351), abstract; files counted in TUPAC_AL/ of their repository."""

_SPLITS = ("tupac16-uts",)
_IMAGES = "mitoses_train_image_data"
_PAGE = "https://tupac.grand-challenge.org/Dataset/"
_FETCH = f"the auxiliary dataset of mitoses: {_IMAGES}/<part>/<case>/<nn>.tif"
_FETCH_ORIGINAL = f"{_FETCH} and {FIGURES}/<case>/<nn>.csv, in one folder"
_FETCH_ALTERNATIVE = (
    f"{_FETCH}; beside it TUPAC_AL/ of https://github.com/DeepMicroscopy/TUPAC16_AlternativeLabels, in one folder"
)


def look(folder: Path, *, alternative: bool) -> Found:
    """Find images and labels; the alternative ones are those with a folder of imposters beside the figures'.

    Raises:
        FormatError: there are no such labels.
    """
    roots = [path.parent for path in visible(folder, f"**/{FIGURES}") if path.is_dir()]
    fit = [root for root in roots if (root / IMPOSTERS).is_dir() == alternative]
    if len(fit) != 1:
        kind = f"with {IMPOSTERS} beside it" if alternative else f"without {IMPOSTERS} beside it"
        said = "holds no" if not fit else f"holds more than once ({len(fit)}) a"
        other = "" if fit or not roots else "; the labels here are those of the other of tupac16, tupac16-alternative"
        raise FormatError(
            f"{said} folder {FIGURES} {kind}{other}",
            where=folder,
            remedy=f"one is needed; fetch from {_PAGE}: {_FETCH_ALTERNATIVE if alternative else _FETCH_ORIGINAL}",
        )
    root = fit[0]
    named = {path.parent.name for kind in (FIGURES, IMPOSTERS) for path in visible(root / kind, "*/*.csv")}
    empty = frozenset[str]() if alternative else KNOWN_EMPTY
    return Found(
        form="tupac",
        labels=root,
        images=next((path for path in visible(folder, f"**/{_IMAGES}") if path.is_dir()), folder),
        mpp=lambda image: _MPP,
        mpp_over_file=True,
        splits=_SPLITS,
        absent=tuple(f"{FIGURES}/{case}" for case in _CASES if case not in named and case not in empty),
        wanted=lambda image: image.case_id in _CASES,
        searched=empty,
        expected={"total": _ALTERNATIVE if alternative else _ORIGINAL},
        counted="Bertram et al. 2020" if alternative else "the labels as counted by Bertram et al. 2020",
    )


TUPAC16 = PublishedSet(
    what="TUPAC16 auxiliary set, training part: breast, 73 cases, 656 images, 1,552 figures, no imposters",
    address=_PAGE,
    fetch=_FETCH_ORIGINAL,
    terms="the challenge's, agreed to on registering; no licence could be read",
    splits=_SPLITS,
    look=partial(look, alternative=False),
)

TUPAC16_ALTERNATIVE = PublishedSet(
    what="the same images with alternative labels (Bertram et al. 2020): 1,999 figures, 10,483 imposters",
    address=_PAGE,
    fetch=_FETCH_ALTERNATIVE,
    terms="images: the challenge's; labels: their repository states no licence",
    splits=_SPLITS,
    look=partial(look, alternative=True),
)
