"""A folder of detections, evaluated: metrics.json and outcomes.csv beside detections.csv, written and read again."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import FormatError, some
from mitosieve.export.table import read_detections, says_figures
from mitosieve.run import layout
from mitosieve.run.folder import read_json, write_json
from mitosieve.score.compare import Comparison, ScoredMethod, compare
from mitosieve.score.evaluation import EvaluateConfig, Evaluation, evaluate
from mitosieve.score.judged import AGAIN, names_of, read_metrics
from mitosieve.score.outcome import write_outcomes
from mitosieve.score.own_files import check_place, outcomes_of
from mitosieve.score.printed import write_comparison_tables, write_tables_of
from mitosieve.score.table import SlideScore
from mitosieve.score.unseen import unseen_in

NO_FIGURES = "detections.csv has no column is_figure: every row counts as found"
CHOSEN_HERE = "threshold chosen on these detections, of training patients: an upper bound, no test score"
"""Of out-of-fold detections of a training."""


def evaluate_folder(
    folder: Path,
    cohort: Cohort,
    *,
    cases: tuple[str, ...] | None = None,
    config: EvaluateConfig | None = None,
    out: Path | None = None,
) -> Evaluation:
    """Score `detections.csv` of a folder; write metrics.json and outcomes.csv beside it.

    Slides that were not seen, by the folder's slides.csv or those of its folds, count as missed, and are named in the
    notes. What must be known of the folder itself is noted whenever it is scored.

    Args:
        folder: made by detect, crossval or a training, or by others.
        cohort: the truth.
        cases: which cases; None for all.
        config: how.
        out: another place, NAME.json; what is written beside it is called by its name (`outcomes_of`).

    Raises:
        InputError: a file that evaluate did not write would be lost (`check_place`).
        FormatError: detections.csv is missing or broken, or slides.csv or detect.json is broken.
        FrameError: as `evaluate`.
        StorageError: the files cannot be written.
    """
    table = folder / layout.DETECTIONS
    if out is not None:
        check_place(out, "evaluate")
    result = evaluate(read_detections(table), cohort, cases=cases, config=config, where=table)
    if not says_figures(table):
        result = replace(result, notes=(NO_FIGURES, *result.notes))
    if (folder / layout.SCORE_COUNTS).exists():  # which a training alone leaves, beside what it chose thresholds on
        result = replace(result, notes=(CHOSEN_HERE, *result.notes))
    result = with_unseen(result, unseen_in(_jobs_of(folder), [row.slide_id for row in result.slides]))
    write_evaluation(folder / layout.METRICS if out is None else out, result)
    return result


def _jobs_of(folder: Path) -> list[Path]:
    """Jobs of detection that the detections of a folder are of: its own, of a cross-validation those of its folds."""
    request: dict[str, object] = read_json(folder / layout.REQUEST, {})
    folds = request.get("folds")
    return [folder / str(fold) / layout.TEST for fold in folds] if isinstance(folds, list) else [folder]


def with_unseen(result: Evaluation, slides: Collection[str]) -> Evaluation:
    """The same, with a note of those of these slides that are scored: nobody has looked for figures there."""
    unseen = tuple(row.slide_id for row in result.slides if row.slide_id in slides)
    if not unseen:
        return result
    were, their = ("slide was", "its") if len(unseen) == 1 else ("slides were", "their")
    note = f"{len(unseen)} scored {were} not looked at, {their} figures count as missed: {some(unseen)}"
    return replace(result, unseen=unseen, notes=(note, *result.notes))


def write_evaluation(metrics: Path, result: Evaluation) -> Path:
    """Write outcomes.csv, then tables for other programs, then metrics.json, which stands for all, beside them.

    Raises:
        StorageError: the files cannot be written.
    """
    content = result.to_json()
    write_outcomes(outcomes_of(metrics), result.outcomes)
    write_tables_of(metrics, content)
    return write_json(metrics, content)


def read_scored(path: Path, name: str = "") -> ScoredMethod:
    """A method's per-slide counts and notes, from a folder with metrics.json or from that file itself; called `name`,
    or by path.

    Raises:
        FormatError: as `read_metrics`, or the counts are not what evaluate writes.
    """
    content = read_metrics(path)
    try:
        slides = tuple(SlideScore.from_json(row) for row in content["per_slide"])
        return ScoredMethod(
            name=name or str(path),
            slides=slides,
            radius_um=float(content["radius_um"]),
            notes=tuple(str(note) for note in content["notes"] if note != content["bootstrap"]["note"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"is not what evaluate writes ({error!r})", where=path, remedy=AGAIN) from error


def compare_folders(folders: Sequence[Path], config: EvaluateConfig | None = None) -> Comparison:
    """Compare evaluated folders by a paired bootstrap; each method is called by its name (`names_of`).

    Raises:
        FormatError: a folder has no readable metrics.json.
        FrameError: the folders were scored on different slides, marks or radii.
    """
    config = EvaluateConfig() if config is None else config
    return compare(
        [read_scored(folder, name) for folder, name in zip(folders, names_of(folders), strict=True)],
        config.generator("bootstrap"),
        resamples=config.resamples,
        min_cases=config.min_cases,
    )


def write_comparison(out: Path, result: Comparison) -> Path:
    """Write a comparison as JSON, and as CSV and LaTeX beside it.

    Raises:
        InputError: a file that compare did not write would be lost (`check_place`).
        StorageError: a file cannot be written.
    """
    check_place(out, "compare")
    content = result.to_json()
    write_comparison_tables(out, content)
    return write_json(out, content)
