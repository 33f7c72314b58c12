"""What a study found: scores of every row over its seeds, by fold, by domain and pooled, read from the run folders."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Split
from mitosieve.export.table import read_detections
from mitosieve.run import layout
from mitosieve.run.seed import derive_generator
from mitosieve.scan.tables import failed_slides, seconds_of_job
from mitosieve.score.repeated import Comparison, Repeats, compare_repeats
from mitosieve.score.scored import Scored
from mitosieve.sieve.cost import StageCost, costs_of
from mitosieve.sieve.detector import Detector
from mitosieve.study.plan import Plan, is_scored, test_of, windows_of
from mitosieve.study.study import Study, StudyRow

BY_PART = ("f1", "precision", "recall", "ap")
"""Figures that are told of a fold or domain."""


WINDOW_COUNTS = ("TP", "FN", "FP", "TN")
"""Columns of a run's table of patches that are summed."""

MINED, GATE = "", "gate"
"""Which threshold of the screening network a row is of; others have one alone."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a row took.

    Attributes:
        training_s: wall time of a training, mean over folds and seeds; of all that its run trained, also for other
            rows.
        detection_s: wall time of its test cases, mean likewise; None where not all slides were timed.
        stages: of its first detector's networks.
        machines: that it was trained on, in words.
        commits: of the code that trained it.
    """

    training_s: float
    detection_s: float | None
    stages: tuple[StageCost, ...]
    machines: tuple[str, ...]
    commits: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """All that table and page are written from.

    Attributes:
        study: what was asked.
        folds: names.
        pooled: all folds' test cases; rows that have a seed whole. None where no row has.
        by_fold, by_domain: name -> the rows that have it.
        curves: row -> its pooled detections, one a seed.
        costs: row -> what it took.
        windows: row -> (part, counted, network, threshold) -> TP, FN, FP, TN, summed over folds, mean over seeds;
            empty where the study does not ask.
        missing: sentences on what is not done.
        apart: sentences on what trainings differ in that none should.
        newest: the scores that were written last, which date the page; None where there are none.
    """

    study: Study
    folds: tuple[str, ...]
    pooled: Comparison | None
    by_fold: dict[str, Comparison]
    by_domain: dict[str, Comparison]
    curves: dict[str, tuple[Scored, ...]]
    costs: dict[str, Cost]
    windows: dict[str, dict[tuple[str, ...], NDArray[np.float64]]]
    missing: tuple[str, ...]
    apart: tuple[str, ...] = ()
    newest: Path | None = None


def read_result(study: Study, plan: Plan, cohort: Cohort, split: Split) -> StudyResult:
    """Score what is done, from the detections of the run folders: nothing is taken from another table.

    Raises:
        FormatError: a file of a run is broken.
        FrameError: detections of other slides than the cohort's.
    """
    scored = {
        (row.name, fold, seed): Scored.of(read_detections(found), cohort, split.fold(fold).test)
        for row in study.rows
        for seed in study.seeds
        for fold in plan.folds
        if (found := _detections_of(plan, row, fold, seed)) is not None
    }
    pooled = [_pooled(study, row, plan.folds, scored) for row in study.rows]
    by_fold = {
        fold: [
            Repeats(name=row.name, by_seed={s: scored[k] for s in study.seeds if (k := (row.name, fold, s)) in scored})
            for row in study.rows
        ]
        for fold in plan.folds
    }
    domains = sorted({slide.domain for method in pooled for one in method.by_seed.values() for slide in one.slides})
    by_domain = {name: [_of_domain(method, name) for method in pooled] for name in domains if len(domains) > 1}
    return StudyResult(
        study=study,
        folds=plan.folds,
        pooled=_compare(study, "pooled", pooled),
        by_fold={name: got for name, of in by_fold.items() if (got := _compare(study, name, of, BY_PART))},
        by_domain={name: got for name, of in by_domain.items() if (got := _compare(study, name, of, BY_PART))},
        curves={method.name: tuple(method.by_seed.values()) for method in pooled if method.by_seed},
        costs={row.name: cost for row in study.rows if (cost := _cost(study, plan, row)) is not None},
        windows={row.name: _windows(study, plan, row) for row in study.rows if study.windows},
        missing=_missing(study, plan, scored),
        apart=_apart(plan),
        newest=_newest(study, plan),
    )


def _detections_of(plan: Plan, row: StudyRow, fold: str, seed: int) -> Path | None:
    """A row's detections on a fold's test cases; None where they are not done."""
    folder = plan.folders[row.name, fold, seed] / test_of(row.detector)
    return folder / layout.DETECTIONS if is_scored(folder) else None


def _newest(study: Study, plan: Plan) -> Path | None:
    cells = [(row, fold, seed) for row in study.rows for fold in plan.folds for seed in study.seeds]
    scored = [found.with_name(layout.METRICS) for cell in cells if (found := _detections_of(plan, *cell)) is not None]
    return max(scored, key=lambda path: path.stat().st_mtime, default=None)


def _pooled(study: Study, row: StudyRow, folds: Sequence[str], scored: dict[tuple[str, str, int], Scored]) -> Repeats:
    """All folds of each seed that has them all."""
    whole = {
        seed: Scored.join([scored[row.name, fold, seed] for fold in folds])
        for seed in study.seeds
        if all((row.name, fold, seed) in scored for fold in folds)
    }
    return Repeats(name=row.name, by_seed=whole)


def _of_domain(method: Repeats, domain: str) -> Repeats:
    def inside(one: Scored) -> NDArray[np.bool_]:
        return np.array([slide.domain == domain for slide in one.slides])

    return Repeats(name=method.name, by_seed={seed: one.part(inside(one)) for seed, one in method.by_seed.items()})


def _compare(
    study: Study, part: str, methods: Sequence[Repeats], names: Sequence[str] | None = None
) -> Comparison | None:
    """Rows that have something; None where none has. The draws of a part hang on its name alone."""
    there = [method for method in methods if method.by_seed]
    if not there:
        return None
    generator = derive_generator(0, f"study {part}")
    control_of = {row.name: row.control for row in study.rows}
    there = [replace(method, control=control_of[method.name]) for method in there]
    if names is None:
        return compare_repeats(there, study.reference, generator)
    return compare_repeats(there, study.reference, generator, names=names)


def _windows(study: Study, plan: Plan, row: StudyRow) -> dict[tuple[str, ...], NDArray[np.float64]]:
    """Counts of patches of each kind, over the seeds that have all folds.

    The screening network has two rows, at the mining threshold and at the gate, and where a fold's are one number one:
    that counts for both. Where it is one in all of them, there is one.
    """
    of_seed = {seed: [windows_of(plan.folders[row.name, fold, seed]) for fold in plan.folds] for seed in study.seeds}
    whole = [[table for table in tables if table is not None] for tables in of_seed.values() if None not in tables]
    sums: dict[tuple[str, ...], NDArray[np.float64]] = {}
    are_two = False
    for table in (table for tables in whole for table in tables):
        keyed: dict[tuple[str, ...], dict[str, str]] = {}
        for line in table:
            key = (line["part"], line["counted"], line["network"])
            are_two |= (*key, MINED) in keyed
            keyed |= {} if (*key, MINED) in keyed else {(*key, MINED): line}
            keyed[*key, GATE] = line
        for key, line in keyed.items():
            counts = np.array([float(line[name]) for name in WINDOW_COUNTS])
            sums[key] = sums.get(key, np.zeros(len(WINDOW_COUNTS))) + counts / len(whole)
    return {key: counts for key, counts in sums.items() if key[3] == MINED or (are_two and key[2] == layout.SCREENING)}


def _missing(study: Study, plan: Plan, scored: dict[tuple[str, str, int], Scored]) -> tuple[str, ...]:
    found: list[str] = []
    for row in study.rows:
        gone = [f"{fold}/{seed}" for seed in study.seeds for fold in plan.folds if (row.name, fold, seed) not in scored]
        if gone:
            whole = len(study.seeds) * len(plan.folds)
            found.append(f"{row.name}: {len(gone)} of {whole} trainings are not done (fold/seed {', '.join(gone)})")
        cells = {f"{fold}/{seed}": plan.folders[row.name, fold, seed] for seed in study.seeds for fold in plan.folds}
        bare = [name for name, run in cells.items() if study.windows and name not in gone and windows_of(run) is None]
        found += [f"{row.name}: no whole table of windows (fold/seed {', '.join(bare)})"] if bare else []
        for seed in study.seeds:
            for fold in plan.folds:
                failed = failed_slides(plan.folders[row.name, fold, seed] / test_of(row.detector))
                found += [f"{row.name}, {fold}/{seed}: {slide} failed: {why}" for slide, why in failed.items()]
    return tuple(found)


def _threads(machine: Mapping[str, Any]) -> int:
    """Of the process that trained: a worker's, where there were workers."""
    return machine.get("worker_threads", machine["torch_threads"])


def _in_words(machine: Mapping[str, Any]) -> str:
    """What trained, in one line: with the threads of the processes that did, where there were any."""
    elsewhere = "; went on elsewhere" if machine.get("then") else ""
    return f"{machine['processor']}, {_threads(machine)} used, {machine['device']}, {machine['precision']}{elsewhere}"


def _cost(study: Study, plan: Plan, row: StudyRow) -> Cost | None:
    runs = [
        (plan.folders[row.name, fold, seed], found.parent)
        for seed in study.seeds
        for fold in plan.folds
        if (found := _detections_of(plan, row, fold, seed)) is not None
    ]
    if not runs:
        return None
    first = runs[0][0]
    detection = [seconds_of_job(test) for _, test in runs]
    known = [seconds for seconds in detection if seconds is not None]
    versions = [json.loads((run / layout.VERSIONS).read_text()) for run, _ in runs]
    return Cost(
        training_s=float(np.mean([sum(json.loads((run / layout.TIMING).read_text()).values()) for run, _ in runs])),
        detection_s=float(np.mean(known)) if len(known) == len(detection) else None,
        stages=costs_of(Detector.load(first / row.detector)),
        machines=tuple(sorted({_in_words(_machine(run)) for run, _ in runs})),
        commits=tuple(sorted({one["commit"] for one in versions})),
    )


def _machine(run: Path) -> dict[str, Any]:
    return json.loads((run / layout.MACHINE).read_text())


def _apart(plan: Plan) -> tuple[str, ...]:
    """What trainings that stand beside one another differ in: it may be what their scores differ by."""
    runs = sorted({folder for folder in plan.folders.values() if (folder / layout.MACHINE).exists()})
    machines = [_machine(run) for run in runs]
    commits = [json.loads((run / layout.VERSIONS).read_text())["commit"] for run in runs]
    facts = {
        "package commit": {str(commit) for commit in commits},
        "precision": {str(machine["precision"]) for machine in machines},
        "threads": {str(_threads(machine)) for machine in machines},
    }
    return tuple(
        f"trainings differ in {name} ({', '.join(sorted(values))}): scores may differ by that alone"
        for name, values in facts.items()
        if len(values) > 1
    )
