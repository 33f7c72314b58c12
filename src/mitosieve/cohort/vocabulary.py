"""What the names of classes mean: figure or imposter. One rule for all formats."""

import re

from mitosieve.annotation import Label
from mitosieve.errors import FormatError

_NAMES = {
    Label.MITOTIC_FIGURE: ("mitotic figure", "mitosis", "mitotic", "mitoses", "mf"),
    Label.IMPOSTER: (
        "imposter", "impostor", "not mitotic figure", "non mitotic figure", "not mitosis", "non mitosis", "nmf",
        "hard negative", "hard negative look alike",
    ),
}  # fmt: skip


def label_of(name: str, *, where: str) -> Label:
    """The label that a format's own name means; case, `-`, `_` and blanks do not matter.

    Raises:
        FormatError: an unknown name.
    """
    plain = re.sub(r"[\s_-]+", " ", name).strip().lower()
    for label, names in _NAMES.items():
        if plain in names:
            return label
    raise FormatError(
        f"unknown label '{name}'",
        where=where,
        remedy=f"use one of: {', '.join(repr(n) for names in _NAMES.values() for n in names[:3])}",
    )
