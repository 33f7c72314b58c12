"""Which patient an image is of: one rule for all formats that name none, and ids that seem to be of one patient."""

import re
import unicodedata
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace

from mitosieve.cohort.image_name import without_ending
from mitosieve.cohort.marked import Caution, MarkedImage
from mitosieve.errors import plural, some

_TCGA_PATIENT = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}(?![A-Z0-9])", re.IGNORECASE)
"""Project, tissue source site and participant, which together name a patient (NCI GDC Encyclopedia, "TCGA Barcode");
what follows them names sample, portion and slide."""


def case_of(file_name: str) -> str:
    """The case of an image where its format names none.

    The first three fields of a TCGA barcode, in capitals; else the image's name up to its first `_`, or all of it.
    """
    name = without_ending(file_name.rsplit("/", 1)[-1])
    barcode = _TCGA_PATIENT.match(name)
    if barcode:
        return barcode[0].upper()
    return name.split("_")[0].strip() or name


def guessed(images: Sequence[MarkedImage]) -> tuple[MarkedImage, ...]:
    """Images with their cases: of those that nobody names, what their names say."""
    return tuple(
        image if image.case_id else replace(image, case_id=case_of(image.file_name), case_guessed=True)
        for image in images
    )


def told_guesses(images: Sequence[MarkedImage]) -> list[Caution]:
    """What is said of cases that come from images' names: a patient under two names may be on both sides of a split."""
    nameless = [image for image in images if image.case_guessed]
    if not nameless:
        return []
    rule = (
        "an image's name up to its first '_' (of a TCGA barcode the first three fields) was taken for the case, as "
        f"{nameless[0].case_id} for {nameless[0].file_name}: check case_id in slides.csv, one for each patient"
    )
    if len(nameless) == len(images):
        return [Caution(text=f"no case is named: {rule}")]
    some_of = f"the case is named for {plural(len(images) - len(nameless), 'image')} and not for {len(nameless)}"
    return [Caution(text=f"{some_of}, such as {some(image.file_name for image in nameless)}: for those {rule}")]


_ZEROS = re.compile(r"0*(\d+)")
_GAPS = re.compile(r"[\s_\u2010-\u2015-]+")
_BETWEEN = re.compile(rf"(?<=\d){_GAPS.pattern}(?=\d)")
_SIGN = "/"
_GAP = r"[\s_.\u2010-\u2015-]+"
_BARCODE = re.compile(rf"(TCGA){_GAP}([A-Z0-9]{{2}}){_GAP}([A-Z0-9]{{4}})(?![A-Z0-9])", re.IGNORECASE)
"""The patient of a TCGA barcode with what people and programs write for its hyphens: R makes dots of them."""

_FRAME = re.compile(r"(?:^|_)[AH](\d\d)_\d\d(?:[A-D][a-d])?$")
"""A frame of MITOS-ATYPIA-14 or ICPR 2012 by its slide_id: scanner, tissue, frame; both number tissues alike."""

_TISSUE = re.compile(r"[ah]?0*(\d{1,2})")
"""A case id, folded, that names such a tissue: alone, or after a scanner's letter."""


def folded(case_id: str) -> str:
    """A case id without what people write in many ways: case, leading zeros, blanks, hyphens and underscores, but for
    one sign between two numbers: 1-23 and 12-3 are two patients.
    """
    plain = unicodedata.normalize("NFKC", case_id).casefold()
    return _GAPS.sub("", _BETWEEN.sub(_SIGN, _ZEROS.sub(r"\1", plain)))


def alike(case_ids: Iterable[str], tissues: Container[int] = ()) -> list[list[str]]:
    """Groups of case ids that differ only in how they are written, each sorted.

    Barcodes of one TCGA patient are alike whatever sample, portion or slide they go on to name, and whatever stands for
    their hyphens, nothing too where they name the patient alone; under one prefix as without.

    Args:
        case_ids: of a cohort.
        tissues: numbers that a scanner's letter may stand before, from `tissues_of`: of 3, A03 and H03 are 03.
    """
    groups: dict[str, list[str]] = {}
    for case_id in sorted(set(case_ids)):
        key = folded(_tcga_patient(case_id))
        tissue = _TISSUE.fullmatch(key)
        groups.setdefault(tissue[1] if tissue and int(tissue[1]) in tissues else key, []).append(case_id)
    for key in [key for key in groups if _SIGN in key]:
        joined = {_joined(case_id) for case_id in groups[key]} & set(groups)  # 123 may be 1-23, or 12-3
        for bare in joined:
            groups[bare] = sorted({*groups[bare], *groups[key]})
        if joined:
            del groups[key]
    return [group for _, group in sorted(groups.items()) if len(group) > 1]


def _joined(case_id: str) -> str:
    """A case id folded as who leaves out what stands between its numbers writes it."""
    return _ZEROS.sub(r"\1", _GAPS.sub("", unicodedata.normalize("NFKC", case_id).casefold()))


def _tcga_patient(case_id: str) -> str:
    """A case id up to the patient of a TCGA barcode in it, whose fields are joined; any other id as it is.

    Joined before zeros fold, for 05-1234 and 51-0234 are two patients. What stands before stays: --case-prefix says
    that it is another.
    """
    plain = unicodedata.normalize("NFKC", case_id)
    barcode = _BARCODE.search(plain)
    return plain[: barcode.start()] + "".join(barcode.groups()) if barcode else plain


def tissues_of(slides: Iterable[tuple[str, str]]) -> set[int]:
    """Tissues of MITOS-ATYPIA-14 and ICPR 2012 among slides (slide_id, case_id).

    Readers of the two sets call the case of H03_00Aa `03`, those that go by the name `H03`: a patient under two ids. A
    slide counts whose name is a frame's and whose case is its tissue; --case-prefix says that it is another patient.
    """
    found: set[int] = set()
    for slide_id, case_id in slides:
        frame, case = _FRAME.search(slide_id), _TISSUE.fullmatch(folded(case_id))
        if frame and case and int(frame[1]) == int(case[1]):
            found.add(int(frame[1]))
    return found
