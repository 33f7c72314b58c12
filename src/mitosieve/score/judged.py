"""What metrics.json says of who was scored on what, read and held against one another before any figure is computed.

Imports nothing heavy: results of two cohorts are refused at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitosieve.errors import FormatError, FrameError
from mitosieve.run import layout
from mitosieve.run.folder import read_json

METRICS_FORMAT = 1
"""Version of the content of metrics.json."""

AGAIN = "make it with: mitosieve evaluate"

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

_REMEDY = "evaluate all of them on the same cohort, split, part and radius"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Against what a method was scored.

    Attributes:
        name: for messages.
        radius_um: largest distance of a pair.
        slides: slide_id -> (case_id, figures).
    """

    name: str
    radius_um: float
    slides: dict[str, tuple[str, int]]


def check_same(judged: Sequence[Judged]) -> None:
    """Refuse methods that were not scored on the same slides against the same figures.

    Raises:
        FrameError: slides, figures or radii of one differ from those of the first.
    """
    for other in judged[1:]:
        _check_same(judged[0], other)


def _check_same(first: Judged, other: Judged) -> None:
    both = f"'{first.name}' and '{other.name}'"
    if first.radius_um != other.radius_um:
        raise FrameError(f"{both} were matched within {first.radius_um:g} and {other.radius_um:g} um", remedy=_REMEDY)
    only = sorted(set(first.slides) ^ set(other.slides))
    if only:
        owner = first.name if only[0] in first.slides else other.name
        raise FrameError(
            f"{both} were scored on different slides: '{only[0]}' is only in '{owner}' ({len(only)} such in all)",
            remedy=_REMEDY,
        )
    for slide in sorted(first.slides):
        (case, figures), (other_case, other_figures) = first.slides[slide], other.slides[slide]
        if (case, figures) != (other_case, other_figures):
            raise FrameError(
                f"{both} were scored against different marks: slide '{slide}' has {figures} figures of case "
                f"'{case}' in one, {other_figures} of '{other_case}' in the other",
                remedy=_REMEDY,
            )


def read_metrics(path: Path) -> dict[str, Any]:
    """The content of a metrics.json (`Evaluation.to_json`).

    Args:
        path: the file, or the folder that holds it.

    Raises:
        FormatError: there is none, it is of another format, or it lacks a key.
    """
    file = path / layout.METRICS if path.is_dir() or not path.suffix else path
    if not file.exists():
        raise FormatError("is missing: this folder has not been evaluated", where=file, remedy=AGAIN)
    content: dict[str, Any] = read_json(file, {}, remedy=AGAIN)
    if content.get("format") != METRICS_FORMAT:
        raise FormatError(f"is of format {content.get('format')}, not {METRICS_FORMAT}", where=file, remedy=AGAIN)
    missing = sorted(_KEYS - set(content))
    if missing:
        raise FormatError(f"lacks {', '.join(missing)}", where=file, remedy=AGAIN)
    return content


def check_comparable(folders: Sequence[Path]) -> None:
    """Refuse evaluated folders that were scored on other slides, marks or radii than the first.

    Raises:
        FormatError: as `read_metrics`, or the counts are not what evaluate writes.
        FrameError: as `check_same`.
    """
    check_same([_judged(folder, name) for folder, name in zip(folders, names_of(folders), strict=True)])


def beside(result: Path, others: Sequence[Path]) -> list[Path]:
    """Evaluated folders that are shown beside a result: its own scores, or those of its `test`, and the others."""
    own = [place for place in (result, result / layout.TEST) if (place / layout.METRICS).exists()]
    return [*own[:1], *others]


def _judged(folder: Path, name: str) -> Judged:
    content = read_metrics(folder)
    try:
        slides = {
            str(row["slide_id"]): (str(row["case_id"]), int(row["tp"]) + int(row["fn"])) for row in content["per_slide"]
        }
        return Judged(name=name, radius_um=float(content["radius_um"]), slides=slides)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"is not what evaluate writes ({error!r})", where=folder, remedy=AGAIN) from error


def names_of(folders: Sequence[Path]) -> list[str]:
    """What folders are called beside one another: the last part of each path that tells them apart.

    `test` and metrics.json at the end say nothing and are left out. Folders that are the same are numbered.
    """
    parts = [_telling(folder) for folder in folders]
    names: list[str] = []
    for own in parts:
        others = [other for other in parts if other != own]
        length = next((n for n in range(1, len(own)) if all(other[-n:] != own[-n:] for other in others)), len(own))
        names.append("/".join(own[-length:]))
    return [
        name if names.count(name) == 1 else f"{name} ({names[: place + 1].count(name)})"
        for place, name in enumerate(names)
    ]


def _telling(folder: Path) -> tuple[str, ...]:
    """Parts of a path that tell what was evaluated."""
    parts = folder.absolute().parts
    parts = parts[:-1] if parts[-1] == layout.METRICS else parts
    return parts[:-1] if parts[-1] == layout.TEST and len(parts) > 2 else parts
