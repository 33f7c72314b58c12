"""What a study keeps of a training: all that its tables are made of, and nothing that only its own machine needs.

Some hundred kilobytes in place of a run folder: detections of the test cases, times, costs, the recipe, the machine in
words; no weights, no tissue, no paths but what the recipe itself names. With it a study goes on on another machine, and
whoever has the marks makes its tables again without a training.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mitosieve.errors import FormatError
from mitosieve.export.table import read_detections, write_detections
from mitosieve.run import layout
from mitosieve.run.folder import THEN, hash_file, read_json, write_atomic, write_json
from mitosieve.scan.tables import failed_slides, seconds_of_job
from mitosieve.sieve.cost import StageCost, costs_of
from mitosieve.sieve.detector import Detector

_REMEDY = "delete this folder: the record is made again from the run folder, or else the training is done again"
_THREADS, _WORKERS = "torch_threads", "worker_threads"
"""Of a process in machine.json: every machine has the one, one with workers the other too."""

_WINDOW_PARTS = ("train", "test")


@dataclass(frozen=True, kw_only=True)
class OnTestCases:
    """One detector of a training on the fold's test cases.

    Attributes:
        detections: the table of what it found, without what single stages said.
        detection_s: wall time; None where not all slides were timed.
        stages: what its networks cost.
        scored: when its scores were written.
        of: sha256 of the run's own table.
    """

    detections: Path
    detection_s: float | None
    stages: tuple[StageCost, ...]
    scored: datetime
    of: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is kept of one training.

    Attributes:
        commit: of the code that trained it.
        machine: what trained it, as machine.json has it.
        training_s: wall time of all that the run trained.
        tested: detector -> how it did.
        windows: what its networks say of the paper's windows (`windows_of`); None where that was not asked.
        later: commits that it went on at, after kills.
    """

    commit: str
    machine: dict[str, Any]
    training_s: float
    tested: dict[str, OnTestCases]
    windows: list[dict[str, str]] | None
    later: tuple[str, ...] = ()

    @property
    def commits(self) -> tuple[str, ...]:
        """All of the code that trained it, the first one first."""
        return tuple(dict.fromkeys((self.commit, *self.later)))

    @property
    def machines(self) -> tuple[dict[str, Any], ...]:
        """All that trained it, the first one first; of a later one what is not said is as before.

        But workers, of which each machine says its own: what stands directly after it is of its workers.
        """
        found: list[dict[str, Any]] = [{key: value for key, value in self.machine.items() if key != THEN}]
        for told in self.machine.get(THEN, ()):
            if _THREADS in told:
                found.append({key: value for key, value in found[-1].items() if key != _WORKERS} | told)
            elif _WORKERS in found[-1]:
                found.append({**found[-1], **told})
            else:
                found[-1] |= told
        return tuple(found)


def test_of(detector: str) -> str:
    """Folder in a run, and in a record, with a detector's detections on the test cases: "test", "test-chosen"."""
    return detector.replace(layout.DETECTOR, layout.TEST, 1)


def failed_in(run: Path, detector: str) -> dict[str, str]:
    """Test slides that a detector of a run could not read: slide_id -> why.

    Raises:
        FormatError: slides.csv is broken.
    """
    return failed_slides(run / test_of(detector))


def is_scored(test: Path) -> bool:
    """Whether a folder has scores of all its slides: one that failed would count as without a single figure found.

    Raises:
        FormatError: its slides.csv is broken.
    """
    return (test / layout.METRICS).exists() and not failed_slides(test)


def windows_of(folder: Path) -> list[dict[str, str]] | None:
    """Rows of a run's table of patches, of the training and the test part; None where it lacks one of them, as one that
    was made for another part alone, or the detections that the run has.
    """
    file = folder / layout.PATCH_TABLE
    if not file.exists():
        return None
    with file.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row.get("part") in _WINDOW_PARTS]
    wanted = {(part, "patches") for part in _WINDOW_PARTS}
    wanted |= {(layout.TEST, "detections")} if (folder / layout.TEST / layout.METRICS).exists() else set()
    return rows if wanted <= {(row["part"], row.get("counted")) for row in rows} else None


def is_whole(run: Path, detectors: Sequence[str], *, windows: bool) -> bool:
    """Whether all these detectors of a run have been scored on the test cases, and what else is asked stands."""
    return all(is_scored(run / test_of(name)) for name in detectors) and (not windows or windows_of(run) is not None)


def is_kept(folder: Path, detectors: Sequence[str], *, windows: bool) -> bool:
    """Whether a record holds all that.

    Raises:
        FormatError: the record is broken.
    """
    record = read_record(folder)
    return record is not None and record.tested.keys() >= set(detectors) and not (windows and record.windows is None)


def keep(run: Path, folder: Path, detectors: Sequence[str]) -> None:
    """Write the record of a run from what is scored there; nothing where that stands in it already, or nothing is.

    Args:
        run: the run folder.
        folder: of the record.
        detectors: names, of which those that are not scored are left out.

    Raises:
        FormatError: a file of the run is broken.
        StorageError: the record cannot be written.
    """
    scored = [name for name in detectors if is_scored(run / test_of(name))]
    sources = {name: hash_file(run / test_of(name) / layout.DETECTIONS) for name in scored}
    windows = hash_file(run / layout.PATCH_TABLE) if windows_of(run) is not None else None
    if not scored or _says(folder, sources, windows):
        return
    for name in (layout.RECIPE, *([] if windows is None else [layout.PATCH_TABLE])):
        write_atomic(folder / name, (run / name).read_bytes())
    tested = {name: _keep_test(run, folder, name) | {"of": sources[name]} for name in scored}
    made_with = json.loads((run / layout.VERSIONS).read_text())
    later = [one["commit"] for one in made_with.get(THEN, []) if one["commit"] != made_with["commit"]]
    facts = {
        "commit": made_with["commit"],
        **({THEN: later} if later else {}),
        "machine": json.loads((run / layout.MACHINE).read_text()),
        "training_s": sum(json.loads((run / layout.TIMING).read_text()).values()),
        "windows": windows,
        "tested": tested,
    }
    write_json(folder / layout.RECORD, facts)


def _says(folder: Path, sources: Mapping[str, str], windows: str | None) -> bool:
    """Whether a sound record holds these tables of a run; one that is broken is made again."""
    try:
        record = read_record(folder)
    except FormatError:
        return False
    if record is None or not sources.items() <= {name: one.of for name, one in record.tested.items()}.items():
        return False
    return windows is None or (record.windows is not None and hash_file(folder / layout.PATCH_TABLE) == windows)


def copy_record(source: Path, folder: Path) -> None:
    """A record at another place, as it is; the file that says it is there last.

    Raises:
        StorageError: it cannot be written.
    """
    files = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
    for name in sorted(files, key=lambda name: name == Path(layout.RECORD)):
        write_atomic(folder / name, (source / name).read_bytes())


def _keep_test(run: Path, folder: Path, detector: str) -> dict[str, Any]:
    """Write what a detector found; the facts beside it."""
    test = run / test_of(detector)
    found = read_detections(test / layout.DETECTIONS)
    bare = replace(found, stage_names=(), stage_score=np.zeros((len(found), 0)))
    written = write_detections(folder / test_of(detector) / layout.DETECTIONS, bare)
    return {
        "sha256": hash_file(written),
        "detection_s": seconds_of_job(test),
        "stages": [asdict(stage) for stage in costs_of(Detector.load(run / detector))],
        "scored": datetime.fromtimestamp((test / layout.METRICS).stat().st_mtime, tz=UTC).isoformat(timespec="seconds"),
    }


def read_record(folder: Path) -> Record | None:
    """The record in a folder; None where there is none.

    Raises:
        FormatError: it is broken, or its tables are not those that were written.
    """
    facts: dict[str, Any] = read_json(folder / layout.RECORD, {}, remedy=_REMEDY)
    if not facts:
        return None
    try:
        record = Record(
            commit=facts["commit"],
            machine=facts["machine"],
            training_s=float(facts["training_s"]),
            tested={name: _tested(folder, name, one) for name, one in facts["tested"].items()},
            windows=None if facts["windows"] is None else windows_of(folder),
            later=tuple(str(commit) for commit in facts.get(THEN, ())),
        )
        sums = {one.detections: facts["tested"][name]["sha256"] for name, one in record.tested.items()}
        sums |= {} if facts["windows"] is None else {folder / layout.PATCH_TABLE: facts["windows"]}
        changed = next((path for path, digest in sums.items() if hash_file(path) != digest), None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"is no record of a training ({error})", where=folder, remedy=_REMEDY) from error
    if changed is not None:
        raise FormatError("was changed after it was written", where=changed, remedy=_REMEDY)
    return record


def _tested(folder: Path, detector: str, facts: dict[str, Any]) -> OnTestCases:
    return OnTestCases(
        detections=folder / test_of(detector) / layout.DETECTIONS,
        detection_s=facts["detection_s"],
        stages=tuple(StageCost(**stage) for stage in facts["stages"]),
        scored=datetime.fromisoformat(facts["scored"]),
        of=facts["of"],
    )
