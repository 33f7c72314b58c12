"""What goes to a page: facts as JSON without any path of this machine, and cells as typed arrays."""

import struct
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from mitosieve import __version__
from mitosieve.count.summary import DISCLAIMER, SlideFindings, read_ground, summarize
from mitosieve.errors import MitosieveError
from mitosieve.view.desk import Desk
from mitosieve.view.pictures import TILE_PX, Pictures
from mitosieve.view.viewed import CALLS, Viewed, ViewedSlide

ARRAYS = struct.Struct("<II")
"""Head of the cells of a slide: how many, and a reserved 0. Then, of all cells each: score as float64, x and y in
level-0 px and suspicion as float32, call as uint8; little-endian."""


def session(desk: Desk) -> dict[str, Any]:
    """What a page must know before it shows anything."""
    viewed = desk.viewed
    return {
        "version": __version__,
        "kind": viewed.kind.value,
        "name": viewed.name,
        "identity": desk.identity,
        "edition": desk.edition,
        "reader": desk.reader,
        "readOnly": desk.read_only,
        "threshold": viewed.threshold,
        "detector": viewed.detector,
        "packaged": viewed.is_packaged,
        "hotspot": {"area_mm2": viewed.area_mm2, "shape": viewed.shape},
        "calls": [call.value for call in CALLS],
        "slides": [_slide(number, slide) for number, slide in enumerate(viewed.slides)],
        "note": DISCLAIMER,
    }


def _rings(area: BaseGeometry, size_l0: tuple[int, int] | None) -> list[list[list[float]]]:
    """Outlines of an area and of its holes, corners x, y in level-0 px; none where all of the slide lies in it."""
    if size_l0 is not None and area.covers(shapely.box(-0.5, -0.5, size_l0[0] - 0.5, size_l0[1] - 0.5)):
        return []
    every = shapely.get_parts(shapely.get_parts(area)).tolist()
    parts = [part for part in every if isinstance(part, shapely.Polygon)]
    rings = [ring for part in parts for ring in (part.exterior, *part.interiors)]
    return [shapely.get_coordinates(ring).tolist() for ring in rings]


def _slide(number: int, slide: ViewedSlide) -> dict[str, Any]:
    return {
        "number": number,
        "name": slide.slide_id,
        "mpp": slide.mpp,
        "size": slide.size_l0,
        "tissue_mm2": slide.tissue_mm2,
        "fault": slide.fault or ("" if slide.path is not None else slide.lost or "the image is not where it was"),
        "warning": slide.warning,
        "area": [] if slide.area is None else _rings(slide.area, slide.size_l0),
    }


def frame(pictures: Pictures) -> dict[str, Any]:
    """How a page asks for the tiles of an opened slide."""
    return {
        "size_l0": pictures.slide.size_l0,
        "mpp_xy": pictures.slide.mpp_xy,
        "mpp": pictures.mpp,
        "size": pictures.size,
        "tile": TILE_PX,
        "first": pictures.first,
        "deepest": pictures.deepest,
    }


def tissue(desk: Desk, slide: int) -> dict[str, Any]:
    """Where a slide has tissue that was looked at, as its JSON has it (`count/ground.py`); null where nobody knows.

    Raises:
        FormatError: the JSON is broken.
    """
    folder = desk.viewed.folder if desk.has_counts else None
    known = None if folder is None else read_ground(folder, desk.viewed.slides[slide].slide_id)
    return {"ground": None if known is None else known.to_json()}


def arrays(desk: Desk, slide: int) -> bytes:
    """The cells of a slide, see ARRAYS."""
    cells, rows = desk.cells, desk.cells.rows_of(slide)
    n = rows.stop - rows.start

    def little(values: NDArray[Any], kind: str) -> bytes:
        return np.ascontiguousarray(values, dtype=kind).tobytes()

    return b"".join(
        (
            ARRAYS.pack(n, 0),
            little(cells.score[rows], "<f8"),
            little(cells.center_l0[rows, 0], "<f4"),
            little(cells.center_l0[rows, 1], "<f4"),
            little(cells.suspicion[rows], "<f4"),
            little(cells.call[rows], "u1"),
        )
    )


def details(desk: Desk, rows: NDArray[np.intp]) -> list[dict[str, Any]]:
    """A few cells of any slides, by their rows, with the scores of their stages."""
    cells = desk.cells
    starts = {slide: cells.rows_of(slide).start for slide in set(cells.slide[rows].tolist())}
    return [
        {
            "slide": int(cells.slide[row]),
            "row": row - starts[int(cells.slide[row])],
            "x": float(cells.center_l0[row, 0]),
            "y": float(cells.center_l0[row, 1]),
            "score": _number(float(cells.score[row])),
            "call": CALLS[cells.call[row]].value,
            "suspicion": _number(float(cells.suspicion[row])),
            "stages": {
                name: _number(value)
                for name, value in zip(cells.stage_names, cells.stage_score[row].tolist(), strict=True)
            },
        }
        for row in rows.tolist()
    ]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def count(desk: Desk, slide: int, threshold: float | None) -> dict[str, Any]:
    """What a slide counts at a threshold: figures, density, hotspot, mitotic score.

    Raises:
        MitosieveError: the job could not do it, or neither the job nor the slide says how large it is.
    """
    viewed, stated = desk.viewed, desk.viewed.slides[slide]
    if stated.fault:
        raise MitosieveError(f"this slide was not counted: {stated.fault}")
    size, mpp_xy = stated.size_l0, stated.mpp_xy or (None if stated.mpp is None else (stated.mpp, stated.mpp))
    if stated.path is not None:
        opened = desk.shelf.pictures(slide).slide
        size, mpp_xy = opened.size_l0, opened.mpp_xy
    if size is None or mpp_xy is None:
        raise MitosieveError("the size of the slide is not known")
    found = desk.detections(slide, threshold)
    findings = SlideFindings(
        slide_id=stated.slide_id,
        mpp_xy=mpp_xy,
        size_l0=size,
        tissue_mm2=stated.tissue_mm2,
        ground=None if viewed.folder is None else read_ground(viewed.folder, stated.slide_id),
        detections=found,
        proposer="",
        threshold=viewed.threshold or 0.0 if threshold is None else threshold,
    )
    told = summarize(findings, area_mm2=viewed.area_mm2, shape=viewed.shape, tissue=viewed.tissue).to_json()
    wanted = ("figures", "figures_per_mm2", "tissue_mm2", "hotspot", "nottingham_mitotic_score", "threshold")
    return {name: told[name] for name in wanted}


def message(error: MitosieveError, viewed: Viewed) -> str:
    """What went wrong, without a path of this machine."""
    return viewed.words(error.what + (f"; {error.remedy}" if error.remedy else ""))
