"""A job: many slides through one detector into a folder, one finished file a slide, so that a killed job goes on.

Knows detectors and slides; knows nothing of marks or scores.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from shapely.geometry.base import BaseGeometry

from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.marked import MarkedImage
from mitosieve.cohort.resolution import StatedMpp
from mitosieve.cohort.table import read_table
from mitosieve.detection import Detections
from mitosieve.detector import Detector
from mitosieve.errors import InputError, MitosieveError, StorageError
from mitosieve.export import FORMATS, SUFFIXES, SlideContext
from mitosieve.export.table import read_detections, write_detections
from mitosieve.network.compute import Compute
from mitosieve.progress import Progress
from mitosieve.runfolder import RunFolder, hash_file, write_atomic, write_json
from mitosieve.sieve import detect_slide
from mitosieve.slide.slide import Slide, open_slide

DETECTIONS_FILE, SLIDES_FILE, JOB_FILE = "detections.csv", "slides.csv", "detect.json"


@dataclass(frozen=True, kw_only=True)
class ScanItem:
    """One slide to do.

    Attributes:
        slide_id: unique in the job.
        path: for messages and the table.
        open_it: opens the slide with its mpp.
        roi: where to look, level-0 px; None is everywhere.
    """

    slide_id: str
    path: Path
    open_it: Callable[[], Slide]
    roi: BaseGeometry | None = None


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What to do with which detector.

    Attributes:
        detector: loaded, at its operating threshold.
        items: the slides, in the order of the result.
        out: folder of the result.
        formats: extra files a slide, names of `export.FORMATS`.
        origin: JSON facts for detect.json: where detector, cohort and slides come from.
        compute: machine.
        resume: whether finished slides of an earlier try are kept.
        progress: told after every slide.
    """

    detector: Detector
    items: Sequence[ScanItem]
    out: Path
    formats: Sequence[str]
    origin: dict[str, Any]
    compute: Compute
    resume: bool = False
    progress: Progress | None = None


def items_of_images(paths: Sequence[Path], *, mpp: str | None, roi: BaseGeometry | None) -> list[ScanItem]:
    """Slides from image files; mpp as stated, else from the file, else the slide fails with the remedy in its message.

    Raises:
        InputError: no image, or two of the same name.
        ResolutionError: `mpp` is neither a number nor a readable CSV.
    """
    stated = StatedMpp.of(mpp)
    names = [path.stem for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"two images are called '{twice[0]}'", remedy="rename one, or detect on them in two folders")
    if not paths:
        raise InputError("no image to detect on", remedy="name image files, or use --cohort")

    def opener(path: Path) -> Callable[[], Slide]:
        image = MarkedImage(file_name=path.name, slide_id=path.stem, case_id=path.stem, domain="", marks=())
        return lambda: open_slide(path, mpp=stated.find(image))

    return [ScanItem(slide_id=path.stem, path=path, open_it=opener(path), roi=roi) for path in paths]


def items_of_cohort(cohort: Cohort, cases: tuple[str, ...] | None) -> list[ScanItem]:
    """Slides of a cohort's cases with their mpp and ROI; None is all cases."""
    part = cohort if cases is None else cohort.of_cases(cases)

    def opener(slide_id: str) -> Callable[[], Slide]:
        return lambda: cohort.open(slide_id)

    return [
        ScanItem(slide_id=e.slide_id, path=cohort.path_of(e.slide_id), open_it=opener(e.slide_id), roi=e.roi)
        for e in part.slides
    ]


def scan(job: Scan) -> dict[str, str]:
    """Detect on every slide; write detections.csv, slides.csv, detect.json, and one file a slide and format.

    A slide that fails is named in slides.csv and in the answer; the others finish. Each slide's detections are a file
    in `parts` as soon as they are whole, and detections.csv is made of those files, so a job killed and resumed leaves
    the same bytes. A part serves only the file, mpp and ROI that it was made of.

    Returns:
        slide_id -> why it failed; empty where all is well.

    Raises:
        InputError: an unknown format, or a folder that holds something else.
        MitosieveError: there is one slide only, and it cannot be opened; nothing is written.
        StorageError: the folder cannot be written.
    """
    unknown = sorted(set(job.formats) - set(FORMATS))
    if unknown:
        raise InputError(f"unknown format '{unknown[0]}'", remedy=f"known: {', '.join(FORMATS)}")
    if len(job.items) == 1:
        job.items[0].open_it().close()
    facts = {
        "detector": job.detector.config.model_dump(mode="json"),
        "slides": [item.slide_id for item in job.items],
        "threshold": job.detector.config.threshold,
    }
    run = RunFolder.create(job.out, facts, resume=job.resume)
    with run.lock():
        write_json(run / JOB_FILE, {**job.origin, "threshold": job.detector.config.threshold})
        rows: list[dict[str, Any]] = []
        parts = [Detections.empty(job.detector.stage_names)]
        for number, item in enumerate(job.items, start=1):
            row, found = _scan_one(job, item)
            rows.append(row)
            parts += [] if found is None else [found]
            if job.progress is not None:
                job.progress("slides", number, len(job.items))
        write_atomic(run / SLIDES_FILE, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
        write_detections(run / DETECTIONS_FILE, Detections.concatenate(parts))
    return {str(row["slide_id"]): str(row["error"]) for row in rows if row["error"]}


def _scan_one(job: Scan, item: ScanItem) -> tuple[dict[str, Any], Detections | None]:
    """One row of slides.csv, and what was found; None where the slide failed."""
    row: dict[str, Any] = {"slide_id": item.slide_id, "path": str(item.path), "mpp": "", "figures": "", "error": ""}
    try:
        with item.open_it() as slide:
            part = _part(job, item, slide)
            if not part.exists():
                write_detections(
                    part, detect_slide(job.detector, slide, compute=job.compute, roi=item.roi, progress=job.progress)
                )
            found = read_detections(part)
            for name in job.formats:
                FORMATS[name](job.out / name / f"{item.slide_id}{SUFFIXES[name]}", found, SlideContext.of(slide))
            return {**row, "mpp": slide.mpp, "figures": int(found.is_figure.sum())}, found
    except StorageError:
        raise
    except MitosieveError as error:
        return {**row, "error": str(error).replace("\n", "; ")}, None


def _part(job: Scan, item: ScanItem, slide: Slide) -> Path:
    """The file of a slide's detections, named by all that they depend on beside the detector."""
    state = item.path.stat()
    made_of = (state.st_size, state.st_mtime_ns, slide.mpp, "" if item.roi is None else item.roi.wkt)
    digest = hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]
    return job.out / "parts" / f"{item.slide_id}.{digest}.csv"


def not_looked_at(folder: Path, cohort: Cohort, cases: tuple[str, ...] | None) -> list[str]:
    """Labelled slides of the cases that a scan into `folder` failed on or was not given; none where it was no scan."""
    if not (folder / SLIDES_FILE).exists():
        return []
    rows = read_table(folder / SLIDES_FILE, required=("slide_id", "error"))
    seen = {row.values["slide_id"] for row in rows if not row.values["error"]}
    part = cohort if cases is None else cohort.of_cases(cases)
    return [entry.slide_id for entry in part.slides if entry.labelled and entry.slide_id not in seen]


def origin_of(detector: Path, cohort: Cohort | None, fold: str | None, part: str | None) -> dict[str, Any]:
    """Where a scan's inputs come from, for detect.json."""
    folder = detector if (detector / "detector.toml").exists() else detector / "detector"
    return {
        "detector": str(detector.resolve()),
        "detector_hash": hash_file(folder / "detector.toml"),
        "cohort": None if cohort is None else str(cohort.folder.resolve()),
        "fold": fold,
        "part": part,
    }
