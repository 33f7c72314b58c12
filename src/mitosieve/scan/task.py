"""One slide of a job: what is asked of it, and what became of it. Small and picklable."""

import difflib
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from mitosieve.count.hotspot import AREA_MM2
from mitosieve.count.nottingham import BREAST
from mitosieve.count.shape import Shape, check_shape
from mitosieve.count.summary import SlideFailure, SlideSummary
from mitosieve.count.trust import Trust
from mitosieve.detection import Detections
from mitosieve.errors import InputError
from mitosieve.network.compute import Compute
from mitosieve.run import layout
from mitosieve.sieve.reader_process import SlideSource


@dataclass(frozen=True, kw_only=True)
class CountConfig:
    """How a slide is counted.

    Attributes:
        area_mm2: of the hotspot.
        shape: of the hotspot.
        tissue: what the slides are of, in a word; empty where nobody says. A Nottingham score is given for breast.
    """

    area_mm2: float = AREA_MM2
    shape: Shape = "square"
    tissue: str = ""

    @classmethod
    def of(cls, *, area_mm2: float, shape: str, tissue: str | None = None) -> "CountConfig":
        """From a user's words.

        Raises:
            InputError: an unknown shape, an area that is none, or a tissue that is nearly "breast".
        """
        check_shape(shape)
        word = " ".join((tissue or "").lower().split())
        if word != BREAST and (BREAST in word or difflib.get_close_matches(word, [BREAST], cutoff=0.7)):
            raise InputError(
                f"'{tissue}' is not the tissue {BREAST}, for which alone there is a Nottingham score",
                remedy=f"--tissue {BREAST}, where that is meant",
            )
        if not 0 < area_mm2 < float("inf"):
            raise InputError(f"a hotspot cannot have {area_mm2} mm2", remedy="give an area above 0, as 2 or 2.37")
        return cls(area_mm2=area_mm2, shape=cast("Shape", shape), tissue=word)


def stated_of(source: SlideSource) -> dict[str, Any]:
    """JSON facts of what was stated of a slide, which a part of it keeps: um per px in x and y, and the area."""
    mpp = None if source.mpp is None else list(source.mpp) if isinstance(source.mpp, tuple) else [source.mpp] * 2
    area = None if source.roi is None else hashlib.sha256(source.roi.wkb).hexdigest()[:12]
    return {"mpp": mpp, "roi": area}


@dataclass(frozen=True, kw_only=True)
class SlideTask:
    """What one slide's files are made of. Small and picklable: it may travel to another machine.

    Attributes:
        source: the slide.
        out: folder of the job.
        formats: extra files, names of `export.FORMATS`.
        detector: folder of the detector, or its name in the package, which each machine has.
        threshold: instead of the detector's own; None leaves it.
        compute: machine.
        counts: how it is counted.
        workers: readers where the task runs alone.
        detector_hash: of the detector, of which the ids of its detections are made.
        trust: what is known of the detector; None where nobody asked.
    """

    source: SlideSource
    out: Path
    formats: tuple[str, ...]
    detector: Path | str
    threshold: float | None
    compute: Compute
    counts: CountConfig = field(default_factory=CountConfig)
    workers: int = 0
    detector_hash: str = ""
    trust: Trust | None = None

    def file_in(self, folder: str, ending: str) -> Path:
        """Where a file of the slide stands in a folder of the job."""
        return self.out / folder / layout.file_of(self.source.slide_id, ending)


@dataclass(frozen=True, kw_only=True)
class SlideResult:
    """What became of a slide.

    Attributes:
        summary: its counts, or why it failed.
        detections: as its file has them; None where it failed.
        seconds: by part of the work, and "all"; empty where it had been done before, or a part of it.
    """

    summary: SlideSummary | SlideFailure
    detections: Detections | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def is_kept(self) -> bool:
        """Whether it says nothing of the time of a slide: an earlier try did it, or a part of it, or it failed."""
        return not self.seconds

    @classmethod
    def failure(cls, slide_id: str, error: str) -> "SlideResult":
        """Of a slide that could not be done."""
        return cls(summary=SlideFailure(slide_id=slide_id, error=error.replace("\n", "; ")))
