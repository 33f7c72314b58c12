"""QuPath's GeoJSON: detections out; a region of interest is read by `roi`.

QuPath lets the pixel (0, 0) cover [0, 1), so its centre is (0.5, 0.5); here it is (0, 0) (see `geometry`). Half a pixel
is added on the way out. Knows nothing of detectors or slides.
"""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mitosieve.detection import Detections, detection_ids
from mitosieve.export.context import HotspotOutline, SlideContext
from mitosieve.export.rows import chunks, fill, write_list
from mitosieve.geometry import QUPATH_SHIFT

FIGURE_CLASS = {"name": "Mitotic figure", "color": [0, 200, 0]}
CANDIDATE_CLASS = {"name": "Mitotic figure candidate", "color": [255, 200, 0]}
"""Classes shown by QuPath: a row at or above the operating threshold, and one below it."""

IMPOSTER_CLASS = {"name": "Imposter", "color": [213, 94, 0]}
"""Class of a cell that readers called no figure."""

BACKGROUND_CLASS = {"name": "Background", "color": [86, 180, 233]}
UNSURE_CLASS = {"name": "Unsure", "color": [140, 110, 230]}
"""Classes that make no mark when they come back: of a place of an audit that has none and is to have none, and of a
cell of which readers are unsure or disagree.
"""

HOTSPOT_CLASS = {"name": "Hotspot", "color": [0, 114, 178]}
"""Class of the region with most figures."""

CALLED = "called figure"
"""Measurement that says whether the detector called a detection a figure, 1 or 0: a class may be changed in QuPath."""

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "mitosieve/hotspot")


def write_geojson(
    path: Path,
    detections: Detections,
    slide: SlideContext,
    *,
    more: Iterable[Mapping[str, Any]] = (),
) -> Path:
    """Write detections of one slide as a FeatureCollection of points that QuPath loads by drag and drop.

    Before them stands the hotspot, where the slide has one: a locked QuPath `annotation`, so that nobody moves it by
    accident. Every object has an id that is a UUID, as QuPath demands; those of detections are `detection_ids`.

    Each is a QuPath `detection` (not an annotation: those become slow by the ten thousand), classified by whether it
    reached the operating threshold, with the score of each stage and CALLED as measurements; stages that did not see a
    cell are left out. Notes of the slide are the collection's member `notes`, which readers pass over (RFC 7946, 6.1).
    Positions are level-0 px (3 digits) whatever the pyramid, scores have 6 digits. Written as a stream: a million
    points need no memory.

    Args:
        path: where to.
        detections: of one slide, level-0 px.
        slide: which slide; its mpp is not used, GeoJSON is in px.
        more: features behind them, as they are.

    Raises:
        FrameError: the detections are of several slides, or of another one.
        StorageError: the file cannot be written.
    """
    slide.check(detections)
    notes = f'"notes":{json.dumps(slide.told)},' if slide.told else ""
    head = f'{{"type":"FeatureCollection",{notes}"features":['
    return write_list(path, head=head, rows=_features(detections, slide, more), tail="]}\n")


def _hotspot(spot: HotspotOutline, slide: SlideContext) -> str:
    corners = (spot.corners_l0 + QUPATH_SHIFT).round(2).tolist()
    feature = {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, f"{slide.detector}|{slide.slide_id}|{corners}")),
        "geometry": {"type": "Polygon", "coordinates": [[*corners, corners[0]]]},
        "properties": {
            "objectType": "annotation",
            "name": f"Hotspot: {spot.figures} figures in {spot.area_mm2:.4g} mm2",
            "classification": HOTSPOT_CLASS,
            "isLocked": True,
            "measurements": {"figures": spot.figures, "area mm2": round(spot.area_mm2, 4)},
        },
    }
    return json.dumps(feature, separators=(",", ":"), allow_nan=False)


def _features(
    detections: Detections,
    slide: SlideContext,
    more: Iterable[Mapping[str, Any]],
) -> Iterator[str]:
    if slide.hotspot is not None:
        yield _hotspot(slide.hotspot, slide)
    head = '{"type":"Feature","geometry":{"type":"Point","coordinates":[%.3f,%.3f]},"properties":{'
    classes = [_escaped(CANDIDATE_CLASS), _escaped(FIGURE_CLASS)]
    fields = [f",{_escaped(f'{name} score')}:%.6f" for name in detections.stage_names]
    bits = 2 << np.arange(len(fields))

    def template(kind: int) -> str:
        """Of rows of one class that the same stages saw: the lowest bit is the class, the others the stages."""
        seen = "".join(field for number, field in enumerate(fields) if kind & (2 << number))
        return (
            f'{head}"objectType":"detection","classification":{classes[kind & 1]},'
            f'"measurements":{{"score":%.6f{seen},"{CALLED}":{kind & 1}}}}}'
        )

    for rows in chunks(len(detections)):
        part = detections[rows]
        values = np.column_stack([part.center_l0 + QUPATH_SHIFT, part.score, part.stage_score])
        ends = [f',"id":"{name}"}}' for name in detection_ids(part, slide.detector)]
        kinds = part.is_figure.astype(np.int64) + (~np.isnan(part.stage_score)) @ bits
        yield fill(template, kinds, values, ends=ends)
    for feature in more:
        yield json.dumps(feature, separators=(",", ":"), allow_nan=False)


def _escaped(value: object) -> str:
    """Compact JSON for a %-template."""
    return json.dumps(value, separators=(",", ":")).replace("%", "%%")
