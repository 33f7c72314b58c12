"""What a run and its scores left on disk, read for the report. Knows nothing of pages, charts or pictures."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mitosieve.cohort.table import read_text
from mitosieve.errors import DetectorError
from mitosieve.export.table import read_detections
from mitosieve.report.regimes import RegimeSearch, read_search
from mitosieve.report.scanned import Reviewed, ScanSource, read_scan
from mitosieve.run import layout
from mitosieve.run.folder import THEN, RunFolder, kind_of, read_json
from mitosieve.run.layout import Kind
from mitosieve.scan.tables import failed_slides, read_request
from mitosieve.score.judged import beside, check_comparable, read_metrics
from mitosieve.score.outcome import Outcomes, read_outcomes
from mitosieve.sieve.detector import Detector


@dataclass(frozen=True, kw_only=True)
class ScoreSource:
    """One evaluated folder.

    Attributes:
        name: what the page calls it.
        folder: where metrics.json is.
        metrics: its content (`Evaluation.to_json`).
        cells: content of outcomes.csv; None where there is none.
        request: content of detect.json; empty where there is none.
        cohort: folder of the images, as detect recorded it; None where it recorded none.
        failed: slide_id -> why detect could not read it.
    """

    name: str
    folder: Path
    metrics: dict[str, Any]
    cells: Outcomes | None
    request: dict[str, Any]
    cohort: Path | None
    failed: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class RunSource:
    """One training. What is not there is empty.

    Attributes:
        name: of its folder.
        provenance: of run.json, without the recipe.
        recipe: the effective recipe as text.
        versions: package -> version; after it those that the training went on with.
        commit: of the code; after it those that the training went on at.
        machine: what it ran on.
        detector: what the detector is, a line a part; or why it cannot be told.
        patches: part -> origin -> number of places.
        history: stage -> rows, in the order of the detector's stages.
        rounds: what each mining round kept.
        search: which regimes of mining were tried; None where there was no search.
        seconds: part of the work -> wall time.
        validation: (detections kept for curves, those at the operating threshold) on the validation cases.
        unvalidated: whether the fold had no validation case.
        scores: evaluated folders inside the run, "test" first.
    """

    name: str
    provenance: dict[str, Any]
    recipe: str
    versions: dict[str, str]
    commit: str
    machine: dict[str, Any]
    detector: str
    patches: dict[str, dict[str, int]]
    history: dict[str, list[dict[str, Any]]]
    rounds: list[dict[str, Any]]
    search: RegimeSearch | None
    seconds: dict[str, float]
    validation: tuple[int, int] | None
    unvalidated: bool
    scores: tuple[ScoreSource, ...]


@dataclass(frozen=True, kw_only=True)
class Source:
    """All that one page tells of.

    Attributes:
        name: of the folder that was asked for.
        kind: what it is of; None where it is no run, only evaluated.
        runs: one, or one per fold.
        scores: what is shown in full; the first is the result.
        scan: what detect left there; None where it left nothing to show beside the scores.
    """

    name: str
    kind: Kind | None
    runs: tuple[RunSource, ...]
    scores: tuple[ScoreSource, ...]
    scan: ScanSource | None = None

    def reviewed(self, told: Reviewed | None) -> "Source":
        """The same with what people decided about the slides of a job."""
        return self if self.scan is None else replace(self, scan=replace(self.scan, reviewed=told))

    @property
    def folds(self) -> list[dict[str, Any]]:
        """A pooled row per fold: each fold's own score; where the folds have none, those of the pooled metrics."""
        if self.kind is not Kind.CROSSVAL:
            return []
        per_fold = [{"fold": run.name, **run.scores[0].metrics["pooled"]} for run in self.runs if run.scores]
        return per_fold or (self.scores[0].metrics.get("per_fold", []) if self.scores else [])


def read_source(run: Path, evaluated: Sequence[Path] = ()) -> Source:
    """Read a run folder, a cross-validation (a pooled score and a run per fold), a folder of detect, or one that was
    evaluated and is no run.

    A folder of detect shows its slides (summary.csv, or slides.csv where it was not evaluated), its scores, or both.

    Args:
        run: the folder.
        evaluated: further folders with metrics.json, in the order they are to be shown.

    Raises:
        RunFolderError: `run` is none of these, or of another version.
        FormatError: a file is broken, a folder of `evaluated` has no metrics.json, or a folder of detect has neither
            scores nor a table of slides.
        FrameError: a folder of `evaluated` was scored on other slides or marks than the result.
    """
    if evaluated:
        check_comparable(beside(run, evaluated))
    name, kind = run.resolve().name, kind_of(run)
    has_scores = (run / layout.METRICS).exists()
    if kind is None and not has_scores:
        RunFolder(run).read_mark()  # says what is missing
    if kind is None:
        for inside in _runs_in(run):
            RunFolder(inside).read_mark()  # folds of another version
    trainings: list[Path] = []
    scores: list[ScoreSource] = []
    scan: ScanSource | None = None
    if kind is Kind.TRAIN:
        trainings = [run]
    elif kind is Kind.CROSSVAL:
        trainings = _runs_in(run)
        scores = [read_score(run, "pooled over folds")] if has_scores else []
    else:
        scan = _scan(run)
        scores = [read_score(run, name)] if has_scores or scan is None else []
    scores += [*_scores_in(run), *(read_score(folder, str(folder)) for folder in evaluated)]
    known: dict[Path, ScoreSource] = {}
    for score in scores:
        known.setdefault(score.folder.resolve(), score)
    runs = tuple(read_run(folder) for folder in trainings)
    return Source(name=name, kind=kind, runs=runs, scores=tuple(known.values()), scan=scan)


def read_run(folder: Path) -> RunSource:
    """Read one training.

    Raises:
        RunFolderError: no run, or one of another version.
        FormatError: a file of it is broken.
    """
    provenance = RunFolder(folder).check_kind(Kind.TRAIN).provenance
    recipe_file = folder / layout.RECIPE
    recipe = json.dumps(provenance.get("recipe", ""), indent=1)
    made_with: dict[str, Any] = read_json(folder / layout.VERSIONS, {})
    made = (made_with, *made_with.get(THEN, []))
    detector, stages = _detector(folder)
    return RunSource(
        name=folder.resolve().name,
        provenance={key: value for key, value in provenance.items() if key != "recipe"},
        recipe=read_text(recipe_file) if recipe_file.exists() else recipe.strip('"'),
        versions=_one_after_another([one.get("versions", {}) for one in made]),
        commit=", then ".join(dict.fromkeys(one.get("commit", "") for one in made)),
        machine=read_json(folder / layout.MACHINE, {}),
        detector=detector,
        patches=read_json(folder / layout.PATCHES, {}),
        history=_history(folder / layout.HISTORY, stages) or _ensemble_history(folder / layout.ENSEMBLE),
        rounds=read_json(folder / layout.MINING, {}).get("rounds", []),
        search=read_search(folder),
        seconds=read_json(folder / layout.TIMING, {}),
        validation=_validation(folder / layout.VALIDATION / layout.DETECTIONS),
        unvalidated=provenance.get("fold", {}).get("validation") == [],
        scores=tuple(_scores_in(folder)),
    )


def _one_after_another(versions: list[dict[str, str]]) -> dict[str, str]:
    """Of each package its version, and those that came after it where there are others."""
    names = dict.fromkeys(name for one in versions for name in one)
    return {name: ", then ".join(dict.fromkeys(one[name] for one in versions if name in one)) for name in names}


def read_score(folder: Path, name: str) -> ScoreSource:
    """Read one evaluated folder.

    Raises:
        FormatError: metrics.json is missing, of another format or lacks a key; outcomes.csv or detect.json is broken.
    """
    metrics = read_metrics(folder / layout.METRICS)
    cells = folder / layout.OUTCOMES
    request = read_request(folder)
    return ScoreSource(
        name=name,
        folder=folder,
        metrics=metrics,
        cells=read_outcomes(cells) if cells.exists() else None,
        request=request,
        cohort=_cohort_of(folder, request),
        failed=failed_slides(folder),
    )


def _scores_in(folder: Path) -> list[ScoreSource]:
    """The evaluated folders directly inside, "test" first, then by name; runs of folds are not among them."""
    found = [path.parent for path in folder.glob(f"*/{layout.METRICS}") if kind_of(path.parent) is not Kind.TRAIN]
    return [
        read_score(path, path.name) for path in sorted(found, key=lambda path: (path.name != layout.TEST, path.name))
    ]


def _scan(folder: Path) -> ScanSource | None:
    """What detect left; None where it is no more than the scores tell."""
    scan = read_scan(folder, read_request(folder))
    known = scan is not None and (scan.has_summary or not (folder / layout.METRICS).exists())
    return scan if known else None


def _runs_in(folder: Path) -> list[Path]:
    """The trainings directly inside, by name."""
    found = sorted(path.parent for path in folder.glob(f"*/{layout.RUN}"))
    return [path for path in found if kind_of(path) is Kind.TRAIN]


def _cohort_of(folder: Path, request: dict[str, Any]) -> Path | None:
    """Where detect found the images; a pooled score has its folds' record."""
    found = sorted([*folder.glob(f"*/{layout.REQUEST}"), *folder.glob(f"*/*/{layout.REQUEST}")])
    below = [read_request(path.parent) for path in found]
    for record in (request, *below):
        if record.get("cohort"):
            stated = Path(record["cohort"])
            return stated if stated.exists() or stated.is_absolute() else folder / stated
    return None


def _detector(run: Path) -> tuple[str, tuple[str, ...]]:
    """A description, and the names of the stages in order."""
    if not (run / layout.DETECTOR).is_dir():
        return "", ()
    try:
        detector = Detector.load(run / layout.DETECTOR)
    except DetectorError as error:
        return f"The detector cannot be read: {error.what}.", ()
    return detector.describe(), detector.stage_names


def _history(folder: Path, stages: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
    def place(path: Path) -> tuple[int, str]:
        return (stages.index(path.stem) if path.stem in stages else len(stages), path.stem)

    return {path.stem: read_json(path, []) for path in sorted(folder.glob("*.json"), key=place)}


def _ensemble_history(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What the members of an ensemble, each trained in a folder of its own, have left."""
    found = sorted(folder.glob(f"*/{layout.history_of(layout.NETWORK)}"))
    return {path.parents[1].name: read_json(path, []) for path in found}


def _validation(path: Path) -> tuple[int, int] | None:
    if not path.exists():
        return None
    found = read_detections(path)
    return len(found), len(found.figures)
