"""Names of marks, and of places without one, by which they are handed out and taken back: the one tongue of both ways.

Knows no file format.
"""

import uuid

from mitosieve.annotation import NO_MARK, Label

NO_ROW = -1
"""Row of a place without a mark."""

CLASS_OF = {Label.MITOTIC_FIGURE.value: "Mitotic figure", Label.IMPOSTER.value: "Imposter", NO_MARK: "Background"}
"""QuPath's name of each label."""

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "mitosieve/place")


def place_id(slide_id: str, x: float, y: float, row: int) -> str:
    """The id of a place: equal in every audit and every version of a cohort that has the mark in the same row.

    Args:
        slide_id: of the place.
        x: level-0 px; the first two digits after the point count.
        y: as x.
        row: of the mark in the cohort's annotations, which tells two marks at one place apart; NO_ROW without a mark.

    Returns:
        A UUID of version 5 (RFC 9562): a hash of these four.
    """
    return str(uuid.uuid5(_NAMESPACE, f"{slide_id}|{in_digits(x)}|{in_digits(y)}|{row}"))


def in_digits(value: float) -> str:
    """A coordinate with two digits after the point, as ids and files name it; never a negative zero."""
    return f"{round(value, 2) + 0.0:.2f}"
