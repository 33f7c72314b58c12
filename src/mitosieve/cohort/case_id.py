"""Which patient an image is of, where a format names none: one rule for all formats."""

import re

from mitosieve.cohort.image_name import without_ending

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
    return name.split("_")[0] or name
