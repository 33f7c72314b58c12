"""MIDOG 2021's training set and MIDOG++, each one JSON and a folder of TIFF files."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mitosieve.cohort.marked import MarkedImage
from mitosieve.cohort.published.contract import Counts, Found, PublishedSet, files_below
from mitosieve.errors import FormatError

_MPP_2021 = ((100, 0.23), (150, 0.25), (200, 0.26))
"""Last image and um per px, rounded, of Hamamatsu XR and S360, Aperio CS2, Leica GT450. Source: MIDOG 2021 data
description. Used only where an image file states nothing; of MIDOG++'s other images nothing could be verified."""

_2021 = Counts(slides=200, figures=1721, imposters=2714)
_PLUS_PLUS = Counts(figures=11937, imposters=14349)
"""Counted in the JSON files; MIDOG++'s are also those of its paper (doi 10.1038/s41597-023-02327-4)."""

_COUNTED = "the JSON of its repository"


def look(folder: Path, *, names: Sequence[str], expected: Counts, is_2021: bool) -> Found:
    """Find the JSON by one of its names; the images lie anywhere below the folder.

    Raises:
        FormatError: there is no such file, or there are several.
    """
    files = [path for name in names for path in files_below(folder, name)]
    if len(files) != 1:
        which = MIDOG_2021 if is_2021 else MIDOG_PLUS_PLUS
        raise FormatError(
            f"holds {len(files) or 'no'} files named {' or '.join(names)}",
            where=folder,
            remedy=f"one is needed; fetch from {which.address}: {which.fetch}",
        )
    return Found(
        form="midog",
        labels=files[0],
        images=folder,
        mpp=_mpp,
        mpp_over_file=False,
        splits=_SPLITS_2021 if is_2021 else _SPLITS_PLUS_PLUS,
        optional_unlabelled=not is_2021,
        expected={"total": expected},
        counted=_COUNTED,
    )


def _mpp(image: MarkedImage) -> float | None:
    number = Path(image.file_name).stem
    return next((mpp for last, mpp in _MPP_2021 if number.isdigit() and 1 <= int(number) <= last), None)


_SPLITS_2021 = ("midog-2021-uts", "midog-2021-baseline")
_SPLITS_PLUS_PLUS = ("midog-plus-plus",)

MIDOG_2021 = PublishedSet(
    what="MIDOG 2021, training set: breast, 200 cases of four scanners, 150 labelled, 1,721 figures, 2,714 imposters",
    address="https://zenodo.org/record/4643381",
    fetch="MIDOG.json and 001.tiff to 200.tiff, in one folder",
    terms="MIDOG.json says CC BY-NC-ND 2.0",
    splits=_SPLITS_2021,
    look=partial(look, names=("MIDOG.json", "MIDOG21.json"), expected=_2021, is_2021=True),
    digests=frozenset({"8e6974adae006253ec16d1a37d91293950230b8386ef1c02a8a6db6526262c61"}),
    digest_source="DeepMicroscopy/MIDOG, databases/MIDOG.json, commit 9cec488",
)

MIDOG_PLUS_PLUS = PublishedSet(
    what="MIDOG++: 503 labelled cases of seven tumours, 11,937 figures, 14,349 imposters",
    address="https://doi.org/10.6084/m9.figshare.c.6615571",
    fetch="MIDOG++.json and the 503 images 001.tiff to 553.tiff (65 GB), in one folder; 151 to 200 are MIDOG 2021's, "
    "unlabelled, and may be absent",
    terms="MIDOG++.json says CC0",
    splits=_SPLITS_PLUS_PLUS,
    look=partial(look, names=("MIDOG++.json", "MIDOGpp.json"), expected=_PLUS_PLUS, is_2021=False),
    digests=frozenset({"8c87ab4276eb11f6b6b5ac0d956b89dad7568a5474e0904b653d54dc68091f47"}),
    digest_source="DeepMicroscopy/MIDOGpp, databases/MIDOG++.json, commit bd26c81",
)
