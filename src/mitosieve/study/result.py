"""What a study found: scores of every row over its seeds, by fold, by domain and pooled, read from its records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Split
from mitosieve.export.table import read_detections
from mitosieve.run import layout
from mitosieve.run.seed import derive_generator
from mitosieve.score.repeated import Comparison, Repeats, compare_repeats
from mitosieve.score.scored import Scored
from mitosieve.sieve.cost import StageCost
from mitosieve.study.plan import Plan
from mitosieve.study.record import OnTestCases, Record, failed_in, read_record
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
        machines: that it was trained on, in words; those of one training that went on elsewhere together.
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
        newest: when the last scores were written, which dates the page; None where there are none.
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
    newest: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class _Done:
    """What is done of a study: (row, fold, seed) -> the record of its training; cells that have none are not there."""

    study: Study
    folds: tuple[str, ...]
    record: Mapping[tuple[str, str, int], Record]

    def tested(self, row: StudyRow, fold: str, seed: int) -> OnTestCases | None:
        """A row's detector on a fold's test cases; None where that is not done."""
        record = self.record.get((row.name, fold, seed))
        return None if record is None else record.tested.get(row.detector)

    def all_of(self, row: StudyRow) -> list[tuple[Record, OnTestCases]]:
        """What is done of a row, by seed, then by fold."""
        cells = [(fold, seed) for seed in self.study.seeds for fold in self.folds]
        found = [(self.record.get((row.name, *cell)), self.tested(row, *cell)) for cell in cells]
        return [(record, tested) for record, tested in found if record is not None and tested is not None]


def read_result(study: Study, plan: Plan, cohort: Cohort, split: Split) -> StudyResult:
    """Score what is recorded, from its detections: nothing is taken from another table.

    Raises:
        FormatError: a record is broken.
        FrameError: detections of other slides than the cohort's.
    """
    records = {one.folder: read_record(one.kept[0]) for one in plan.trainings}
    there = {cell: record for cell, one in plan.of.items() if (record := records[one.folder]) is not None}
    done = _Done(study=study, folds=plan.folds, record=there)
    scored = {
        (row.name, fold, seed): Scored.of(
            read_detections(found.detections), cohort, split.fold(fold).test, where=found.detections
        )
        for row in study.rows
        for seed in study.seeds
        for fold in plan.folds
        if (found := done.tested(row, fold, seed)) is not None
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
        costs={row.name: cost for row in study.rows if (cost := _cost(done, row)) is not None},
        windows={row.name: _windows(done, row) for row in study.rows if study.windows},
        missing=_missing(done, plan),
        apart=_apart([one for one in records.values() if one is not None]),
        newest=max((tested.scored for row in study.rows for _, tested in done.all_of(row)), default=None),
    )


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


def _windows(done: _Done, row: StudyRow) -> dict[tuple[str, ...], NDArray[np.float64]]:
    """Counts of patches of each kind, over the seeds that have all folds.

    The screening network has two rows, at the mining threshold and at the gate, and where a fold's are one number one:
    that counts for both. Where it is one in all of them, there is one.
    """
    cells = [[done.record.get((row.name, fold, seed)) for fold in done.folds] for seed in done.study.seeds]
    of_seed = [[None if record is None else record.windows for record in records] for records in cells]
    whole = [[table for table in tables if table is not None] for tables in of_seed if None not in tables]
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


def _missing(done: _Done, plan: Plan) -> tuple[str, ...]:
    found: list[str] = []
    study = done.study
    for row in study.rows:
        cells = [(fold, seed) for seed in study.seeds for fold in plan.folds]
        gone = [f"{fold}/{seed}" for fold, seed in cells if done.tested(row, fold, seed) is None]
        if gone:
            words = f"{len(gone)} of {len(cells)} trainings are not done (fold/seed {', '.join(gone)})"
            found.append(f"{row.name}: {words}")
        there = {f"{fold}/{seed}": done.record.get((row.name, fold, seed)) for fold, seed in cells}
        bare = [name for name, record in there.items() if name not in gone and record and record.windows is None]
        found += (
            [f"{row.name}: no whole table of windows (fold/seed {', '.join(bare)})"] if study.windows and bare else []
        )
        for fold, seed in cells:
            if f"{fold}/{seed}" in gone:
                failed = failed_in(plan.of[row.name, fold, seed].folder, row.detector)
                found += [f"{row.name}, {fold}/{seed}: {slide} failed: {why}" for slide, why in failed.items()]
    return tuple(found)


def _threads(machine: Mapping[str, Any]) -> int:
    """Of the process that trained: a worker's, where there were workers."""
    return machine.get("worker_threads", machine["torch_threads"])


def _in_words(machine: Mapping[str, Any]) -> str:
    """What trained, in one line: with the threads of the processes that did, where there were any."""
    return f"{machine['processor']}, {_threads(machine)} used, {machine['device']}, {machine['precision']}"


def _cost(done: _Done, row: StudyRow) -> Cost | None:
    found = done.all_of(row)
    if not found:
        return None
    detection = [tested.detection_s for _, tested in found]
    known = [seconds for seconds in detection if seconds is not None]
    return Cost(
        training_s=float(np.mean([record.training_s for record, _ in found])),
        detection_s=float(np.mean(known)) if len(known) == len(detection) else None,
        stages=found[0][1].stages,
        machines=tuple(sorted({"; then ".join(map(_in_words, record.machines)) for record, _ in found})),
        commits=tuple(sorted({commit for record, _ in found for commit in record.commits})),
    )


def _apart(records: Sequence[Record]) -> tuple[str, ...]:
    """What trainings that stand beside one another differ in, or one that went on elsewhere in itself: it may be what
    their scores differ by.
    """
    machines = [machine for record in records for machine in record.machines]
    facts = {
        "package commit": {commit for record in records for commit in record.commits},
        "processor": {str(machine["processor"]) for machine in machines},
        "precision": {str(machine["precision"]) for machine in machines},
        "threads": {str(_threads(machine)) for machine in machines},
    }
    return tuple(
        f"trainings differ in {name} ({', '.join(sorted(values))}): scores may differ by that alone"
        for name, values in facts.items()
        if len(values) > 1
    )
