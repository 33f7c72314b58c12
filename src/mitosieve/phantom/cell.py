"""The cells of a phantom: what kinds there are, and what each one truly is. Knows nothing of pixels.

A pair of daughter plates (anaphase, telophase) is one cell with one centre, as experts mark it.
"""

from dataclasses import dataclass
from enum import StrEnum

from mitosieve.annotation import Label

BACKGROUND = "background"
"""True label of a cell that is neither a mitotic figure nor a marked look-alike."""


class Kind(StrEnum):
    """What a drawn cell is: a phase of division, a sort of imposter, or a sort of background nucleus."""

    PROMETAPHASE = "prometaphase"
    METAPHASE_SIDE = "metaphase, side"
    METAPHASE_END = "metaphase, end"
    ANAPHASE = "anaphase"
    TELOPHASE = "telophase"
    APOPTOTIC = "apoptotic"
    PYKNOTIC = "pyknotic"
    CRUSHED = "crushed"
    DARK_LYMPHOCYTE = "dark lymphocyte"
    EPITHELIAL = "epithelial"
    HYPERCHROMATIC = "hyperchromatic"
    SPINDLE = "spindle"
    LYMPHOCYTE = "lymphocyte"


FIGURE_SHARES: dict[Kind, float] = {
    Kind.PROMETAPHASE: 0.28,
    Kind.METAPHASE_SIDE: 0.34,
    Kind.METAPHASE_END: 0.12,
    Kind.ANAPHASE: 0.14,
    Kind.TELOPHASE: 0.12,
}
"""How often each phase is drawn: metaphase is what sections show most; a choice by eye, not a measured figure."""

IMPOSTER_SHARES: dict[Kind, float] = {
    Kind.APOPTOTIC: 0.34,
    Kind.PYKNOTIC: 0.34,
    Kind.CRUSHED: 0.16,
    Kind.DARK_LYMPHOCYTE: 0.16,
}
"""How often each sort of imposter is drawn; a choice by eye, not a measured figure."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a slide.

    Attributes:
        x_l0, y_l0: centre in level-0 px; the middle of the pair for anaphase and telophase.
        kind: what it is.
        difficulty: probability that its body, and apart from it its chromatin, has a look that figures and imposters
            share; 0 is a textbook cell. 0 for background.
        angle: orientation of its long axis, radians.
    """

    x_l0: float
    y_l0: float
    kind: Kind
    difficulty: float = 0.0
    angle: float = 0.0

    @property
    def true_label(self) -> str:
        """A `Label` value, or `BACKGROUND`."""
        if self.kind in FIGURE_SHARES:
            return Label.MITOTIC_FIGURE.value
        return Label.IMPOSTER.value if self.kind in IMPOSTER_SHARES else BACKGROUND
