"""What a phantom cohort shall hold: its configuration, checked before anything is drawn."""

from dataclasses import dataclass

from mitosieve.errors import InputError
from mitosieve.geometry import px_from_um
from mitosieve.phantom.canvas import MPP
from mitosieve.phantom.scanner import SCANNERS

MIN_SIDE_PX, MAX_SIDE_PX = round(px_from_um(64.0, MPP)), 8192
"""Below 64 um a slide has no room for a nest; above 8192 px its maps take gigabytes."""

MAX_MARKED_MM2 = 1200.0
"""Figures and imposters together per mm2, above which they do not find room 12 um apart in the epithelium."""


@dataclass(frozen=True, kw_only=True)
class PhantomConfig:
    """A synthetic cohort.

    Attributes:
        cases: number of cases; each has its own tissue, stain and mitotic rate.
        slides_per_case: slides of each case, alike in tissue and stain.
        size_px: width and height of a slide in level-0 px at 0.25 um per px.
        figures_per_mm2: mean over the cohort; a case has between half and one and a half of it. High for tissue, so
            that a small cohort holds enough to learn from.
        imposters_per_mm2: mean over the cohort, the same for every case.
        difficulty: mean difficulty of figures and imposters, 0..1. A cell's own difficulty is the probability, for its
            body and for its chromatin, of a look that both labels share: at 0 each cell shows what it is, at 1 the
            labels differ only in where cells lie and in how often chromatin comes in pairs.
        scanners: number of domains, used in turn by the cases.
        flipped: share of the true figures marked as imposters, and of the true imposters marked as figures.
        missed: share of the true figures that carry no mark.
        added: background nuclei marked as figures, as a share of the number of true figures.
        unlabelled_cases: the last so many cases carry no marks, and their slides are `labelled=no`.

    Raises:
        InputError: a value out of range.
    """

    cases: int = 12
    slides_per_case: int = 2
    size_px: tuple[int, int] = (1024, 1024)
    figures_per_mm2: float = 160.0
    imposters_per_mm2: float = 240.0
    difficulty: float = 0.3
    scanners: int = 3
    flipped: float = 0.0
    missed: float = 0.0
    added: float = 0.0
    unlabelled_cases: int = 0

    def __post_init__(self) -> None:
        whole = (self.cases, self.slides_per_case, *self.size_px, self.scanners, self.unlabelled_cases)
        if not all(isinstance(value, int) for value in whole):
            raise InputError(f"the phantom's counts and sizes are {whole}", remedy="give whole numbers")
        _within("cases", self.cases, 1, 10_000)
        _within("slides_per_case", self.slides_per_case, 1, 1_000)
        if len(self.size_px) != 2:
            raise InputError(f"the phantom's size_px is {self.size_px}", remedy="give a width and a height in px")
        _within("size_px", min(self.size_px), MIN_SIDE_PX, MAX_SIDE_PX)
        _within("size_px", max(self.size_px), MIN_SIDE_PX, MAX_SIDE_PX)
        for name in ("figures_per_mm2", "imposters_per_mm2"):
            _within(name, getattr(self, name), 0.0, MAX_MARKED_MM2)
        # a case may have one and a half times the mean rate of figures
        _within("1.5 * figures_per_mm2 + imposters_per_mm2", self.peak_mm2, 0.0, MAX_MARKED_MM2)
        for name in ("difficulty", "flipped", "missed", "added"):
            _within(name, getattr(self, name), 0.0, 1.0)
        _within("flipped + missed", self.flipped + self.missed, 0.0, 1.0)
        _within("scanners", self.scanners, 1, len(SCANNERS))
        _within("unlabelled_cases", self.unlabelled_cases, 0, self.cases)

    @property
    def peak_mm2(self) -> float:
        """Figures and imposters per mm2 in the case with the highest mitotic rate."""
        return 1.5 * self.figures_per_mm2 + self.imposters_per_mm2


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also refuses NaN
        raise InputError(f"the phantom's {name} is {value:g}", remedy=f"choose a value from {low:g} to {high:g}")
