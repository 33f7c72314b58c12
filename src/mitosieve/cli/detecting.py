"""Commands that detect."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mitosieve.cli.app import (
    DEFAULT_PART,
    SLIDES_FAILED,
    BatchOpt,
    DeviceOpt,
    EngineOpt,
    FoldOpt,
    PartOpt,
    PrecisionOpt,
    QuietOpt,
    ResumeOpt,
    SplitOpt,
    ThreadsOpt,
    VerboseOpt,
    app,
    cases_of,
    compute_of,
)
from mitosieve.cli.arguments import (
    a_cohort,
    a_detector,
    a_hotspot_shape,
    a_shard,
    detectors_like,
    export_formats,
    images_are_there,
    new_folder,
    some_slides,
)
from mitosieve.cli.terminal import (
    print_counts,
    print_table,
    print_trust,
    progress_bars,
    say,
    tell_next,
    tell_notes,
    warn,
    warn_of_strange,
)
from mitosieve.errors import InputError, plural
from mitosieve.run import layout

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from mitosieve.cohort.cohort import Cohort
    from mitosieve.run.progress import Progress
    from mitosieve.scan import Mapper, Scan, ScanItem, Scanned


@app.command()
def detect(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the result.")],
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="SLIDE...", help="Slides, folders, patterns, or @list.txt.", callback=some_slides),
    ] = None,
    detector: Annotated[
        str,
        typer.Option(
            "--detector",
            metavar="NAME|FOLDER",
            help="Of `mitosieve models`, or a run or detector folder.",
            callback=a_detector,
            autocompletion=detectors_like,
        ),
    ] = "default",
    mpp: Annotated[str | None, typer.Option("--mpp", help="um per px, or a CSV with slide,mpp.")] = None,
    operating_point: Annotated[
        str | None,
        typer.Option("--operating-point", metavar="NAME", help="balanced, sensitive or specific, where it has them."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", min=0, max=1, help="A number instead of an operating point.")
    ] = None,
    roi: Annotated[
        Path | None, typer.Option("--roi", help="GeoJSON area to look in, px of the largest level as in QuPath.")
    ] = None,
    repair_roi: Annotated[
        bool, typer.Option("--repair-roi", help="Take an area that touches or crosses itself as what it covers.")
    ] = False,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            help="Extra files a slide: geojson,midog,midog2021,csv,parquet,dicom.",
            callback=export_formats,
        ),
    ] = "geojson",
    cohort: Annotated[
        Path | None, typer.Option("--cohort", help="Slides of a cohort instead of images.", callback=a_cohort)
    ] = None,
    split: SplitOpt = None,
    fold: FoldOpt = None,
    part: PartOpt = None,
    hotspot_mm2: Annotated[float, typer.Option("--hotspot-mm2", min=0.01, max=100, help="Area of the hotspot.")] = 2.0,
    hotspot_shape: Annotated[
        str,
        typer.Option("--hotspot-shape", help="square, rectangle (4:3 either way) or circle.", callback=a_hotspot_shape),
    ] = "square",
    tissue: Annotated[
        str | None, typer.Option("--tissue", help="What the slides are of; breast adds the Nottingham score.")
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Make the page of the result at once.")] = False,
    resume: ResumeOpt = False,
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="i/n", help="Only the i-th of n parts.", callback=a_shard)
    ] = None,
    cluster: Annotated[
        str | None, typer.Option("--cluster", metavar="auto|HOST:PORT", help="Do the slides on a Ray cluster.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=-1, help="Readers of a large slide; -1 chooses, 0 reads where it is judged.")
    ] = -1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and how long it takes; make nothing.")
    ] = False,
    batch_size: BatchOpt = 0,
    engine: EngineOpt = "auto",
    device: DeviceOpt = "auto",
    precision: PrecisionOpt = "auto",
    threads: ThreadsOpt = 0,
    quiet: QuietOpt = False,
    verbose: VerboseOpt = False,
) -> None:
    """Find mitotic figures in slides and count them, or in the slides of a cohort."""
    _check_words(images or [], detector, out, cohort)
    for both, clash, remedy in (
        (threshold is not None and operating_point is not None, *_TWO_THRESHOLDS),
        (cluster is not None and shard is not None, *_TWO_DIVISIONS),
        (report and shard is not None, *_NO_PAGE_OF_A_PART),
        (cohort is None and any(word is not None for word in (split, fold, part)), *_NO_COHORT),
        (cohort is not None and (mpp is not None or roi is not None), *_COHORT_SAYS),
    ):
        if both:
            raise InputError(clash, remedy=remedy)
    new_folder(out, joins=resume or shard is not None)
    had_page = any((out / name).exists() for name in (layout.REPORT, layout.REPORT_ASIDE))
    whole, cases = (None, None) if cohort is None else _slides_of(cohort, split, fold, part)
    from mitosieve.scan import CountConfig, Scan, items_of_cohort, origin_of, parse_shard, scan  # takes seconds

    area = None if roi is None else _area_of(roi, repair=repair_roi)
    items = _items(images or [], mpp, roi, area) if whole is None else items_of_cohort(whole, cases)
    compute = compute_of(device, precision, threads, engine=engine, batch_size=batch_size)
    with progress_bars() as show:
        job = Scan(
            detector=detector,
            threshold=threshold,
            operating_point=operating_point,
            items=items,
            out=out,
            formats=tuple(name for name in formats.split(",") if name),
            counts=CountConfig.of(area_mm2=hotspot_mm2, shape=hotspot_shape, tissue=tissue),
            origin=origin_of(whole, fold, None if cases is None else part or DEFAULT_PART),
            compute=compute,
            resume=resume,
            workers=workers_for(compute.device, on_cluster=cluster is not None) if workers < 0 else workers,
            shard=None if shard is None else parse_shard(shard),
            mapper=None
            if cluster is None
            else _on_cluster(cluster, out, detector, (compute.device, threads, workers), show),
            progress=show,
        )
        done = _tell_expected(job) if dry_run else scan(job)
    if done is not None:
        _tell_result(done, job, _scoring_of(whole, split, fold, part), report=report, had_page=had_page)


_ALL_FAILED = "mend what the messages name, then repeat the command with --resume"
_TWO_THRESHOLDS = "--threshold and --operating-point both say what counts as a figure", "use one of them"
_NO_PAGE_OF_A_PART = (
    "--report makes the page of a whole job, and --shard does a part",
    "mitosieve report OUT after the last",
)
_TWO_DIVISIONS = "--cluster and --shard both divide the slides", "use one of them"
_NO_COHORT = "--split, --fold and --part choose slides of a cohort", "add --cohort, or leave them out"
_COHORT_SAYS = "mpp and ROI come from the cohort", "leave out --mpp and --roi, or name images"


def _tell_expected(job: "Scan") -> None:
    """Say what a job would do, and make nothing.

    Raises:
        typer.Exit: a slide cannot be read.
    """
    from mitosieve.scan import expected_of

    expected = expected_of(job)
    read = [slide for slide in expected.slides if slide.size_l0 is not None and slide.tissue_mm2 is not None]
    print_table(
        [[slide.slide_id, *(slide.size_l0 or ("", "")), f"{slide.tissue_mm2:.2f}"] for slide in read],
        ("slide", "width", "height", "mm2 of tissue"),
    )
    print_table(expected.stages, ("stage", "is given"))
    if expected.rate is None or expected.seconds is None:
        time = "how long it takes is not known: this detector has made no result here and its card states no speed"
    else:
        seconds = max(1, round(expected.seconds))
        length = f"{seconds} s" if seconds < 90 else f"{seconds / 60:.0f} min"
        time = f"{length} at {expected.rate.mm2_per_s:.2f} mm2/s ({expected.rate.where})"
    say(f"{plural(len(read), 'slide')}, {expected.tissue_mm2:.2f} mm2 of tissue; {time}; nothing was made")
    wrong = [slide for slide in expected.slides if slide.error]
    for slide in wrong:
        warn(f"will fail: {slide.slide_id}: {slide.error}")
    if wrong:
        raise typer.Exit(SLIDES_FAILED)


def _tell_result(done: "Scanned", job: "Scan", scoring: str, *, report: bool, had_page: bool) -> None:
    """What a job found, where its result is, and what comes next; its page is made where it is asked for, and again
    where it was of other tables.

    Raises:
        typer.Exit: a slide failed.
    """
    _tell_done(done, job)
    page = _page_of(job.out, is_asked=report, had_page=had_page) if job.shard is None else None
    say(job.out / done.result if page is None else page)
    for slide_id, why in done.failed.items():
        warn(f"failed: {slide_id}: {why}")
    if job.shard is None:
        tell_next(_what_next(job, scoring, page) if done.rows else _ALL_FAILED)
    if done.failed:
        raise typer.Exit(SLIDES_FAILED)


def _tell_done(done: "Scanned", job: "Scan") -> None:
    """Counts, and what whoever reads them must know."""
    print_counts(done.rows, with_roi={item.slide_id for item in job.items if item.roi is not None})
    within = [row["roi_mm2"] for row in done.rows if row["roi_mm2"]]
    if within:
        areas = f"an area of {float(within[0]):.4f} mm2" if len(set(within)) == 1 else "an area of each"
        warn(f"note: {plural(len(within), 'slide')} searched within {areas} alone: the counts are of that")
    print_trust(done.known.trust)
    used = done.known.detector.config.int8
    if used is not None and job.compute.engine == "int8":
        warn(f"note: {used.told}")
    if job.compute.scores_in in ("bfloat16", "bf16-mixed"):
        warn("note: scored in bfloat16: scores of float32, by which thresholds were chosen, differ")
    warn_of_strange(done.rows, known=done.knows_its_slides)
    tell_notes(done.rows)


def _page_of(out: Path, *, is_asked: bool, had_page: bool) -> Path | None:
    page = out / layout.REPORT
    if is_asked or (had_page and not page.exists()):
        from mitosieve.report.page import write_report  # loads matplotlib

        if had_page:
            again = f"mitosieve report {shlex.quote(str(out))} OTHER..."
            warn(f"note: {layout.REPORT} is made again, of this folder alone; with others beside it: {again}")
        write_report(out)
    return page if page.exists() else None


def _scoring_of(cohort: "Cohort | None", split: Path | None, fold: str | None, part: str | None) -> str:
    """The words that score what was done of a cohort; empty where no part of it was named."""
    if cohort is None or split is None or fold is None:
        return ""
    words = [str(cohort.folder), "--split", str(split), "--fold", fold, *(() if part is None else ("--part", part))]
    return shlex.join(words)


def _what_next(job: "Scan", scoring: str, page: Path | None) -> str:
    """What a person does with a result: score it where there are marks, look at its page, open it in QuPath."""
    place = shlex.quote(str(job.out))
    files = "; the files in geojson/ open in QuPath" if "geojson" in job.formats else ""
    if scoring:
        return f"mitosieve evaluate {place} {scoring}"
    if page is not None:
        return f"open the page in a browser{files}"
    return f"mitosieve report {place} makes a page of it{files}"


def _check_words(images: list[str], detector: str, out: Path, cohort: Path | None) -> None:
    """Refuse a detector among the slides, where earlier versions had it, and slides beside a cohort."""
    from mitosieve.models.box import find, is_detector

    for word in images:
        if is_detector(Path(word)) or (find(word) is not None and not Path(word).exists()):
            others = [shlex.quote(other) for other in images if other != word]
            others += [] if cohort is None else ["--cohort", shlex.quote(str(cohort)), "..."]
            words = " ".join(others or ["SLIDES..."])
            raise InputError(
                "is a detector, or a run that has one, and not a slide",
                where=word,
                remedy=f"mitosieve detect {words} --detector {shlex.quote(word)} --out {shlex.quote(str(out))}",
            )
    if (cohort is None) == (not images):
        raise InputError("name either images or --cohort, not both", remedy="see: mitosieve detect --help")
    name = find(detector)
    if name is not None and is_detector(Path(detector)):
        warn(f"note: '{detector}' is the package's detector {name}; for the folder of that name write ./{detector}")


def workers_for(device: str, *, on_cluster: bool) -> int:
    """Readers that keep a device busy: on a CPU half the cores, but two: measured.

    On a cluster of CPUs none: a core has a slide of its own.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if on_cluster and device == "cpu":
        return 0
    return min(16, max(2, cores // 2)) if device == "cpu" else max(1, min(16, cores - 1))


def _area_of(roi: Path, *, repair: bool) -> "BaseGeometry":
    from mitosieve.export.roi import read_roi

    return read_roi(roi, repair=repair, tell=warn)


def _items(words: list[str], mpp: str | None, roi: Path | None, area: "BaseGeometry | None") -> "list[ScanItem]":
    from mitosieve.scan import items_of_images, paths_of

    items = items_of_images(paths_of(words, tell=warn), mpp=mpp, roi=area, tell=warn)
    if area is not None and len(items) > 1:
        warn(f"note: {roi} is looked at on each of {len(items)} slides, at the same px; a cohort gives each its own")
    return items


def _slides_of(
    cohort: Path, split: Path | None, fold: str | None, part: str | None
) -> "tuple[Cohort, tuple[str, ...] | None]":
    """A cohort and the cases that were asked for, whose images are there."""
    from mitosieve.cohort.cohort import Cohort

    whole = Cohort.load(cohort)
    cases = cases_of(split, fold, part, whole)
    asked = whole if cases is None else whole.of_cases(cases)
    images_are_there(cohort, [whole.path_of(entry.slide_id) for entry in asked.slides])
    return whole, cases


def _on_cluster(address: str, out: Path, detector: str, machine: tuple[str, int, int], show: "Progress") -> "Mapper":
    """A map over slides that runs on a Ray cluster: one task a slide; `machine` is device, threads and readers.

    A detector of the package is on every machine; a folder must be seen from all.
    """
    from mitosieve.models.box import find
    from mitosieve.parallel import ClusterConfig, ClusterMap, Task
    from mitosieve.scan import SlideResult, SlideTask

    folders = () if find(detector) is not None else (Path(detector).resolve(),)

    def task(given: SlideTask) -> Task[SlideTask]:
        return Task(name=given.source.slide_id, given=given, needs=(given.source.path, *folders))

    def failed(given: SlideTask, error: Exception) -> SlideResult:
        return SlideResult.failure(given.source.slide_id, str(error))

    device, threads, readers = machine
    config = ClusterConfig.of_task(address, device=device, threads=threads, readers=readers)
    return ClusterMap(
        config=config, shared=out, task=task, failed=failed, progress=show, kept=lambda made: made.is_kept
    )


@app.command()
def container(
    model: Annotated[
        str, typer.Option("--model", metavar="NAME|FOLDER", help="Of `mitosieve models`, or a run or detector folder.")
    ] = "/opt/ml/model",
    source: Annotated[Path, typer.Option("--input", help="The case.")] = Path("/input"),
    output: Annotated[Path, typer.Option("--output", help="Gets mitotic-figures.json.")] = Path("/output"),
    mpp: Annotated[float | None, typer.Option("--mpp", help="um per px, instead of the image's own.")] = None,
    device: DeviceOpt = "auto",
    engine: EngineOpt = "auto",
    threads: ThreadsOpt = 0,
    quiet: QuietOpt = False,
    verbose: VerboseOpt = False,
) -> None:
    """Do one case by the grand-challenge contract: an image in, figures in mm out."""
    from mitosieve.scan.container import run_container

    compute = compute_of(device, threads=threads, engine=engine)
    with progress_bars() as show:
        say(run_container(model, source, output, mpp=mpp, compute=compute, progress=show))
