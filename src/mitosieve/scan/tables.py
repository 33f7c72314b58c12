"""What a job of detection says of itself and its slides: detect.json, slides.csv and the other tables."""

import contextlib
import csv
import io
import json
import shutil
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from mitosieve.cohort.cohort import Cohort
from mitosieve.count.summary import (
    SlideFailure,
    SlideSummary,
    read_timing,
    seconds_of,
    write_slide_summary,
    write_summary,
    write_timing,
)
from mitosieve.detection import Detections
from mitosieve.errors import FormatError, MitosieveError
from mitosieve.export.table import write_detections
from mitosieve.models.box import detector_folder, find
from mitosieve.network.compute import Compute, machine
from mitosieve.run import layout
from mitosieve.run.folder import hash_file, read_json, storage_error, write_atomic, write_json
from mitosieve.scan.task import SlideResult
from mitosieve.score.unseen import read_slides

SLIDE_COLUMNS = ("slide_id", "mpp", "tissue_mm2", "figures", "warning", "note", "error")
"""Of slides.csv: um per level-0 px, in which ways the slide is unlike the training's, what must be known of its file,
and empty where the slide failed but for its name and the error."""


def write_request(folder: Path, request: dict[str, Any]) -> Path:
    """Write detect.json: where detector, cohort and slides came from, and the threshold.

    Raises:
        StorageError: the file cannot be written.
    """
    return write_json(folder / layout.REQUEST, request)


def read_request(folder: Path) -> dict[str, Any]:
    """Content of a folder's detect.json; empty where there is none.

    Raises:
        FormatError: it is no JSON object.
    """
    request: dict[str, Any] = read_json(folder / layout.REQUEST, {})
    return request


def write_slides(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write slides.csv: a row a slide with the columns SLIDE_COLUMNS, in the order given.

    Raises:
        StorageError: the file cannot be written.
    """
    table = io.StringIO()
    writer = csv.DictWriter(table, list[str](SLIDE_COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_atomic(folder / layout.SLIDES, table.getvalue())


def failed_slides(folder: Path) -> dict[str, str]:
    """slide_id -> why, of the slides that a job could not do.

    Raises:
        FormatError: as `read_slides`.
    """
    return {row.values["slide_id"]: row.values["error"] for row in read_slides(folder) if row.values["error"]}


def write_tables(
    out: Path, results: Sequence[SlideResult], compute: Compute, part: str = "", *, elsewhere: bool = False
) -> None:
    """Write slides.csv, summary.csv, a JSON a slide, and the times.

    Args:
        out: folder of the job.
        results: of its slides, in the order of the tables.
        compute: machine, for the times.
        part: folder in `out` of a part of the slides, whose tables go there; empty is the whole job.
        elsewhere: the slides were not done on this machine: nobody knows on which.

    Raises:
        StorageError: a file cannot be written.
    """
    summaries = [result.summary for result in results]
    for summary in summaries:
        if isinstance(summary, SlideSummary):
            write_slide_summary(out / layout.SLIDE_SUMMARIES / layout.file_of(summary.slide_id, ".json"), summary)
    write_slides(out / part, [_row(summary) for summary in summaries])
    write_summary(out / part / layout.SUMMARY, summaries)
    _write_times(out / part, results, _scoring_machine(compute), elsewhere=elsewhere)


@contextlib.contextmanager
def page_of_tables(out: Path) -> Generator[None]:
    """Keep a job's page, and those of its slides, where the tables that are written meanwhile come out as they were:
    of others they would tell other numbers. What a job leaves aside that was interrupted among its tables is removed by
    the next one.

    Raises:
        StorageError: a page cannot be moved or removed.
    """
    slides = out / layout.slide_pages_of(layout.REPORT)
    aside = {out / layout.REPORT_ASIDE: out / layout.REPORT, slides.with_name(f".{slides.name}.before"): slides}
    try:
        before = _hashes(out)
        for kept, page in aside.items():
            _remove(kept)
            if page.exists():
                page.rename(kept)
        yield
        are_same = _hashes(out) == before
        for kept, page in aside.items():
            if are_same and kept.exists():
                kept.rename(page)
            _remove(kept)
    except OSError as error:
        raise storage_error(error, out) from error


def _hashes(out: Path) -> dict[str, str]:
    """Of all tables of a job that its pages show; where slides and cohort lie is in none of them. A request that is
    broken counts as the file that it is: it is written anew.
    """
    names = (layout.SLIDES, layout.SUMMARY, layout.DETECTIONS)
    files = [*(out / name for name in names), *sorted((out / layout.SLIDE_SUMMARIES).glob("*.json"))]
    found = {str(path.relative_to(out)): hash_file(path) for path in files if path.is_file()}
    try:
        asked = {key: value for key, value in read_request(out).items() if key not in ("cohort", "slides")}
    except FormatError:
        return {**found, layout.REQUEST: hash_file(out / layout.REQUEST)}
    return {**found, layout.REQUEST: json.dumps(asked, sort_keys=True)}


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _scoring_machine(compute: Compute) -> dict[str, Any]:
    """What scored, and in which numbers."""
    return {**machine(compute), "scores_in": compute.scores_in}


def _as_told(made: Any) -> Any:  # noqa: ANN401 - whatever a file holds
    """A machine of timing.json; of before it did not say in which numbers it scored: ONNX Runtime in float32."""
    is_before = isinstance(made, dict) and "scores_in" not in made and "onnxruntime" in str(made.get("engine"))
    return {**made, "scores_in": "float32"} if is_before else made


def _write_times(folder: Path, results: Sequence[SlideResult], made: dict[str, Any], *, elsewhere: bool) -> None:
    """Write timing.csv and timing.json; slides that an earlier try did keep the times that it wrote.

    Where nothing was timed the files stay as they are. timing.json names one machine, or none where it is not known: it
    keeps the parts of that alone.
    """
    timed = {result.summary.slide_id: result.seconds for result in results if result.seconds}
    if not timed:
        return
    engine = f"{made['engine']}, {made['device']}"
    named = {} if elsewhere else {"machine": made}
    before, parts = _times_before(folder, named.get("machine"))
    before |= {slide_id: (seconds["all"], engine) for slide_id, seconds in timed.items()}
    parts |= {slide_id: _rounded(seconds) for slide_id, seconds in timed.items()}
    done = [result.summary for result in results if isinstance(result.summary, SlideSummary)]
    write_timing(
        folder / layout.SLIDE_TIMES, [one.timed(*before[one.slide_id]) for one in done if one.slide_id in before]
    )
    asked = [result.summary.slide_id for result in results]
    write_json(folder / layout.TIMING, {"parts_s": {name: parts[name] for name in asked if name in parts}, **named})


def _times_before(
    folder: Path, made: dict[str, Any] | None
) -> tuple[dict[str, tuple[float, str]], dict[str, dict[str, float]]]:
    """What earlier tries wrote: slide_id -> seconds and engine, and slide_id -> seconds by part on the same machine."""
    try:
        engines = {slide_id: row.values["engine"] for slide_id, row in read_timing(folder).items()}
        seconds = seconds_of(folder)
        timed: dict[str, Any] = read_json(folder / layout.TIMING, {})
    except MitosieveError:
        return {}, {}  # times that are broken tell nothing, and must not end a job that is done
    parts = timed.get("parts_s", {}) if _as_told(timed.get("machine")) == made else {}
    return {slide_id: (value, engines[slide_id]) for slide_id, value in seconds.items()}, dict(parts)


def seconds_of_job(folder: Path) -> float | None:
    """Wall time of all slides of a job; None where one was not timed: a part of the time is not the time.

    Raises:
        FormatError: slides.csv or timing.csv is broken.
    """
    times = seconds_of(folder)
    asked = [row.values["slide_id"] for row in read_slides(folder)]
    return sum(times[name] for name in asked) if asked and times.keys() >= set(asked) else None


LEAST_MM2 = 2.0
"""Of tissue, below which the time of a result says nothing of a slide's: what a slide costs once outweighs it. Ours."""


def measured_beside(out: Path, detector: Path | str, compute: Compute) -> tuple[Path, float, float] | None:
    """The newest result in the folder of `out` that the same detector made on the same machine of at least LEAST_MM2:
    where it is, mm2 of tissue, and seconds, starting not counted; None where there is none.
    """
    wanted = called(detector)["detector_hash"]
    times = sorted(out.absolute().parent.glob(f"*/{layout.TIMING}"), key=lambda path: path.stat().st_mtime)
    for path in reversed(times):
        try:
            timed: dict[str, Any] = read_json(path, {})
            asked = read_request(path.parent)
            rows = [row.values for row in read_slides(path.parent, optional=("tissue_mm2",))]
        except MitosieveError:
            continue  # a result that is broken tells nothing
        if asked.get("detector_hash") != wanted or _as_told(timed.get("machine")) != _scoring_machine(compute):
            continue
        mm2 = {row["slide_id"]: float(row["tissue_mm2"]) for row in rows if row["tissue_mm2"]}
        parts = {name: part["all"] for name, part in timed.get("parts_s", {}).items() if name in mm2 and "all" in part}
        done, seconds = sum(mm2[name] for name in parts), sum(parts.values())
        if done >= LEAST_MM2 and seconds > 0:
            return path.parent, done, seconds
    return None


def _row(summary: SlideSummary | SlideFailure) -> dict[str, Any]:
    """Of slides.csv."""
    if isinstance(summary, SlideFailure):
        return {"slide_id": summary.slide_id, "error": summary.error}
    found = summary.findings
    return {
        "slide_id": summary.slide_id,
        "mpp": sum(found.mpp_xy) / 2,
        "tissue_mm2": found.tissue_mm2,
        "figures": summary.figures,
        "warning": "; ".join(summary.warnings),
        "note": "; ".join(found.notes),
        "error": "",
    }


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in seconds.items()}


def write_all_detections(
    out: Path, results: Sequence[SlideResult], stage_names: tuple[str, ...], *, detector: str
) -> Path:
    """Write detections.csv of all slides that were done, in their order, with ids made of the detector's hash.

    Raises:
        StorageError: the file cannot be written.
    """
    found = (result.detections for result in results)
    every = [Detections.empty(stage_names), *(item for item in found if item is not None)]
    return write_detections(out / layout.DETECTIONS, Detections.concatenate(every), detector=detector)


def called(named: Path | str) -> dict[str, str]:
    """What detect.json calls a detector: its name in the package, whatever `default` is then, or its path; its hash."""
    name = find(named) if isinstance(named, str) else None
    return {
        "detector": str(Path(named).resolve()) if name is None else name,
        "detector_hash": hash_file(detector_folder(named) / layout.DETECTOR_CONFIG),
    }


def origin_of(cohort: Cohort | None, fold: str | None, part: str | None) -> dict[str, Any]:
    """Where a scan's slides come from, for detect.json."""
    return {"cohort": None if cohort is None else str(cohort.folder.resolve()), "fold": fold, "part": part}
