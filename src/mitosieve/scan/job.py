"""The job: every slide through one detector, then the tables of all of them.

Knows detectors and slides; knows nothing of marks or scores, nor of the machines that do the slides.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mitosieve import __version__
from mitosieve.count.summary import SlideFailure, SlideSummary
from mitosieve.errors import InputError
from mitosieve.export import FORMATS
from mitosieve.network.compute import Compute
from mitosieve.run import layout
from mitosieve.run.folder import JOIN_WITHIN_S, RunFolder
from mitosieve.run.log import SLIDES, Progress, job_log
from mitosieve.scan.items import ScanItem, areas_of, places_of
from mitosieve.scan.learnt import KnownDetector
from mitosieve.scan.one import check_opens, check_stated, do_slide, do_slide_alone, readers_for_large
from mitosieve.scan.shard import Shard, name_of, of_shard
from mitosieve.scan.tables import called, page_of_tables, write_all_detections, write_request, write_tables
from mitosieve.scan.task import CountConfig, SlideResult, SlideTask

Mapper = Callable[[Callable[[SlideTask], SlideResult], Sequence[SlideTask]], Iterable[SlideResult]]
"""Does a function for many tasks somewhere, and gives the results in the tasks' order: a cluster."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What to do with which detector.

    Attributes:
        detector: run or detector folder; as text also a name of the package's.
        items: the slides, in the order of the result.
        out: folder of the result.
        origin: JSON facts for detect.json: where the slides come from, as `origin_of` says it.
        compute: machine.
        threshold: operating threshold instead of the detector's own.
        operating_point: name of one that the detector has; not beside a threshold.
        formats: extra files a slide, names of `export.FORMATS`.
        resume: whether finished slides of an earlier try are kept.
        workers: readers of a large slide.
        counts: how slides are counted.
        shard: a part of the slides, whose result is `shards/i-of-n.csv`; None does all and collects.
        mapper: does the slides elsewhere; None does them here.
        progress: told after every slide.
    """

    detector: Path | str
    items: Sequence[ScanItem]
    out: Path
    origin: dict[str, Any]
    compute: Compute
    threshold: float | None = None
    operating_point: str | None = None
    formats: Sequence[str] = ()
    resume: bool = False
    workers: int = 0
    counts: CountConfig = field(default_factory=CountConfig)
    shard: Shard | None = None
    mapper: Mapper | None = None
    progress: Progress | None = None

    def tasks(self, known: KnownDetector) -> list[SlideTask]:
        """One for each slide, at the detector's threshold."""
        threshold = self.threshold if self.operating_point is None else known.detector.config.threshold
        digest = called(self.detector)["detector_hash"]
        return [
            SlideTask(
                source=item,
                out=self.out,
                formats=tuple(self.formats),
                detector=self.detector,
                threshold=threshold,
                compute=self.compute,
                counts=self.counts,
                workers=self.workers,
                detector_hash=digest,
                trust=known.trust,
            )
            for item in self.own_items
        ]

    @property
    def own_items(self) -> list[ScanItem]:
        """Slides of the shard, or all."""
        return list(of_shard(self.items, self.shard))


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """What a job left.

    Attributes:
        result: name of its main file, relative to its folder.
        failed: slide_id -> why; empty where all is well.
        rows: of summary.csv, in the order of the slides.
        known: the detector that did it.
    """

    result: str
    failed: dict[str, str]
    rows: list[dict[str, str]]
    known: KnownDetector

    @property
    def knows_its_slides(self) -> bool:
        """Whether the detector says what its training's slides are like."""
        return self.known.knows_its_slides


def scan(job: Scan) -> Scanned:
    """Detect on every slide; write detections, counts and tables, and one file a slide and format.

    A slide that fails is named in slides.csv and in the answer; the others finish. Each slide's detections are a file
    in `parts` as soon as they are whole, and detections.csv is made of those files, so a job killed and resumed leaves
    the same bytes, and so does one done in shards or on a cluster. A part serves only the file, mpp and ROI that it was
    made of. A slide half done goes on after its last finished band.

    Raises:
        InputError: an unknown format, a folder that holds something else, an operating point that the detector does
            not have, or slides that are done with another resolution or area.
        DetectorError: there is no whole detector.
        MitosieveError: there is one slide only, and it cannot be opened, or its resolution is refused; nothing is
            written.
        StorageError: the folder cannot be written.
    """
    known = checked(job)
    config = known.detector.config
    if len(job.items) == 1:
        check_opens(replace(job, shard=None).tasks(known)[0], known.detector)
    facts = {
        "detector": config.model_dump(mode="json"),
        "slides": [item.slide_id for item in job.items],
        "threshold": config.threshold,
        "made_with": _made_with(job.compute),
        "counts": asdict(job.counts),
    }
    if job.shard is not None:
        run, part = RunFolder.join(job.out, facts, kind=layout.Kind.DETECT), name_of(job.shard)
    else:
        run, part = RunFolder.create(job.out, facts, kind=layout.Kind.DETECT, resume=job.resume), ""
    if job.origin.get("cohort") is None:  # a cohort that was mended is data, not an option: its slides are done again
        check_stated(job.tasks(known))
    tables = f"{layout.SHARDS}/{part}" if part else ""
    with run.lock(part, within_s=JOIN_WITHIN_S if part else 0.0), job_log(job.out / tables, job.progress) as log:
        telling = job if job.mapper is not None else replace(job, progress=log)  # which a mapper cannot tell
        results = list(_results(telling, known, job.tasks(known)))
        if part:
            write_tables(job.out, results, job.compute, tables, elsewhere=job.mapper is not None)
        else:
            facts = _job_facts(job, known)
            with page_of_tables(job.out):
                write_tables(job.out, results, job.compute, elsewhere=job.mapper is not None)
                write_request(job.out, facts)
                write_all_detections(job.out, results, known.detector.stage_names, detector=facts["detector_hash"])
    summaries = [result.summary for result in results]
    failed = {item.slide_id: item.error for item in summaries if isinstance(item, SlideFailure)}
    rows = [item.row() for item in summaries if isinstance(item, SlideSummary)]
    return Scanned(
        result=f"{layout.SHARDS}/{part}/{layout.SUMMARY}" if part else layout.DETECTIONS,
        failed=failed,
        rows=rows,
        known=known,
    )


def checked(job: Scan) -> KnownDetector:
    """The detector of a job at its threshold, after all was refused that can be before a slide is opened.

    Raises:
        InputError, DetectorError: as `scan`.
    """
    unknown = sorted(set(job.formats) - set(FORMATS))
    if unknown:
        raise InputError(f"unknown format '{unknown[0]}'", remedy=f"known: {', '.join(FORMATS)}")
    known = KnownDetector.load(job.detector, threshold=job.threshold, point=job.operating_point, out=job.out)
    known.detector.check_engine(job.compute.engine)
    return known


def _made_with(compute: Compute) -> dict[str, str]:
    """What else scores hang on: bands of different versions or engines would not be of one detector."""
    return {
        "version": __version__,
        "engine": compute.engine,
        "device": compute.device,
        "precision": compute.scores_in,
    }


def _job_facts(job: Scan, known: KnownDetector) -> dict[str, Any]:
    config = known.detector.config
    proposer = config.proposer.describe(config.frame.mpp)
    return {
        **job.origin,
        **called(job.detector),
        "slides": places_of(job.items),
        "areas": areas_of(job.items),
        "threshold": config.threshold,
        "operating_point": known.point,
        "proposer": proposer,
        "knows_its_slides": known.knows_its_slides,
        "trust": known.trust.to_json(),
    }


def _results(job: Scan, known: KnownDetector, tasks: Sequence[SlideTask]) -> Generator[SlideResult]:
    """Results of the tasks, in their order, as they are done."""
    if job.progress is not None:
        job.progress(SLIDES, 0, len(tasks))
    if job.mapper is not None:
        yield from job.mapper(do_slide_alone, tasks)
        return
    figures, mm2 = 0, 0.0
    with readers_for_large(job.workers, len(tasks)) as readers_for:
        for number, task in enumerate(tasks, start=1):
            result = do_slide(task, known.detector, readers_for, job.progress)
            if isinstance(result.summary, SlideSummary):
                figures += result.summary.figures
                mm2 += result.summary.findings.tissue_mm2 or 0.0
            if job.progress is not None:
                kept = {"kept": 1.0} if result.is_kept else {}
                job.progress(SLIDES, number, len(tasks), figures=figures, mm2=mm2, **kept)
            yield result
