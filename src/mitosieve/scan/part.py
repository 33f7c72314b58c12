"""A slide's part of a job: the file of its detections, and while it is being done, those of its finished bands."""

import contextlib
import hashlib
import io
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mitosieve.detection import Detections
from mitosieve.errors import FormatError
from mitosieve.export.table import read_detections, write_detections
from mitosieve.run import layout
from mitosieve.run.folder import read_json, reading, storage_error, write_atomic, write_json
from mitosieve.scan.task import SlideTask
from mitosieve.sieve.cascade import Scored
from mitosieve.slide.header import is_dicom
from mitosieve.slide.preview import is_mirax
from mitosieve.slide.slide import Slide

_BROKEN = "delete it, and run again with --resume: the slide is done again"
_FACTS = {"mpp_xy": list, "size_l0": list, "tissue_mm2": (int, float), "proposer": str, "threshold": (int, float)}
"""What counting needs of a part, and as what."""


def part_of(task: SlideTask, slide: Slide) -> Path:
    """The file of a slide's detections, named by all that they depend on beside the detector."""
    source = task.source
    states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in _files_of(source.path)]
    made_of = (states, slide.mpp_xy, "" if source.roi is None else source.roi.wkt)
    digest = hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]
    return task.file_in(layout.PARTS, f".{digest}.csv")


def _files_of(path: Path) -> list[Path]:
    """All files of a slide: a DICOM series', and those in the folder beside a .mrxs."""
    if path.is_dir() or is_dicom(path):
        from mitosieve.slide.dicom_series import dicom_files

        return dicom_files(path)
    folder = path.with_suffix("")
    inner = sorted(item for item in folder.glob("[!.]*") if item.is_file()) if is_mirax(path) else []
    return [path, *inner]


def read_part(part: Path) -> tuple[Detections, dict[str, Any]] | None:
    """What a part holds: detections and facts; None where the slide is not done.

    Raises:
        FormatError: its detections or facts are broken.
    """
    path = part.with_suffix(".json")
    if not part.exists() or not path.exists():
        return None
    facts: dict[str, Any] = read_json(path, {}, remedy=_BROKEN)
    missing = [name for name, kind in _FACTS.items() if not isinstance(facts.get(name), kind)]
    if missing:
        raise FormatError(f"lacks {', '.join(missing)}", where=path, remedy=_BROKEN)
    return read_detections(part), facts


def done_before(tasks: Sequence[SlideTask]) -> Iterator[tuple[SlideTask, dict[str, Any]]]:
    """Each slide with the facts of its finished parts, also of those that do not serve any more, where they keep what
    was stated of it: those of before do not. The folder is listed once, however many slides there are.
    """
    parts: dict[Path, list[Path]] = {}
    for folder in {task.out / layout.PARTS for task in tasks}:
        for path in sorted(folder.glob("*.csv")) if folder.is_dir() else ():
            name, _, digest = path.stem.rpartition(".")
            if _DIGEST.fullmatch(digest):
                parts.setdefault(folder / name, []).append(path)
    for task in tasks:
        for part in parts.get(task.file_in(layout.PARTS, ""), ()):
            facts: dict[str, Any] = {}
            with contextlib.suppress(FormatError):  # who reads it for its slide says so
                facts = read_json(part.with_suffix(".json"), {})
            if isinstance(facts.get("stated"), dict) and _are_numbers(facts.get("mpp_xy")):
                yield task, facts


_DIGEST = re.compile("[0-9a-f]{12}")
"""At the end of a part's name."""


def _are_numbers(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(one, int | float) for one in value)


def write_whole(part: Path, found: Detections) -> Detections:
    """Write a slide's detections beside its bands, and read them again: as the file has them, to its digits."""
    return read_detections(write_detections(_whole(part), found))


def finish_part(part: Path, facts: dict[str, Any]) -> None:
    """The slide is done: facts first, then the detections that `write_whole` wrote; its bands go.

    Raises:
        StorageError: the folder cannot be written.
    """
    write_json(part.with_suffix(".json"), facts)
    try:
        _whole(part).replace(part)
    except OSError as error:
        raise storage_error(error, part) from error
    shutil.rmtree(part.with_suffix(""), ignore_errors=True)


def write_band(part: Path, number: int, scored: Scored) -> None:
    """Keep what came through on a band."""
    buffer = io.BytesIO()
    np.savez(buffer, center_px=scored.center_px, score=scored.score, counts=scored.counts)
    write_atomic(_band(part, number), buffer.getvalue())


def read_bands(part: Path, bands: int) -> dict[int, Scored]:
    """What is kept of the first `bands` bands, by number."""
    kept = [number for number in range(bands) if _band(part, number).exists()]
    return {number: _read_band(_band(part, number)) for number in kept}


def _read_band(path: Path) -> Scored:
    with reading(path), np.load(path, allow_pickle=False) as content:
        band = Scored(center_px=content["center_px"], score=content["score"], counts=content["counts"])
        if band.center_px.shape != (len(band.score), 2) or band.score.ndim != 2 or band.counts.ndim != 1:
            raise ValueError("its arrays do not belong together")
        return band


def _band(part: Path, number: int) -> Path:
    return part.with_suffix("") / f"band-{number:04d}.npz"


def _whole(part: Path) -> Path:
    return part.with_suffix("") / "whole.csv"
