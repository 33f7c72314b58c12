"""One slide of a job: through the detector into its files. Done once, it is not looked at again."""

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from mitosieve.count.heatmap import Thumbnail, write_heatmap
from mitosieve.count.hotspot import AREA_MM2, Hotspot, Shape
from mitosieve.count.summary import SlideFailure, SlideFindings, SlideSummary, summarize
from mitosieve.detection import Detections
from mitosieve.errors import InputError, MitosieveError, StorageError
from mitosieve.export import FORMATS, SUFFIXES, SlideContext
from mitosieve.export.table import read_detections, write_detections
from mitosieve.geometry import mm2_from_px2, rescale_points
from mitosieve.network.compute import Compute
from mitosieve.run import layout
from mitosieve.run.clock import Clock
from mitosieve.run.folder import write_atomic, write_json
from mitosieve.run.progress import Progress
from mitosieve.sieve.cascade import Scored, columns_of, finish
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.reader_process import Opened, SlideSource
from mitosieve.sieve.workers import Readers, Sieving
from mitosieve.slide.overview import OVERVIEW_MPP
from mitosieve.slide.slide import Slide
from mitosieve.slide.tissue import Tissue

LARGE_PX = 2**26
"""A slide of more level-0 px is read by reader processes; for a smaller one they would not pay."""


@dataclass(frozen=True, kw_only=True)
class CountConfig:
    """How a slide is counted.

    Attributes:
        area_mm2: of the hotspot.
        shape: of the hotspot.
    """

    area_mm2: float = AREA_MM2
    shape: Shape = "square"

    @classmethod
    def of(cls, *, area_mm2: float, shape: str) -> "CountConfig":
        """From a user's words.

        Raises:
            InputError: an unknown shape, or an area that is none.
        """
        if shape not in get_args(Shape):
            raise InputError(f"unknown hotspot shape '{shape}'", remedy=f"choose {', '.join(get_args(Shape))}")
        if not 0 < area_mm2 < float("inf"):
            raise InputError(f"a hotspot cannot have {area_mm2} mm2", remedy="give an area above 0, as 2 or 2.37")
        return cls(area_mm2=area_mm2, shape=cast("Shape", shape))


@dataclass(frozen=True, kw_only=True)
class SlideTask:
    """What one slide's files are made of. Small and picklable: it may travel to another machine.

    Attributes:
        source: the slide.
        out: folder of the job.
        formats: extra files, names of `export.FORMATS`.
        detector: folder of the detector.
        threshold: instead of the detector's own; None leaves it.
        compute: machine.
        counts: how it is counted.
        workers: reader processes where the task runs alone.
    """

    source: SlideSource
    out: Path
    formats: tuple[str, ...]
    detector: Path
    threshold: float | None
    compute: Compute
    counts: CountConfig = field(default_factory=CountConfig)
    workers: int = 0


@dataclass(frozen=True, kw_only=True)
class SlideResult:
    """What became of a slide.

    Attributes:
        summary: its counts, or why it failed.
        detections: as its file has them; None where it failed.
        seconds: by part of the work, and "all"; empty where it had been done before.
    """

    summary: SlideSummary | SlideFailure
    detections: Detections | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def failure(cls, slide_id: str, error: str) -> "SlideResult":
        """Of a slide that could not be done."""
        return cls(summary=SlideFailure(slide_id=slide_id, error=error.replace("\n", "; ")))


ReadersFor = Callable[[Slide], Readers | None]
"""Reader processes for a slide, or None to read it in this process."""


def do_slide(
    task: SlideTask, detector: Detector, readers_for: ReadersFor, progress: Progress | None = None
) -> SlideResult:
    """Detect on one slide and write its files; a slide that fails is an answer, not an error.

    Raises:
        StorageError: the folder cannot be written.
    """
    source = task.source
    clock = Clock()
    try:
        with clock.part("all"), source.open() as slide:
            part = part_of(task, slide)
            is_done = part.exists() and part.with_suffix(".json").exists()
            if is_done:
                found, facts = read_detections(part), json.loads(part.with_suffix(".json").read_text())
                summary = _count(task, found, facts)
            else:
                found, summary = _detect(task, detector, slide, readers_for(slide), clock, progress)
            _write_formats(task, slide, found)
        return SlideResult(summary=summary, detections=found, seconds={} if is_done else clock.seconds)
    except StorageError:
        raise
    except MitosieveError as error:
        return SlideResult.failure(source.slide_id, str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this slide's, and the others go on
        why = f"{source.path}: failed unexpectedly ({type(error).__name__}: {error})".replace("\n", " ")
        return SlideResult.failure(source.slide_id, why)


def do_slide_alone(task: SlideTask) -> SlideResult:
    """`do_slide` where nothing is at hand but the task: loads the detector and starts the readers itself."""
    detector = _loaded(task.detector, task.threshold, task.out)
    with contextlib.ExitStack() as ending:

        def readers_for(slide: Slide) -> Readers | None:
            if task.workers == 0 or slide.bounds.area_px2 <= LARGE_PX:
                return None
            return ending.enter_context(Readers(task.workers))

        return do_slide(task, detector, readers_for)


def load_detector(folder: Path, threshold: float | None) -> Detector:
    """A detector at an operating threshold.

    Raises:
        DetectorError: missing, incomplete or altered.
    """
    detector = Detector.load(folder)
    return detector if threshold is None else detector.with_threshold(threshold)


@lru_cache(maxsize=1)
def _loaded(folder: Path, threshold: float | None, job: Path) -> Detector:
    """Loaded once for a job by a process that does many of its slides."""
    del job
    return load_detector(folder, threshold)


def part_of(task: SlideTask, slide: Slide) -> Path:
    """The file of a slide's detections, named by all that they depend on beside the detector."""
    source = task.source
    states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in _files_of(source.path)]
    made_of = (states, slide.mpp_xy, "" if source.roi is None else source.roi.wkt)
    digest = hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]
    return task.out / layout.PARTS / f"{source.slide_id}.{digest}.csv"


def _files_of(path: Path) -> list[Path]:
    """All files of a slide: a DICOM folder's, and those in the folder beside a .mrxs."""
    folder = path if path.is_dir() else path.with_suffix("")
    inner = sorted(item for item in folder.iterdir() if item.is_file()) if folder.is_dir() else []
    return inner if path.is_dir() else [path, *inner]


def _detect(
    task: SlideTask, detector: Detector, slide: Slide, readers: Readers | None, clock: Clock, progress: Progress | None
) -> tuple[Detections, SlideSummary]:
    """Sieve the slide band by band; each finished band is a file, so that a killed slide goes on from there.

    Counts, heat map and all that is written after it are made of the detections as their file has them, to its digits:
    so they are the same where a killed job takes the file up.
    """
    part = part_of(task, slide)
    bands = part.with_suffix("")
    sieving = Sieving(detector, task.source, task.compute, clock, readers)
    try:
        opened = sieving.open()
        done = {
            number: _read_band(bands, number) for number in range(len(opened.bands)) if _band(bands, number).exists()
        }
        tell = _teller(progress, slide, opened, done)

        def on_band(number: int, scored: Scored) -> None:
            done[number] = scored
            with clock.part("write"):
                _write_band(bands, number, scored)
            tell()

        sieving.run(opened, set(done), on_band)
    finally:
        sieving.close()
    with clock.part("merge"):
        scored = Scored.concatenate([done[number] for number in sorted(done)], columns_of(detector))
        found = finish(scored, detector, slide, task.source.roi)
    with clock.part("write"):
        unfinished = write_detections(bands / "whole.csv", found)
        found, facts = read_detections(unfinished), _facts(task, detector, slide, opened)
        summary = _count(task, found, facts)
        _write_heatmap(task, slide, opened, found, summary.hotspot)
        write_json(part.with_suffix(".json"), facts)
        unfinished.replace(part)
        shutil.rmtree(bands, ignore_errors=True)
    return found, summary


def _count(task: SlideTask, found: Detections, facts: dict[str, Any]) -> SlideSummary:
    """Count a slide's figures; `facts` as `_facts` has them."""
    findings = SlideFindings(
        slide_id=task.source.slide_id,
        mpp_xy=tuple(facts["mpp_xy"]),
        size_l0=tuple(facts["size_l0"]),
        tissue_mm2=facts["tissue_mm2"],
        detections=found,
        proposer=facts["proposer"],
        threshold=facts["threshold"],
    )
    return summarize(findings, area_mm2=task.counts.area_mm2, shape=task.counts.shape)


def _tissue_mm2(tissue: Tissue, slide: Slide, roi: BaseGeometry | None) -> float:
    """Area of tissue that was looked at: within the ROI, to the pixel of the overview."""
    if roi is None:
        return tissue.area_mm2
    rows, columns = np.nonzero(tissue.mask)
    place = rescale_points(
        np.stack([columns, rows], axis=1).astype(np.float64), mpp_from=tissue.mpp, mpp_to=slide.mpp_xy
    )
    return mm2_from_px2(int(shapely.contains_xy(roi, place[:, 0], place[:, 1]).sum()), tissue.mpp)


def _facts(task: SlideTask, detector: Detector, slide: Slide, opened: Opened) -> dict[str, Any]:
    return {
        "mpp_xy": list(slide.mpp_xy),
        "size_l0": list(slide.size_l0),
        "tissue_mm2": round(_tissue_mm2(opened.survey.tissue, slide, task.source.roi), 6),
        "threshold": detector.config.threshold,
        "proposer": detector.config.proposer.describe(detector.config.frame.mpp),
        "cut": opened.survey.cut,
    }


def _write_heatmap(task: SlideTask, slide: Slide, opened: Opened, found: Detections, hotspot: Hotspot) -> None:
    """The slide's figures as density over its overview, which is at hand only now."""
    figures = found.figures.center_l0
    shown = opened.survey.overview
    if 0 in shown.pixels.shape:
        return
    picture = Thumbnail(rgb=shown.pixels, mpp_xy=(OVERVIEW_MPP, OVERVIEW_MPP))
    point_um = (figures + 0.5) * np.array(slide.mpp_xy)
    write_heatmap(task.out / layout.HEATMAPS / f"{slide.slide_id}.png", picture, point_um, hotspot=hotspot)


def _teller(progress: Progress | None, slide: Slide, opened: Opened, done: dict[int, Scored]) -> Callable[[], None]:
    total = len(opened.bands)

    def tell() -> None:
        if progress is not None and total > 1:
            progress(f"bands of {slide.slide_id}", len(done), total)

    tell()
    return tell


def _band(folder: Path, number: int) -> Path:
    return folder / f"band-{number:04d}.npz"


def _write_band(folder: Path, number: int, scored: Scored) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, center_px=scored.center_px, score=scored.score)
    write_atomic(_band(folder, number), buffer.getvalue())


def _read_band(folder: Path, number: int) -> Scored:
    with np.load(_band(folder, number), allow_pickle=False) as content:
        return Scored(center_px=content["center_px"], score=content["score"])


def _write_formats(task: SlideTask, slide: Slide, found: Detections) -> None:
    context = SlideContext.of(slide)
    for name in task.formats:
        FORMATS[name](task.out / name / f"{slide.slide_id}{SUFFIXES[name]}", found, context)
