"""Marks checked against their image, whatever format they come from."""

import math
from collections import Counter
from pathlib import Path

from mitosieve.cohort.marked import Caution, Mark, MarkedImage
from mitosieve.errors import FormatError

MAX_OUTSIDE_PX = 25.0
"""How far outside its image a centre may lie: half of MIDOG's 50-px box, so that the box still touches the image."""

_OUTSIDE = f"a centre lies up to {MAX_OUTSIDE_PX:g} px outside its image and is kept"


def check_marks(image: MarkedImage, size: tuple[int, int] | None) -> list[Caution]:
    """Refuse centres far outside; warn about near ones. Where no size is known, only the upper left is checked."""
    width, height = size or (math.inf, math.inf)
    cautions = _marked_twice(image)
    for mark in image.marks:
        distance = max(-0.5 - mark.x, -0.5 - mark.y, mark.x - (width - 0.5), mark.y - (height - 0.5))
        if distance > MAX_OUTSIDE_PX:
            raise FormatError(
                f"its centre ({mark.x:g}, {mark.y:g}) lies {distance:.0f} px outside {image.file_name}"
                + (f" ({width} x {height} px)" if size else ""),
                where=mark.where,
                remedy="mend its position (x, y in level-0 px, x first) or remove it",
            )
        if distance > 0:
            cautions.append(Caution(text=_OUTSIDE, subject=_spot(image, mark), domain=image.domain))
    return cautions


def _marked_twice(image: MarkedImage) -> list[Caution]:
    """A caution for each place that two marks of an image share: a doubled figure can be found only once."""
    times = Counter((mark.x, mark.y) for mark in image.marks)
    return [
        Caution(
            text="a place is marked more than once, and all its marks are kept",
            subject=f"{image.file_name} at ({x:g}, {y:g})",
            domain=image.domain,
        )
        for (x, y), number in times.items()
        if number > 1
    ]


def _spot(image: MarkedImage, mark: Mark) -> str:
    return f"{image.file_name} at ({mark.x:g}, {mark.y:g}), {Path(mark.where).name}"
