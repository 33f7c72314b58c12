"""What is counted of a slide that was sieved, and its heat map."""

import math
from dataclasses import asdict, replace
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from mitosieve.count.ground import Ground
from mitosieve.count.hotspot import Hotspot
from mitosieve.count.picture import Thumbnail, write_field
from mitosieve.count.summary import SlideFindings, SlideSummary, summarize
from mitosieve.detection import Detections
from mitosieve.familiarity import Familiarity
from mitosieve.geometry import Region
from mitosieve.run import layout
from mitosieve.scan.task import SlideTask, stated_of
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.reader_process import Opened
from mitosieve.sieve.resolution import resolution_warning
from mitosieve.slide.slide import Slide

MAP_PX = 900
"""Longer side of a heat map: small slides are read finer than their overview."""

CLOSE_PX = 600
"""Longer side of a hotspot's picture: some 2.4 um per px of a square of 2 mm2, at which cells are seen."""


def count_slide(task: SlideTask, found: Detections, facts: dict[str, Any]) -> SlideSummary:
    """Count a slide's figures; `facts` as `facts_of` has them."""
    findings = SlideFindings(
        slide_id=task.source.slide_id,
        mpp_xy=tuple(facts["mpp_xy"]),
        size_l0=tuple(facts["size_l0"]),
        roi_mm2=searched_mm2(task.source.roi, tuple(facts["size_l0"]), tuple(facts["mpp_xy"])),
        tissue_mm2=facts["tissue_mm2"],
        glass_mm2=facts.get("glass_mm2"),
        ground=Ground.from_json(facts.get("ground")),
        detections=found,
        proposer=facts["proposer"],
        threshold=facts["threshold"],
        familiarity=None if facts["familiarity"] is None else Familiarity.from_json(facts["familiarity"]),
        resolution_warning=facts.get("resolution_warning", ""),
        notes=tuple(facts.get("notes", ())),
        trust=task.trust,
    )
    return summarize(findings, **asdict(task.counts))


def searched_mm2(roi: BaseGeometry | None, size_l0: tuple[int, int], mpp_xy: tuple[float, float]) -> float | None:
    """mm2 of a slide that lie in an area; None where there is none, or all of the slide lies in it."""
    whole = shapely.box(-0.5, -0.5, size_l0[0] - 0.5, size_l0[1] - 0.5)
    if roi is None or roi.covers(whole):
        return None
    return float(roi.intersection(whole).area) * mpp_xy[0] * mpp_xy[1] / 1e6


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
    whole = opened.survey.tissue
    tissue, glass = (one.within(task.source.roi, slide.mpp_xy) for one in (whole, replace(whole, mask=~whole.mask)))
    return {
        "stated": stated_of(task.source),
        "mpp_xy": list(slide.mpp_xy),
        "size_l0": list(slide.size_l0),
        "tissue_mm2": round(tissue.area_mm2, 6),
        "glass_mm2": round(glass.area_mm2, 6),
        "ground": Ground.of(tissue.mask, tissue.mpp).to_json(),
        "threshold": detector.config.threshold,
        "proposer": detector.config.proposer.describe(detector.config.frame.mpp),
        "cut": opened.survey.cut,
        "resolution_warning": resolution_warning(slide, detector),
        "notes": list(slide.notes),
        "familiarity": None
        if detector.reference is None
        else detector.reference.compare(opened.survey.traits, counts).to_json(),
    }


def write_slide_heatmap(
    task: SlideTask, slide: Slide, opened: Opened, found: Detections, summary: SlideSummary
) -> None:
    """The slide's figures as density over its overview, which is at hand only now, with its hotspots enlarged; or, of a
    field, as rings.
    """
    figures = found.figures.center_l0
    shown = opened.survey.overview
    if 0 in shown.pixels.shape:
        return
    mpp = max(*slide.mpp_xy, max(side * mpp for side, mpp in zip(slide.size_l0, slide.mpp_xy, strict=True)) / MAP_PX)
    rgb = shown.pixels if mpp >= shown.tissue.mpp else slide.thumbnail(mpp)
    mpp = shown.tissue.mpp if rgb is shown.pixels else mpp
    tissue = shown.tissue.within(task.source.roi, slide.mpp_xy)  # what was not searched has no density
    mask = cv2.resize(tissue.mask.astype(np.uint8), rgb.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    point_um = (figures + 0.5) * np.array(slide.mpp_xy)
    roi, is_whole = task.source.roi, summary.findings.roi_mm2 is None
    area = () if roi is None or is_whole else _rings_um(roi, slide.mpp_xy)
    picture = Thumbnail(rgb=rgb, mpp_xy=(mpp, mpp), tissue=mask.astype(np.bool_), area_um=area)
    note = f"no hotspot: less tissue than {summary.hotspot.area_mm2:.3g} mm²" if summary.hotspot_note else ""
    path = task.file_in(layout.HEATMAPS, ".png")
    if picture.is_field:
        write_field(path, picture, point_um, note=note)
        return
    from mitosieve.count.heatmap import CloseUp, write_heatmap  # loads matplotlib, which takes longer than a field

    near = [CloseUp(hotspot=spot, rgb=_seen(slide, spot)) for spot in summary.hotspots if spot.count]
    write_heatmap(path, picture, point_um, hotspots=near, note=note)


def _rings_um(roi: BaseGeometry, mpp_xy: tuple[float, float]) -> tuple[NDArray[np.float64], ...]:
    """Outlines of an area, holes too, each (N, 2) closed, um from the slide's upper left corner."""
    rings = shapely.get_rings(shapely.get_parts(roi))
    return tuple((shapely.get_coordinates(ring) + 0.5) * np.array(mpp_xy) for ring in rings)


def _seen(slide: Slide, hotspot: Hotspot) -> NDArray[np.uint8]:
    """A hotspot's upright box, some CLOSE_PX px on its longer side."""
    x, y, width, height = hotspot.bounds_l0(slide.mpp_xy)
    left, top = math.floor(x + 0.5), math.floor(y + 0.5)
    box = Region(x=left, y=top, w=max(1, round(width)), h=max(1, round(height))).clip(slide.bounds)
    return slide.read(box, max(*slide.mpp_xy, max(hotspot.size_mm) * 1000 / CLOSE_PX))
