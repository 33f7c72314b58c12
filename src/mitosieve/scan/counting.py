"""What is counted of a slide that was sieved, and its heat map."""

from dataclasses import replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from mitosieve.count.heatmap import Thumbnail, write_heatmap
from mitosieve.count.hotspot import Hotspot
from mitosieve.count.summary import SlideFindings, SlideSummary, summarize
from mitosieve.detection import Detections
from mitosieve.familiarity import Familiarity
from mitosieve.geometry import mm2_from_px2, rescale_points
from mitosieve.run import layout
from mitosieve.scan.task import SlideTask
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.reader_process import Opened
from mitosieve.sieve.resolution import resolution_warning
from mitosieve.slide.overview import OVERVIEW_MPP
from mitosieve.slide.slide import Slide
from mitosieve.slide.tissue import Tissue


def count_slide(task: SlideTask, found: Detections, facts: dict[str, Any]) -> SlideSummary:
    """Count a slide's figures; `facts` as `facts_of` has them."""
    findings = SlideFindings(
        slide_id=task.source.slide_id,
        mpp_xy=tuple(facts["mpp_xy"]),
        size_l0=tuple(facts["size_l0"]),
        tissue_mm2=facts["tissue_mm2"],
        glass_mm2=facts.get("glass_mm2"),
        detections=found,
        proposer=facts["proposer"],
        threshold=facts["threshold"],
        familiarity=None if facts["familiarity"] is None else Familiarity.from_json(facts["familiarity"]),
        resolution_warning=facts.get("resolution_warning", ""),
        notes=tuple(facts.get("notes", ())),
    )
    return summarize(findings, area_mm2=task.counts.area_mm2, shape=task.counts.shape)


def _area_mm2(tissue: Tissue, slide: Slide, roi: BaseGeometry | None) -> float:
    """Area of a mask within the ROI, to the pixel of the overview."""
    if roi is None:
        return tissue.area_mm2
    rows, columns = np.nonzero(tissue.mask)
    place = rescale_points(
        np.stack([columns, rows], axis=1).astype(np.float64), mpp_from=tissue.mpp, mpp_to=slide.mpp_xy
    )
    return mm2_from_px2(int(shapely.contains_xy(roi, place[:, 0], place[:, 1]).sum()), tissue.mpp)


def facts_of(
    task: SlideTask, detector: Detector, slide: Slide, opened: Opened, counts: NDArray[np.int64]
) -> dict[str, Any]:
    """JSON facts of a slide that counting needs and that the file of its detections does not hold.

    Args:
        task: of the slide.
        detector: that sieved it.
        slide: opened.
        opened: what was fixed of it before.
        counts: first-stage scores of its places.
    """
    tissue = opened.survey.tissue
    glass = replace(tissue, mask=~tissue.mask)
    return {
        "mpp_xy": list(slide.mpp_xy),
        "size_l0": list(slide.size_l0),
        "tissue_mm2": round(_area_mm2(tissue, slide, task.source.roi), 6),
        "glass_mm2": round(_area_mm2(glass, slide, task.source.roi), 6),
        "threshold": detector.config.threshold,
        "proposer": detector.config.proposer.describe(detector.config.frame.mpp),
        "cut": opened.survey.cut,
        "resolution_warning": resolution_warning(slide, detector),
        "notes": list(slide.notes),
        "familiarity": None
        if detector.reference is None
        else detector.reference.compare(opened.survey.traits, counts).to_json(),
    }


def write_slide_heatmap(task: SlideTask, slide: Slide, opened: Opened, found: Detections, hotspot: Hotspot) -> None:
    """The slide's figures as density over its overview, which is at hand only now."""
    figures = found.figures.center_l0
    shown = opened.survey.overview
    if 0 in shown.pixels.shape:
        return
    picture = Thumbnail(rgb=shown.pixels, mpp_xy=(OVERVIEW_MPP, OVERVIEW_MPP))
    point_um = (figures + 0.5) * np.array(slide.mpp_xy)
    write_heatmap(task.file_in(layout.HEATMAPS, ".png"), picture, point_um, hotspot=hotspot)
