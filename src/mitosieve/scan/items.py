"""Which slides a job looks at, and what is stated of them: those of image files, or of a cohort."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.marked import MarkedImage
from mitosieve.cohort.resolution import StatedMpp
from mitosieve.errors import InputError, ResolutionError, plural, some
from mitosieve.run import layout
from mitosieve.scan.paths import is_dicom_slide
from mitosieve.sieve.reader_process import SlideSource
from mitosieve.slide.header import is_dicom
from mitosieve.slide.slide import SLIDE_SUFFIXES, place_of

ScanItem = SlideSource
"""One slide to do: its file, name, stated mpp and where to look."""


def items_of_images(
    paths: Sequence[Path], *, mpp: str | None, roi: BaseGeometry | None, tell: Callable[[str], None] | None = None
) -> list[ScanItem]:
    """Slides from image files; mpp as stated, else from the file, else the slide fails with the remedy in its message.

    Args:
        paths: of the slides.
        mpp: a number, or a CSV with slide,mpp; None leaves it to the files.
        roi: where to look, level-0 px.
        tell: told which slides a CSV leaves out, and which of its rows name no slide.

    Raises:
        InputError: no image, or two of the same name.
        ResolutionError: `mpp` is neither a number nor a readable CSV, or a CSV that names none of the slides.
    """
    stated = StatedMpp.of(mpp)
    names = [_name(path) for path in paths]
    twice = next((name for name, times in Counter(names).items() if times > 1), None)
    if twice is not None:
        both = [str(path) for path, name in zip(paths, names, strict=True) if name == twice]
        raise InputError(
            f"two images are called '{twice}'",
            where=some(both, " and ", most=2),  # a viewer tells its readers no paths
            remedy="rename one, or detect on them in two folders",
        )
    if not paths:
        raise InputError("no image to detect on", remedy="name image files, or use --cohort")
    items: list[ScanItem] = []
    for path, name in zip(paths, names, strict=True):
        image = MarkedImage(file_name=path.name, slide_id=name, case_id=name, domain="", marks=())
        items.append(ScanItem(path=path, slide_id=name, mpp=stated.find(image), roi=roi))
    _tell_left_out(items, stated, mpp, tell)
    return items


def _tell_left_out(
    items: Sequence[ScanItem], stated: StatedMpp, mpp: str | None, tell: Callable[[str], None] | None
) -> None:
    """Say which slides a table of resolutions leaves out, and which of its rows name none.

    Raises:
        ResolutionError: it names none of the slides: what it states would be ignored.
    """
    left = [item.slide_id for item in items if item.mpp is None] if mpp is not None else []
    unused = [caution.text for caution in stated.unused()]
    if left and len(left) == len(items):
        raise ResolutionError(
            f"names no slide of the job ({len(items)} in all)",
            where=mpp,
            remedy=f"write in its column slide the names of slides or of their files: {some(left)}",
        )
    if tell is None:
        return
    if left:
        tell(f"note: {mpp} leaves out {plural(len(left), 'slide')}, of which the file is believed: {some(left)}")
    for text in unused:
        tell(f"note: {text}")


def _name(path: Path) -> str:
    """A slide's name: its file's without its ending, a DICOM folder's whole; as text that every table can hold."""
    whole = is_dicom_slide(path) or (is_dicom(path) and path.suffix.lower() not in SLIDE_SUFFIXES)
    return layout.as_text(path.name if whole else path.stem)


def places_of(items: Sequence[ScanItem]) -> dict[str, str]:
    """Where each slide lies, by its name, for whoever opens it after the job: a link lies where it lies."""
    return {item.slide_id: str(place_of(item.path)) for item in items}


def areas_of(items: Sequence[ScanItem]) -> list[dict[str, Any]]:
    """The areas that alone are looked at, each as GeoJSON in level-0 px (pixel centres at integers), with the names of
    its slides; slides that are looked at whole are in none.
    """
    found: dict[str, tuple[BaseGeometry, list[str]]] = {}
    for item in items:
        if item.roi is not None:
            found.setdefault(item.roi.wkb_hex, (item.roi, []))[1].append(item.slide_id)
    return [{"slides": names, "area": json.loads(shapely.to_geojson(area))} for area, names in found.values()]


def items_of_cohort(cohort: Cohort, cases: tuple[str, ...] | None) -> list[ScanItem]:
    """Slides of a cohort's cases with their mpp and ROI; None is all cases."""
    part = cohort if cases is None else cohort.of_cases(cases)
    return [
        ScanItem(
            path=cohort.path_of(entry.slide_id),
            slide_id=entry.slide_id,
            mpp=entry.oblong or entry.mpp,
            roi=entry.roi,
            size_l0=(entry.width_l0, entry.height_l0) if entry.width_l0 and entry.height_l0 else None,
        )
        for entry in part.slides
    ]
