"""A folder of detections, evaluated: metrics.json and outcomes.csv beside detections.csv, written and read again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import FormatError
from mitosieve.export.table import read_detections
from mitosieve.run import layout
from mitosieve.run.folder import read_json, write_json
from mitosieve.score.compare import Comparison, ScoredMethod, compare
from mitosieve.score.evaluation import METRICS_FORMAT, EvaluateConfig, Evaluation, evaluate
from mitosieve.score.outcome import write_outcomes
from mitosieve.score.table import SlideScore

_KEYS = {
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
"""Of every metrics.json (`Evaluation.to_json`)."""

_REMEDY = "make it with: mitosieve evaluate"


def evaluate_folder(
    folder: Path,
    cohort: Cohort,
    *,
    cases: tuple[str, ...] | None = None,
    config: EvaluateConfig | None = None,
    out: Path | None = None,
) -> Evaluation:
    """Score `detections.csv` of a folder; write metrics.json and outcomes.csv beside it.

    Args:
        folder: made by detect, or by others.
        cohort: the truth.
        cases: which cases; None for all.
        config: how.
        out: another place for metrics.json; outcomes.csv is written into the same folder as it.

    Raises:
        FormatError: detections.csv is missing or broken.
        FrameError: as `evaluate`.
        StorageError: the files cannot be written.
    """
    result = evaluate(read_detections(folder / layout.DETECTIONS), cohort, cases=cases, config=config)
    write_evaluation(folder / layout.METRICS if out is None else out, result)
    return result


def write_evaluation(metrics: Path, result: Evaluation) -> Path:
    """Write outcomes.csv, then metrics.json, which stands for both, beside it.

    Raises:
        StorageError: the files cannot be written.
    """
    write_outcomes(metrics.parent / layout.OUTCOMES, result.outcomes)
    return write_json(metrics, result.to_json())


def read_metrics(path: Path) -> dict[str, Any]:
    """The content of a metrics.json (`Evaluation.to_json`).

    Args:
        path: the file, or the folder that holds it.

    Raises:
        FormatError: there is none, it is of another format, or it lacks a key.
    """
    file = path / layout.METRICS if path.is_dir() or not path.suffix else path
    if not file.exists():
        raise FormatError("is missing: this folder has not been evaluated", where=file, remedy=_REMEDY)
    content: dict[str, Any] = read_json(file, {}, remedy=_REMEDY)
    if content.get("format") != METRICS_FORMAT:
        raise FormatError(f"is of format {content.get('format')}, not {METRICS_FORMAT}", where=file, remedy=_REMEDY)
    missing = sorted(_KEYS - set(content))
    if missing:
        raise FormatError(f"lacks {', '.join(missing)}", where=file, remedy=_REMEDY)
    return content


def read_scored(path: Path) -> ScoredMethod:
    """A method's per-slide counts, from a folder with metrics.json or from that file itself.

    Raises:
        FormatError: as `read_metrics`, or the counts are not what evaluate writes.
    """
    content = read_metrics(path)
    try:
        slides = tuple(SlideScore.from_json(row) for row in content["per_slide"])
        return ScoredMethod(name=str(path), slides=slides, radius_um=float(content["radius_um"]))
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"is not what evaluate writes ({error!r})", where=path, remedy=_REMEDY) from error


def compare_folders(folders: Sequence[Path], config: EvaluateConfig | None = None) -> Comparison:
    """Compare evaluated folders by a paired bootstrap; each method is called by its path.

    Raises:
        FormatError: a folder has no readable metrics.json.
        FrameError: the folders were scored on different slides, marks or radii.
    """
    config = EvaluateConfig() if config is None else config
    return compare(
        [read_scored(folder) for folder in folders],
        config.generator("bootstrap"),
        resamples=config.resamples,
        min_cases=config.min_cases,
    )
