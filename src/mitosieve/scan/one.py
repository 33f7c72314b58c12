"""One slide of a job: through the detector into its files. Done once, it is not looked at again."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from mitosieve.count.summary import SlideSummary
from mitosieve.detection import Detections
from mitosieve.errors import MitosieveError, RunFolderError, StorageError
from mitosieve.export import FORMATS, SUFFIXES, HotspotOutline, SlideContext
from mitosieve.run.clock import Clock
from mitosieve.run.progress import BANDS_OF, Progress
from mitosieve.scan.counting import count_slide, facts_of, write_slide_heatmap
from mitosieve.scan.part import done_before, finish_part, part_of, read_bands, read_part, write_band, write_whole
from mitosieve.scan.task import SlideResult, SlideTask, stated_of
from mitosieve.sieve.cascade import Scored, columns_of, finish
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.resolution import open_for
from mitosieve.sieve.workers import Opened, Readers, ReadersFor, Sieving, readers_for_large
from mitosieve.slide.slide import Slide


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
        with clock.part("all"), open_for(source, detector) as slide:
            kept = read_part(part_of(task, slide))
            if kept is not None:
                found, facts = kept
                summary, anew = count_slide(task, found, facts), False
            else:
                found, summary, anew = _detect(task, detector, slide, readers_for(slide), clock, progress)
            _write_formats(task, slide, found, summary)
        return SlideResult(summary=summary, detections=found, seconds=clock.seconds if anew else {})
    except StorageError:
        raise
    except MitosieveError as error:
        return SlideResult.failure(source.slide_id, str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this slide's, and the others go on
        why = f"{source.path}: failed unexpectedly ({type(error).__name__}: {error})".replace("\n", " ")
        return SlideResult.failure(source.slide_id, why)


def check_opens(task: SlideTask, detector: Detector) -> None:
    """See whether a slide can be done at all, before anything is written.

    Raises:
        MitosieveError: as `open_for`.
    """
    open_for(task.source, detector).close()


def check_stated(tasks: Sequence[SlideTask]) -> None:
    """Refuse to go on with slides that are done with another resolution or area than is stated now.

    One that failed, as for want of a resolution, may be stated otherwise.

    Raises:
        RunFolderError: a slide's finished part says so.
    """
    for task, facts in done_before(tasks):
        before, used, now = facts["stated"], facts["mpp_xy"], stated_of(task.source)
        another = "" if now["mpp"] in (before.get("mpp"), used) else "--mpp"
        another = another if now["roi"] == before.get("roi") else "--roi"
        if another:
            done = f"at {used[0]:.4g} um per px" if another == "--mpp" else "within another area, or none"
            raise RunFolderError(
                f"was started with another {another}: {task.source.slide_id} is done {done}; "
                "resuming would mix two runs",
                where=task.out,
                remedy="repeat the original command with --resume, or choose another --out; to state another "
                "resolution of those slides alone that failed, give --mpp a CSV with slide,mpp that names them and, as "
                "before, each slide that is done by a stated one",
            )


def do_slide_alone(task: SlideTask) -> SlideResult:
    """`do_slide` where nothing is at hand but the task: loads the detector and starts the readers itself."""
    detector = _loaded(task.detector, task.threshold, task.out)
    with readers_for_large(task.workers, 1) as readers_for:
        return do_slide(task, detector, readers_for)


def load_detector(named: Path | str, threshold: float | None) -> Detector:
    """A detector at an operating threshold, or its own.

    Raises:
        DetectorError: missing, incomplete or altered.
    """
    detector = Detector.load(named)
    return detector if threshold is None else detector.with_threshold(threshold)


@lru_cache(maxsize=1)
def _loaded(named: Path | str, threshold: float | None, job: Path) -> Detector:
    """Loaded once for a job by a process that does many of its slides."""
    del job
    return load_detector(named, threshold)


def _detect(
    task: SlideTask, detector: Detector, slide: Slide, readers: Readers | None, clock: Clock, progress: Progress | None
) -> tuple[Detections, SlideSummary, bool]:
    """Sieve the slide band by band; each finished band is a file, so that a killed slide goes on from there. Whether it
    was done from its first band is told: the time of a part is not the time of the slide.

    Counts, heat map and all that is written after it are made of the detections as their file has them, to its digits:
    so they are the same where a killed job takes the file up.
    """
    part = part_of(task, slide)
    sieving = Sieving(detector, task.source, task.compute, clock, readers)
    try:
        opened = sieving.open()
        done = read_bands(part, len(opened.bands))
        anew = not done
        tell = _teller(progress, slide, opened, done, detector.config.threshold)

        def on_band(number: int, scored: Scored) -> None:
            done[number] = scored
            with clock.part("write"):
                write_band(part, number, scored)
            tell()

        sieving.run(opened, set(done), on_band)
    finally:
        sieving.close()
    with clock.part("merge"):
        scored = Scored.concatenate([done[number] for number in sorted(done)], columns_of(detector))
        found = finish(scored, detector, slide, task.source.roi)
    with clock.part("write"):
        found, facts = write_whole(part, found), facts_of(task, detector, slide, opened, scored.counts)
        summary = count_slide(task, found, facts)
        write_slide_heatmap(task, slide, opened, found, summary)
        finish_part(part, facts)
    return found, summary, anew


def _teller(
    progress: Progress | None, slide: Slide, opened: Opened, done: dict[int, Scored], threshold: float
) -> Callable[[], None]:
    """Tells how far a slide is: places at the threshold that are not merged yet, and tissue as if spread evenly."""
    total = len(opened.bands)

    def tell() -> None:
        if progress is not None and total > 1:
            figures = sum(int((scored.score[:, -1] >= threshold).sum()) for scored in done.values())
            mm2 = opened.survey.tissue.area_mm2 * len(done) / total
            progress(f"{BANDS_OF}{slide.slide_id}", len(done), total, figures=figures, mm2=mm2)

    tell()
    return tell


def _write_formats(task: SlideTask, slide: Slide, found: Detections, summary: SlideSummary) -> None:
    spot = summary.hotspot
    outline = HotspotOutline(corners_l0=spot.outline_l0(slide.mpp_xy), area_mm2=spot.area_mm2, figures=spot.count)
    context = SlideContext.of(
        slide, warnings=summary.warnings, detector=task.detector_hash, hotspot=outline if spot.count else None
    )
    for name in task.formats:
        FORMATS[name](task.file_in(name, SUFFIXES[name]), found, context)
