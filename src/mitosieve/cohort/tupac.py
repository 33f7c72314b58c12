"""TUPAC16 auxiliary set (and AMIDA13, its cases 1-23) in the official layout. Knows this layout and no other.

    mitoses_ground_truth/<case>/<nn>.csv       row,col a line, no header; empty or absent = no figure
    nonmitoses_ground_truth/<case>/<nn>.csv    the same for imposters; alternative labels only

A trap: each line is row first, that is (y, x). Whether the files count from 1 is not stated; their numbers are taken as
they stand (first pixel 0), as the authors of the alternative labels do. The other reading is one pixel, 0.25 um, away.
"""

from collections.abc import Iterator
from pathlib import Path

from mitosieve.annotation import Label
from mitosieve.cohort.image_name import ImageFolder, visible
from mitosieve.cohort.marked import Caution, Mark, MarkedImage, Reading
from mitosieve.cohort.table import read_numbers
from mitosieve.errors import FormatError, plural, some

FIGURES, IMPOSTERS = "mitoses_ground_truth", "nonmitoses_ground_truth"

_CENTRES = ((23, "TUPAC centre 1"), (48, "TUPAC centre 2"), (73, "TUPAC centre 3"), (107, "TUPAC test"))
"""Last case and domain. Source: TUPAC16 data description (1-23, 24-48 and 49-73 of three centres; test 74-107)."""


KNOWN_EMPTY = frozenset({"10", "20", "26", "35", "38", "48", "53"})
"""Cases without a figure under the challenge's labels, which may have no label file. Counted in TUPAC_stitched.sqlite
of DeepMicroscopy/TUPAC16_AlternativeLabels."""

_TRAINING = range(1, 74)
_TEST = range(74, 108)
"""Cases whose labels are not public: without a file nothing is known of them."""


def read(source: Path, images: ImageFolder | None) -> Reading:
    """Read original or alternative labels; a case is a folder, a slide `<case>_<nn>` one of its images.

    Without images, the slides are those with a file in either folder of labels. With images, every `<case>/<nn>` among
    them is a slide. One without a file has no figure if its case has any file; and under the original labels, which
    write no file where there is nothing to write, also if its case has none: that is told, and presumed
    (`MarkedImage.presumed`). A test case (74-107), and a case without any file beside alternative labels, which have a
    file for each image, is kept as unlabelled.

    Args:
        source: the folder that holds mitoses_ground_truth, or that folder itself.
        images: the folder of images, with any folders above `<case>/<nn>.tif`.

    Raises:
        FormatError: no such layout, or a line that is not two finite numbers.
    """
    root = source.parent if source.name == FIGURES else source
    if not (root / FIGURES).is_dir():
        raise FormatError(
            f"holds no folder {FIGURES}", where=source, remedy=f"expected {FIGURES}/<case>/<nn>.csv (row,col)"
        )
    names = _named(root / FIGURES, ".csv") | _named(root / IMPOSTERS, ".csv")
    if not names:
        raise FormatError("holds no <case>/<nn>.csv", where=root / FIGURES, remedy="name the unpacked folder")
    marked_cases = {case for case, _ in names}
    if images is not None:
        names |= {(p.parent.name, p.stem) for p in images.paths if p.parent.name.isdigit() and p.stem.isdigit()}
    original = not (root / IMPOSTERS).is_dir()
    empty = {case for case, _ in names if original and case not in marked_cases and _number(case) not in _TEST}
    made = tuple(
        _image(root, case, number, labelled=case in marked_cases | empty, presumed=case in empty)
        for case, number in sorted(names)
    )
    return Reading(images=made, cautions=(*_unlabelled(made), *_presumed(made)), classes=tuple(Label))


def _named(folder: Path, suffix: str) -> set[tuple[str, str]]:
    """Case and number of each file <case>/<nn> below a folder, which may be absent."""
    return {(path.parent.name, path.stem) for path in visible(folder, f"*/*{suffix}")}


def _image(root: Path, case: str, number: str, *, labelled: bool, presumed: bool) -> MarkedImage:
    marks = _marks(root, f"{FIGURES}/{case}/{number}.csv", Label.MITOTIC_FIGURE)
    return MarkedImage(
        slide_id=f"{case}_{number}",
        file_name=f"{case}/{number}.tif",
        case_id=case,
        domain=_domain(case),
        marks=marks + _marks(root, f"{IMPOSTERS}/{case}/{number}.csv", Label.IMPOSTER),
        labelled=labelled,
        presumed=presumed,
        whole_name=True,
    )


def _marks(root: Path, name: str, label: Label) -> tuple[Mark, ...]:
    path = root / name
    if not path.exists():
        return ()
    return tuple(
        Mark(x=column, y=row, name=label.value, where=f"{path}, line {line}", source=name)
        for line, (row, column) in read_numbers(path, names=("row", "col"))
    )


def _domain(case: str) -> str:
    return next((name for last, name in _CENTRES if 1 <= _number(case) <= last), "TUPAC")


def _number(case: str) -> int:
    """A case's number; 0 of one that has none."""
    return int(case) if case.isascii() and case.isdigit() and len(case) < 6 else 0


def _presumed(images: tuple[MarkedImage, ...]) -> Iterator[Caution]:
    cases = sorted({image.case_id for image in images if image.presumed})
    if not cases:
        return
    known = [case for case in cases if _number(case) in _TRAINING and case not in KNOWN_EMPTY]
    missing = f"; but {some(known)} of them have figures in the published labels: are files missing?" if known else ""
    yield Caution(
        text=f"{plural(len(cases), 'case')} with images and no file in {FIGURES}: under the original labels that "
        f"means no figures, and they are kept as labelled: {some(cases, most=80)}{missing}; --absent "
        "unlabelled takes them for cases that nobody has searched"
    )


def _unlabelled(images: tuple[MarkedImage, ...]) -> tuple[Caution, ...]:
    found: dict[str, list[str]] = {}
    for image in images:
        if not image.labelled and image.case_id not in found.setdefault(image.domain, []):
            found[image.domain].append(image.case_id)
    return tuple(
        Caution(
            text=f"{plural(len(cases), 'case')} with images but no file of labels, kept as unlabelled: {some(cases)}; "
            "where a case is known to have no figure, write labelled = yes in slides.csv",
            domain=domain,
        )
        for domain, cases in found.items()
        if cases
    )
