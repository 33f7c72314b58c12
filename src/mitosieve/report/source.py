"""What a run and its scores left on disk, read for the report. Knows nothing of pages, charts or pictures."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mitosieve.cohort.table import Row, read_table, read_text
from mitosieve.errors import DetectorError, FormatError
from mitosieve.export.table import read_detections
from mitosieve.report.regimes import Search, read_search
from mitosieve.report.scanned import ScanSource, read_scan
from mitosieve.run import layout
from mitosieve.run.folder import RunFolder
from mitosieve.score.evaluation import METRICS_FORMAT
from mitosieve.score.outcome import OUTCOME_COLUMNS, Outcome, Outcomes
from mitosieve.sieve.detector import Detector

_METRICS_KEYS = {
    "pooled",
    "optimal",
    "lenient",
    "ap",
    "ap_boxes",
    "froc",
    "pr_curve",
    "best_f1_oracle",
    "per_domain",
    "per_case",
    "per_slide",
    "count_agreement",
    "false_alarms_on_imposters",
    "bootstrap",
    "notes",
    "radius_um",
    "rule",
}


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
        versions: package -> version.
        commit: of the code.
        machine: what it ran on.
        detector: what the detector is, a line a part; or why it cannot be told.
        patches: part -> origin -> number of places.
        history: stage -> rows, in the order of the detector's stages.
        rounds: what each mining round kept.
        search: which regimes of mining were tried; None where there was no search.
        seconds: part of the work -> wall time.
        validation: (detections kept for curves, those at the operating threshold) on the validation cases.
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
    search: Search | None
    seconds: dict[str, float]
    validation: tuple[int, int] | None
    scores: tuple[ScoreSource, ...]


@dataclass(frozen=True, kw_only=True)
class Source:
    """All that one page tells of.

    Attributes:
        name: of the folder that was asked for.
        runs: one, or one per fold.
        scores: what is shown in full; the first is the result.
        scan: what detect left there; None where it left nothing to show beside the scores.
    """

    name: str
    runs: tuple[RunSource, ...]
    scores: tuple[ScoreSource, ...]
    scan: ScanSource | None = None

    @property
    def is_crossval(self) -> bool:
        return len(self.runs) > 1 or (bool(self.runs) and self.runs[0].name != self.name)

    @property
    def folds(self) -> list[dict[str, Any]]:
        """A pooled row per fold: each fold's own score; where the folds have none, those of the pooled metrics."""
        if not self.is_crossval:
            return []
        own = [{"fold": run.name, **run.scores[0].metrics["pooled"]} for run in self.runs if run.scores]
        return own or (self.scores[0].metrics.get("per_fold", []) if self.scores else [])


def read_source(run: Path, evaluated: Sequence[Path] = ()) -> Source:
    """Read a run folder, a cross-validation (a pooled score and a run per fold), or a folder of detect.

    A folder of detect shows its slides (summary.csv, or slides.csv where it was not evaluated), its scores, or both.

    Args:
        run: the folder.
        evaluated: further folders with metrics.json, in the order they are to be shown.

    Raises:
        RunFolderError: `run` is none of these, or of another version.
        FormatError: a file is broken, a folder of `evaluated` has no metrics.json, or a folder of detect has neither
            scores nor a table of slides.
    """
    name = run.resolve().name
    folds = sorted(path.parent for path in run.glob(f"*/{layout.RUN}") if _is_training(path.parent))
    detected = (run / layout.METRICS).exists() or (run / layout.REQUEST).exists()
    if _is_training(run) or not (folds or detected):
        folds = []
    scan = _scan(run) if detected else None
    trainings = folds or ([] if detected else [run])
    runs = tuple(read_run(folder) for folder in trainings)
    evaluated_itself = [run] if detected and (scan is None or (run / layout.METRICS).exists()) else []
    scores = [read_score(folder, "pooled over folds" if folds else name) for folder in evaluated_itself]
    scores += _scores_in(run)
    scores += [read_score(folder, str(folder)) for folder in evaluated]
    known: dict[Path, ScoreSource] = {}
    for score in scores:
        known.setdefault(score.folder.resolve(), score)
    return Source(name=name, runs=runs, scores=tuple(known.values()), scan=scan)


def read_run(folder: Path) -> RunSource:
    """Read one training.

    Raises:
        RunFolderError: no run, or one of another version.
        FormatError: a file of it is broken.
    """
    provenance = RunFolder.open(folder).read_mark()
    recipe_file = folder / layout.RECIPE
    recipe = json.dumps(provenance.get("recipe", ""), indent=1)
    made_with = _json(folder / layout.VERSIONS, {})
    detector, stages = _detector(folder)
    return RunSource(
        name=folder.resolve().name,
        provenance={key: value for key, value in provenance.items() if key != "recipe"},
        recipe=read_text(recipe_file) if recipe_file.exists() else recipe.strip('"'),
        versions=made_with.get("versions", {}),
        commit=made_with.get("commit", ""),
        machine=_json(folder / layout.MACHINE, {}),
        detector=detector,
        patches=_json(folder / layout.PATCHES, {}),
        history=_history(folder / layout.HISTORY, stages) or _ensemble_history(folder / layout.ENSEMBLE),
        rounds=_json(folder / layout.MINING, {}).get("rounds", []),
        search=read_search(folder),
        seconds=_json(folder / layout.TIMING, {}),
        validation=_validation(folder / layout.VALIDATION / layout.DETECTIONS),
        scores=tuple(_scores_in(folder)),
    )


def read_score(folder: Path, name: str) -> ScoreSource:
    """Read one evaluated folder.

    Raises:
        FormatError: metrics.json is missing, of another format or lacks a key; outcomes.csv or detect.json is broken.
    """
    file = folder / layout.METRICS
    remedy = "make it with: mitosieve evaluate"
    if not file.exists():
        raise FormatError("is missing: this folder has not been evaluated", where=file, remedy=remedy)
    metrics = _json(file, {})
    if metrics.get("format") != METRICS_FORMAT:
        raise FormatError(f"is of format {metrics.get('format')}, not {METRICS_FORMAT}", where=file, remedy=remedy)
    missing = sorted(_METRICS_KEYS - set(metrics))
    if missing:
        raise FormatError(f"lacks {', '.join(missing)}", where=file, remedy=remedy)
    cells = folder / layout.OUTCOMES
    request = _json(folder / layout.REQUEST, {})
    return ScoreSource(
        name=name,
        folder=folder,
        metrics=metrics,
        cells=read_outcomes(cells) if cells.exists() else None,
        request=request,
        cohort=_cohort_of(folder, request),
        failed=_failed(folder / layout.SLIDES),
    )


def read_outcomes(path: Path) -> Outcomes:
    """Read what `write_outcomes` wrote.

    Raises:
        FormatError: a column is missing, or a value is not what it should be; the line is named.
    """
    rows = read_table(path, required=OUTCOME_COLUMNS)
    columns = {
        name: np.array([_number(row, name) for row in rows], dtype=np.float64)
        for name in ("x", "y", "score", "distance_um")
    }
    return Outcomes(
        slide_id=np.array([row.values["slide_id"] for row in rows], dtype=np.str_),
        center_l0=np.column_stack([columns["x"], columns["y"]]).reshape(len(rows), 2),
        outcome=np.array([_outcome(row) for row in rows], dtype=np.str_),
        score=columns["score"],
        distance_um=columns["distance_um"],
        on_imposter=np.array([row.values["on_imposter"] == "yes" for row in rows], dtype=np.bool_),
    )


def _number(row: Row, name: str) -> float:
    text = row.values[name]
    try:
        value = float(text) if text or name in ("x", "y") else math.nan
    except ValueError as error:
        raise FormatError(f"{name} is '{text}', not a number", where=row.where, remedy="evaluate again") from error
    if name in ("x", "y") and not math.isfinite(value):
        raise FormatError(f"{name} is '{text}', not a place", where=row.where, remedy="evaluate again")
    return value


def _outcome(row: Row) -> str:
    try:
        return Outcome(row.values["outcome"]).value
    except ValueError as error:
        known = ", ".join(outcome.value for outcome in Outcome)
        raise FormatError(f"outcome is none of {known}", where=row.where, remedy="evaluate again") from error


def _scores_in(folder: Path) -> list[ScoreSource]:
    """The evaluated folders directly inside, "test" first, then by name; runs of folds are not among them."""
    found = [path.parent for path in folder.glob(f"*/{layout.METRICS}") if not _is_training(path.parent)]
    return [
        read_score(path, path.name) for path in sorted(found, key=lambda path: (path.name != layout.TEST, path.name))
    ]


def _scan(folder: Path) -> ScanSource | None:
    """What detect left; None where it is no more than the scores tell."""
    scan = read_scan(folder, _json(folder / layout.REQUEST, {}), layout.SLIDES)
    known = scan is not None and (scan.has_summary or not (folder / layout.METRICS).exists())
    return scan if known else None


def _is_training(folder: Path) -> bool:
    """Both train and detect leave a run.json; detect's has detect.json beside it."""
    return (folder / layout.RUN).exists() and not (folder / layout.REQUEST).exists()


def _failed(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    rows = read_table(path, required=("slide_id", "error"))
    return {row.values["slide_id"]: row.values["error"] for row in rows if row.values["error"]}


def _cohort_of(folder: Path, request: dict[str, Any]) -> Path | None:
    """Where detect found the images; a pooled score has its folds' record."""
    below = [
        _json(path, {}) for path in sorted([*folder.glob(f"*/{layout.REQUEST}"), *folder.glob(f"*/*/{layout.REQUEST}")])
    ]
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

    return {path.stem: _json(path, []) for path in sorted(folder.glob("*.json"), key=place)}


def _ensemble_history(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What the members of an ensemble, each trained in a folder of its own, have left."""
    return {path.parents[1].name: _json(path, []) for path in sorted(folder.glob(f"*/{layout.HISTORY}/network.json"))}


def _validation(path: Path) -> tuple[int, int] | None:
    if not path.exists():
        return None
    found = read_detections(path)
    return len(found), len(found.figures)


def _json(path: Path, default: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """The content of a file, or `default` where there is none; content of another kind than the default is refused."""
    if not path.exists():
        return default
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise FormatError(f"is not JSON ({error})", where=path, remedy="make the file again") from error
    if not isinstance(content, type(default)):
        raise FormatError(f"holds no {type(default).__name__}", where=path, remedy="make the file again")
    return content
