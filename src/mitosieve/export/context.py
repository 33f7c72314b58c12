"""What a writer needs to know of the slide beside its detections. Knows nothing of detectors and reads no pixels."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mitosieve.detection import Detections
from mitosieve.errors import FrameError
from mitosieve.slide.slide import Slide


@dataclass(frozen=True, kw_only=True)
class HotspotOutline:
    """The region with most figures, as it is drawn.

    Attributes:
        corners_l0: (N, 2) of its polygon in level-0 px, not closed.
        area_mm2: its area.
        figures: how many it holds.
    """

    corners_l0: NDArray[np.float64]
    area_mm2: float
    figures: int


@dataclass(frozen=True, kw_only=True)
class SlideContext:
    """One slide as its exports speak of it.

    Attributes:
        slide_id: its name in the detections.
        path: the image file or folder; only the DICOM writer looks into it, and only for identifiers.
        size_l0: width, height in level-0 px.
        mpp_xy: um per level-0 px along a row and along a column; they differ where pixels are oblong.
        warnings: in which ways the slide is unlike what the detector knows, a sentence each.
        notes: what else whoever reads the detections must know of the slide, a sentence each. Both are written by the
            formats that have a place for them.
        detector: hash of the detector, of which the ids of its detections are made; empty where nobody knows it.
        hotspot: the region with most figures, for formats that can draw it; None where there is none.
    """

    slide_id: str
    path: Path
    size_l0: tuple[int, int]
    mpp_xy: tuple[float, float]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    detector: str = ""
    hotspot: "HotspotOutline | None" = None

    def __post_init__(self) -> None:
        if not all(math.isfinite(mpp) and mpp > 0 for mpp in self.mpp_xy):
            raise ValueError(f"mpp must be above 0, not {self.mpp_xy}")

    @classmethod
    def of(
        cls,
        slide: Slide,
        *,
        warnings: tuple[str, ...] = (),
        detector: str = "",
        hotspot: "HotspotOutline | None" = None,
    ) -> "SlideContext":
        """The facts of an opened slide."""
        return cls(
            slide_id=slide.slide_id,
            path=slide.path,
            size_l0=slide.size_l0,
            mpp_xy=slide.mpp_xy,
            warnings=warnings,
            notes=slide.notes,
            detector=detector,
            hotspot=hotspot,
        )

    @property
    def told(self) -> tuple[str, ...]:
        """Warnings, then notes."""
        return (*self.warnings, *self.notes)

    def mm(self, center_l0: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) level-0 px in mm, each axis by its own mpp; the centre of the pixel (0, 0) is at 0 mm."""
        return center_l0 * (np.array(self.mpp_xy) / 1000)

    def check(self, detections: Detections) -> None:
        """Refuse rows of another slide or of several: their positions have nothing to do with each other.

        Raises:
            FrameError: a row's slide_id is not this slide's.
        """
        if not (detections.slide_id != self.slide_id).any():  # a million names are compared at once, but not sorted
            return
        names = sorted(set(np.unique(detections.slide_id).tolist()))
        if len(names) > 1:
            raise FrameError(
                f"one file takes the detections of one slide, not of {len(names)}", where=", ".join(names[:3])
            )
        raise FrameError(f"the detections are of the slide '{names[0]}', not of '{self.slide_id}'", where=self.path)
