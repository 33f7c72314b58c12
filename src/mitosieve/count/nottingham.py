"""The Nottingham mitotic score, 1 to 3, from a published table of cut-offs by field diameter. Research use only.

Knows a count and an area. It does not know whether the tissue is an invasive breast carcinoma, for which alone the
score is defined, nor whether a pathologist would have counted there. It is one of three parts of the grade.

Source of every row: College of American Pathologists, Protocol for the Examination of Resection Specimens from
Patients with Invasive Carcinoma of the Breast, version 4.10.0.0, table 1 (score categories according to field diameter
and mitotic count), which takes it from Pathology Reporting of Breast Disease, NHS Cancer Screening Programmes and Royal
College of Pathologists, NHSBSP publication 58, 2005. The score goes back to C. W. Elston and I. O. Ellis,
Histopathology 19:403-410, 1991. A second witness of one row: the HL7 guide Breast Cancer Data, 2018, gives for a field
of 0.274 mm2 (0.59 mm) below 10, 10 to 19, 20 or more. The rows were read in a transcription of the CAP table and agree
with that witness; the protocol itself was not at hand.

The table is for ten fields. Ten fields of diameter d have 10 pi (d / 2)^2. So 2.37 mm2 is the row 0.55 mm. 2 mm2 has
no row of its own: its diameter, 0.505 mm, lies between the rows 0.50 and 0.51, and these have the same cut-offs.
"""

import math
from dataclasses import dataclass

FIELDS = 10
STEP_MM = 0.01
"""The table's step, to which a diameter is rounded, as one does who measures a field to use it."""

SOURCE = "CAP protocol Breast.Invasive 4.10.0.0, table 1, after NHSBSP publication 58 (NHS and RCPath, 2005)"

CUT_OFFS: dict[int, tuple[int, int]] = {
    40: (4, 9),
    41: (4, 9),
    42: (5, 10),
    43: (5, 10),
    44: (5, 11),
    45: (5, 11),
    46: (6, 12),
    47: (6, 12),
    48: (6, 13),
    49: (6, 13),
    50: (7, 14),
    51: (7, 14),
    52: (7, 15),
    53: (8, 16),
    54: (8, 16),
    55: (8, 17),
    56: (8, 17),
    57: (9, 18),
    58: (9, 19),
    59: (9, 19),
    60: (10, 20),
    61: (10, 21),
    62: (11, 22),
    63: (11, 22),
    64: (11, 23),
    65: (12, 24),
    66: (12, 24),
    67: (12, 25),
    68: (13, 26),
    69: (13, 27),
}
"""Field diameter in 0.01 mm -> the largest count in ten fields of score 1, and of score 2; above is score 3."""


@dataclass(frozen=True, kw_only=True)
class MitoticScore:
    """A score with its reason, or the reason why there is none.

    Attributes:
        score: 1, 2 or 3; None where no cut-offs for the area can be cited.
        reason: the cut-offs and their source, or why there is no score.
    """

    score: int | None
    reason: str


BREAST = "breast"
"""The tissue that the score is defined for, as `--tissue` names it."""


def score_of_tissue(tissue: str, count: int, area_mm2: float, held_mm2: float) -> MitoticScore:
    """`score_where_held` where the tissue is breast; else none: nobody may read a grade into another tissue's count."""
    if tissue == BREAST:
        return score_where_held(count, area_mm2, held_mm2)
    what = f"the tissue is {tissue}" if tissue else "the tissue was not named"
    return MitoticScore(
        score=None, reason=f"{what}: the score is defined for invasive breast carcinoma alone (--tissue {BREAST})"
    )


def score_where_held(count: int, area_mm2: float, held_mm2: float) -> MitoticScore:
    """`mitotic_score` where glass in the area does not matter: cut-offs are of an area that is all tissue.

    The count stands as it is where the same density in all of the area has the same score; where it has another one,
    there is no score.

    Args:
        count: figures in the area.
        area_mm2: of all fields together.
        held_mm2: of it that is tissue and was searched.
    """
    told = mitotic_score(count, area_mm2)
    if told.score is None or not count or held_mm2 >= area_mm2:
        return told
    if not held_mm2:
        return MitoticScore(score=None, reason=f"none of the hotspot's {area_mm2:.4g} mm2 is tissue")
    whole = math.floor(count * area_mm2 / held_mm2 + 0.5)
    as_dense = mitotic_score(whole, area_mm2).score
    if as_dense == told.score:
        return told
    return MitoticScore(
        score=None,
        reason=f"{held_mm2:.3g} of the hotspot's {area_mm2:.4g} mm2 are tissue: its count of {count} would be score "
        f"{told.score}, but as dense in all of the area it is a count of {whole}, score {as_dense}",
    )


def mitotic_score(count: int, area_mm2: float) -> MitoticScore:
    """The score of a count in an area, by the row whose diameter is nearest.

    Args:
        count: figures in the area; they must have been counted where most are.
        area_mm2: of all fields together.

    Raises:
        ValueError: a count below 0, or an area that is not above 0.
    """
    if count < 0 or not (math.isfinite(area_mm2) and area_mm2 > 0):
        raise ValueError(f"no score for {count} figures in {area_mm2} mm2")
    diameter_mm = 2 * math.sqrt(area_mm2 / (FIELDS * math.pi))
    row = math.floor(diameter_mm / STEP_MM + 0.5)
    if row not in CUT_OFFS:
        first, last = min(CUT_OFFS), max(CUT_OFFS)
        return MitoticScore(
            score=None,
            reason=f"{area_mm2:.4g} mm2 is ten fields of {diameter_mm:.2f} mm diameter; the table has cut-offs for "
            f"{first / 100:.2f} to {last / 100:.2f} mm only",
        )
    one, two = CUT_OFFS[row]
    score = 1 if count <= one else 2 if count <= two else 3
    return MitoticScore(
        score=score,
        reason=f"1 up to {one}, 2 up to {two}, 3 above, in ten fields of {row / 100:.2f} mm diameter ({SOURCE})",
    )
