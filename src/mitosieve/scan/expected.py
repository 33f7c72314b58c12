"""What a job would do, before it does it: tissue of its slides, places a stage is given, and how long that takes.

Reads overviews alone, and writes nothing. A time is an earlier result's on this machine, or the card's; where there is
neither it is not known.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mitosieve.errors import MitosieveError
from mitosieve.scan.job import Scan, checked
from mitosieve.scan.learnt import KnownDetector, stated_speed
from mitosieve.scan.tables import measured_beside
from mitosieve.sieve.resolution import open_for
from mitosieve.slide.overview import look_over


@dataclass(frozen=True, kw_only=True)
class ExpectedSlide:
    """One slide of the job.

    Attributes:
        slide_id: its name.
        size_l0: width and height, px; None where it cannot be read.
        tissue_mm2: of its overview, within its ROI; None where it cannot be read.
        error: why it will fail; empty where nothing is seen against it.
    """

    slide_id: str
    size_l0: tuple[int, int] | None = None
    tissue_mm2: float | None = None
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A speed that was measured.

    Attributes:
        mm2_per_s: of tissue, starting not counted where it is of a result.
        where: what it was measured on.
    """

    mm2_per_s: float
    where: str


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A job before it is done.

    Attributes:
        slides: in its order.
        stages: name of each stage, and the places a mm2 of tissue that it is given, in words.
        rate: None where nobody measured.
    """

    slides: tuple[ExpectedSlide, ...]
    stages: tuple[tuple[str, str], ...]
    rate: Rate | None

    @property
    def tissue_mm2(self) -> float:
        return sum(slide.tissue_mm2 or 0.0 for slide in self.slides)

    @property
    def seconds(self) -> float | None:
        """Of all slides, one after the other; None where nobody measured."""
        return None if self.rate is None else self.tissue_mm2 / self.rate.mm2_per_s


def expected_of(job: Scan) -> Expected:
    """See a job's slides whole, and say what they will take.

    Raises:
        InputError: an unknown format, or an operating point that the detector does not have.
        DetectorError: there is no whole detector, or it has no graphs for the engine that is asked for.
    """
    known = checked(job)
    slides: list[ExpectedSlide] = []
    for item in job.own_items:
        try:
            with open_for(item, known.detector) as slide:
                tissue = look_over(slide, known.detector.config.proposer.tissue).tissue
                mm2 = tissue.area_within_mm2(item.roi, slide.mpp_xy)
                slides.append(ExpectedSlide(slide_id=item.slide_id, size_l0=slide.size_l0, tissue_mm2=mm2))
        except MitosieveError as error:
            slides.append(ExpectedSlide(slide_id=item.slide_id, error=str(error).replace("\n", "; ")))
    return Expected(slides=tuple(slides), stages=tuple(_given(known)), rate=_rate(job))


def _given(known: KnownDetector) -> Iterator[tuple[str, str]]:
    """What is let through to each stage, a mm2 of tissue."""
    config = known.detector.config
    before = config.proposer.describe(config.frame.mpp)
    for stage in config.stages:
        yield (
            stage.name,
            before if stage.per_mm2 is None else f"{stage.per_mm2:g} a mm2, of a small slide at least so many",
        )
        before = f"those that {stage.name} scores {stage.threshold:.3g} or more: how many is not known before"


def _rate(job: Scan) -> Rate | None:
    """Of a result beside this one, else of the card."""
    beside = measured_beside(job.out, job.detector, job.compute)
    if beside is not None:
        where, mm2, seconds = beside
        return Rate(mm2_per_s=mm2 / seconds, where=f"{where}, {mm2:.3g} mm2 on this machine")
    stated = stated_speed(job.detector)
    return None if stated is None else Rate(mm2_per_s=stated[0], where=f"its card: {stated[1]}")
