"""A result of detect as the page shows it: its slides, and its detections.

Reads the job's files without the room that wrote them, which would load torch before the first tile.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from mitosieve.cohort.table import Row, finite, read_table
from mitosieve.count.hotspot import AREA_MM2, SHAPES, Shape
from mitosieve.detection import Detections, detection_ids
from mitosieve.errors import FormatError
from mitosieve.export.table import read_detections
from mitosieve.review.area import areas_of
from mitosieve.run import layout
from mitosieve.run.folder import read_json
from mitosieve.view.viewed import CALLS, Call, Cells, Kind, Viewed, ViewedSlide, without_paths

_COLUMNS = ("mpp_x", "mpp_y", "width", "height", "tissue_mm2", "warning", "error")


def read_result(folder: Path) -> Viewed:
    """What a folder of detect holds, but its detections; images are where the job found them.

    Raises:
        FormatError: it has no detections, or a file of it is broken.
    """
    if not (folder / layout.DETECTIONS).exists():
        raise FormatError(
            "is missing: the job is not done",
            where=folder / layout.DETECTIONS,
            remedy="repeat the detect command with --resume; a part of the slides (--shard) has no table of its own",
        )
    request: dict[str, Any] = read_json(folder / layout.REQUEST, {})
    stated = _stated_paths(request)
    areas = areas_of(request, folder)
    named = ((row, row.values["slide_id"]) for row in _rows(folder))
    slides = tuple(_slide(row, folder, stated(name), areas.get(name)) for row, name in named)
    area, shape, tissue = _counts(folder)
    detector = str(request.get("detector", ""))
    return Viewed(
        kind=Kind.RESULT,
        name=folder.resolve().name,
        folder=folder,
        slides=slides,
        threshold=float(request["threshold"]) if isinstance(request.get("threshold"), int | float) else None,
        detector=Path(detector).name if Path(detector).name != layout.DETECTOR else Path(detector).parent.name,
        is_packaged=detector != "" and Path(detector).name == detector,
        detector_hash=str(request.get("detector_hash", "")),
        area_mm2=area,
        shape=shape,
        tissue=tissue,
    )


def _stated_paths(request: dict[str, Any]) -> Callable[[str], Path | None]:
    """Where the job found each slide: as it says, or as the cohort says that it names."""
    stated = request.get("slides")
    paths = {str(name): Path(str(path)) for name, path in stated.items()} if isinstance(stated, dict) else {}
    cohort = request.get("cohort")
    if isinstance(cohort, str) and (Path(cohort) / "slides.csv").exists():
        rows = read_table(Path(cohort) / "slides.csv", required=("slide_id", "path"))
        paths |= {row.values["slide_id"]: Path(cohort) / row.values["path"] for row in rows}
    return paths.get


def _rows(folder: Path) -> list[Row]:
    """Of summary.csv, or of slides.csv, or where there is neither the names that the detections have."""
    for name in (layout.SUMMARY, layout.SLIDES):
        if (folder / name).exists():
            return read_table(folder / name, required=("slide_id",), optional=_COLUMNS)
    names = np.unique(read_detections(folder / layout.DETECTIONS).slide_id).tolist()
    empty = dict.fromkeys(_COLUMNS, "")
    return [Row(path=folder / layout.DETECTIONS, line=0, values={**empty, "slide_id": name}) for name in names]


def _slide(row: Row, folder: Path, path: Path | None, area: BaseGeometry | None) -> ViewedSlide:
    values = row.values
    known = {name: finite(values[name], name, where=row.where) for name in _COLUMNS[:5] if values[name]}
    parents = () if path is None else (path.parent,)
    return ViewedSlide(
        slide_id=values["slide_id"],
        path=path,
        mpp=(known["mpp_x"] + known["mpp_y"]) / 2 if {"mpp_x", "mpp_y"} <= set(known) else None,
        mpp_xy=(known["mpp_x"], known["mpp_y"]) if {"mpp_x", "mpp_y"} <= set(known) else None,
        size_l0=(round(known["width"]), round(known["height"])) if {"width", "height"} <= set(known) else None,
        tissue_mm2=known.get("tissue_mm2"),
        fault=without_paths(values["error"], folder, *parents),
        warning=values["warning"],
        area=area,
    )


def _counts(folder: Path) -> tuple[float, Shape, str]:
    """Area and shape of the hotspot that the job counted with, and the tissue it was told, as its run.json says."""
    run: dict[str, Any] = read_json(folder / layout.RUN, {})
    counts = run.get("provenance", {}).get("counts", {}) if isinstance(run.get("provenance"), dict) else {}
    shape = counts.get("shape", "square")
    tissue = str(counts.get("tissue", ""))
    return float(counts.get("area_mm2", AREA_MM2)), shape if shape in SHAPES else "square", tissue


def read_cells(viewed: Viewed) -> Cells:
    """The detections of a result; those of slides that its tables do not name are left out.

    Raises:
        FormatError: the table is broken.
    """
    assert viewed.folder is not None
    from mitosieve.view.quick import read_quickly  # loads what the first tile does not need

    path = viewed.folder / layout.DETECTIONS
    slide_ids = [slide.slide_id for slide in viewed.slides]
    found = read_quickly(path)
    return cells_of(read_detections(path) if found is None else found, slide_ids, viewed.detector_hash)


def cells_of(found: Detections, slide_ids: list[str], detector_hash: str) -> Cells:
    """Detections by slide in the order of `slide_ids`, by falling score, equal ones by their row."""
    numbers = {name: number for number, name in enumerate(slide_ids)}
    known = list(dict.fromkeys(found.slide_id.tolist()))
    place = {name: number for number, name in enumerate(known)}
    code = np.array([place[name] for name in found.slide_id.tolist()], dtype=np.int32)
    slide = np.array([numbers.get(name, -1) for name in known], dtype=np.int32)[code]
    order = np.lexsort((-found.score, slide))
    order = order[slide[order] >= 0]
    kept = found[order]
    call = np.where(kept.is_figure, CALLS.index(Call.FIGURE), CALLS.index(Call.CANDIDATE)).astype(np.uint8)

    def ids(rows: NDArray[np.intp]) -> list[str]:
        return detection_ids(kept[rows], detector_hash)

    return Cells(
        slide=slide[order],
        center_l0=kept.center_l0,
        score=kept.score,
        call=call,
        names=ids,
        stage_names=kept.stage_names,
        stage_score=kept.stage_score,
    )
