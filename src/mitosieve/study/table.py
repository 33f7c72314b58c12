"""A study's result as tables: study.csv for programs, study.md for people; the page shows the same tables."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mitosieve.errors import plural
from mitosieve.score.metrics import number
from mitosieve.score.repeated import Comparison, Difference, Row, Value
from mitosieve.study.drawn import drawn, of_difference
from mitosieve.study.result import StudyResult
from mitosieve.study.study import StudyRow

_UNKNOWN = "–"
_DIFFERENCE_COLUMNS = ("seeds", "F1 difference [95 %]", "p", "p (Holm)", "AP difference [95 %]", "p", "p (Holm)")


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table in words.

    Attributes:
        title: what it is.
        columns: names.
        rows: texts, the first of each is the row's name.
        about: a sentence or two beneath the title.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    about: str = ""


def tables_of(result: StudyResult) -> tuple[Table, ...]:
    """All tables that have a row, the pooled one first."""
    compared = [_main(result), _differences(result), _over_controls(result), _counting(result)]
    told = [_parts(result, "Fold"), _parts(result, "Domain"), _windows(result), _seeds(result), _costs(result)]
    return tuple(table for table in (*compared, *told, _rows(result)) if table is not None and table.rows)


def to_markdown(result: StudyResult, command: str) -> str:
    """The study as Markdown.

    Args:
        result: what it found.
        command: that made it.
    """
    study = result.study
    lines = [f"# {study.title}", "", study.about, "", "```", command, "```", ""]
    for table in tables_of(result):
        lines += [f"## {table.title}", ""]
        lines += [table.about, ""] if table.about else []
        lines += [_line(table.columns), _line(["---"] * len(table.columns)), *(_line(row) for row in table.rows), ""]
    notes = notes_of(result)
    if notes:
        lines += ["## Read beside the numbers", "", *(f"- {note}" for note in notes), ""]
    return "\n".join(lines).replace("\n\n\n", "\n\n")


def notes_of(result: StudyResult) -> tuple[str, ...]:
    """What a reader must know: the study's own notes, those of the intervals, what is missing."""
    notes = list(result.study.notes)
    if result.pooled is not None:
        notes.append("Values are means over seeds. What intervals and p values draw stands with each table.")
    commits = sorted({commit for cost in result.costs.values() for commit in cost.commits})
    if commits:
        notes.append(f"Trained at {'commit' if len(commits) == 1 else 'commits'} {', '.join(commits)}.")
    notes += [f"{text[0].upper()}{text[1:]}." for text in result.apart]
    return (*notes, *(f"Not done: {text}" for text in result.missing))


def to_csv(result: StudyResult) -> str:
    """A line a row and part (pooled, fold, domain) with means, intervals and differences, then a line a seed."""
    lines = [
        line
        for scope, part, comparison in _comparisons(result)
        for row in comparison.rows
        for line in _csv_lines(result, scope, part, comparison, row)
    ]
    columns = list(dict.fromkeys(key for line in lines for key in line))
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


def in_words(value: Value, digits: int = 3, *, sign: bool = False) -> str:
    """A mean with its interval: "0.605 [0.568, 0.642]"."""
    form = f"{'+' if sign else ''}.{digits}f"
    if not math.isfinite(value.mean):
        return _UNKNOWN
    low, high = value.interval.low, value.interval.high
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{value.mean:{form}}"
    if value.interval.is_point:
        return f"{value.mean:{form}} [all resamples equal]"
    return f"{value.mean:{form}} [{low:{form}}, {high:{form}}]"


def _comparisons(result: StudyResult) -> list[tuple[str, str, Comparison]]:
    found = [("pooled", "", result.pooled)] if result.pooled is not None else []
    found += [("fold", name, comparison) for name, comparison in result.by_fold.items()]
    found += [("domain", name, comparison) for name, comparison in result.by_domain.items()]
    return found


def _csv_lines(result: StudyResult, scope: str, part: str, comparison: Comparison, row: Row) -> list[dict[str, Any]]:
    tp, fp, fn = row.counts
    of = {"scope": scope, "part": part, "row": row.name}
    scored = {"cases": comparison.cases, "slides": comparison.slides, "figures": comparison.figures}
    line: dict[str, Any] = {**of, "seed": "mean", "seeds": len(row.seeds), **scored, "tp": tp, "fp": fp, "fn": fn}
    line |= {"interval_unit": comparison.unit, "interval_seeds": len(row.seeds), "interval_note": comparison.note}
    for name, value in row.figures.items():
        line |= {name: number(value.mean)} | _ends(name, value)
    for name, difference in row.differences.items():
        line |= _difference_cells(f"{name}_minus_reference", name, difference)
    if row.over_control:
        line["control"] = row.control
    for name, difference in row.over_control.items():
        line |= _difference_cells(f"{name}_minus_control", f"{name}_control", difference)
    cost = result.costs.get(row.name)
    if cost is not None and scope == "pooled":
        line |= {
            "training_s": round(cost.training_s, 1),
            "detection_s": None if cost.detection_s is None else round(cost.detection_s, 1),
            "multiply_adds": " ".join(str(stage.multiply_adds) for stage in cost.stages),
            "weights": sum(stage.weights for stage in cost.stages),
        }
    by_seed: list[dict[str, Any]] = []
    for seed, figures in row.seed_figures.items():
        counts = dict(zip(("tp", "fp", "fn"), row.seed_counts[seed], strict=True))
        values = {name: number(value) for name, value in figures.items()}
        by_seed.append({**of, "seed": seed, "seeds": 1, **scored, **counts, **values})
    return [line, *by_seed]


def _difference_cells(key: str, name: str, difference: Difference) -> dict[str, float | int | None]:
    return {
        key: number(difference.value.mean),
        **_ends(key, difference.value),
        f"{key}_seeds": len(difference.seeds),
        f"{name}_p": number(difference.p),
        f"{name}_p_holm": number(difference.p_holm),
    }


def _ends(name: str, value: Value) -> dict[str, float | None]:
    return {f"{name}_low": number(value.interval.low), f"{name}_high": number(value.interval.high)}


def _main(result: StudyResult) -> Table | None:
    pooled = result.pooled
    if pooled is None:
        return None
    published = sorted({name for row in result.study.rows for name in row.published})
    of_row = {row.name: row for row in result.study.rows}
    return Table(
        title=f"All folds pooled: {plural(pooled.cases, 'case')}, {plural(pooled.slides, 'slide')}, "
        f"{plural(pooled.figures, 'figure')}",
        about="Official rule: greedy one-to-one within 7.5 um. Thresholds are each detector's own. "
        + drawn({"": pooled}),
        columns=(
            *("row", "F1 [95 %]", "precision", "recall", "AP [95 %]", "found / false / missed", "seeds"),
            *(f"published {name}" for name in published),
        ),
        rows=tuple(_main_row(row, of_row[row.name], published) for row in pooled.rows),
    )


def _main_row(row: Row, asked: StudyRow, published: Sequence[str]) -> tuple[str, ...]:
    value = row.figures
    return (
        row.name,
        in_words(value["f1"]),
        in_words(value["precision"]),
        in_words(value["recall"]),
        in_words(value["ap"]),
        " / ".join(f"{count:.0f}" for count in row.counts),
        _seeds_in_words(row.seeds),
        *(f"{asked.published[name]:.3f}" if name in asked.published else "" for name in published),
    )


def _counting(result: StudyResult) -> Table | None:
    """What a user of counts looks at: false alarms a slide, and how far counts lie from the marks'."""
    if result.pooled is None:
        return None
    return Table(
        title="FROC and counts",
        about="FROC is the area under recall up to 8 false alarms a slide (of 8). Counts apart are predicted minus "
        "marked figures per mm2, mean over slides of known area. " + drawn({"": result.pooled}),
        columns=("row", "FROC [95 %]", "counts apart, per mm2 [95 %]", "seeds"),
        rows=tuple(
            (
                row.name,
                in_words(row.figures["froc"], 2),
                in_words(row.figures["count_difference_per_mm2"], 1, sign=True),
                _seeds_in_words(row.seeds),
            )
            for row in result.pooled.rows
        ),
    )


def _differences(result: StudyResult) -> Table | None:
    if result.pooled is None:
        return None
    rows = [row for row in result.pooled.rows if row.differences]
    return Table(
        title=f"Each row minus {result.study.reference}",
        about="Paired over the same slides and seeds. p is two-sided; Holm's correction is over the rows of a column. "
        "Intervals are not corrected. " + drawn({"": result.pooled}, lambda row: of_difference(row.differences)),
        columns=("row", *_DIFFERENCE_COLUMNS),
        rows=tuple((row.name, *_difference_words(row.differences)) for row in rows),
    )


def _over_controls(result: StudyResult) -> Table | None:
    if result.pooled is None:
        return None
    rows = [row for row in result.pooled.rows if row.over_control]
    return Table(
        title="Each row minus its own control",
        about="The control is the same without what the row is about. Paired as above; Holm's correction is over these "
        "rows. " + drawn({"": result.pooled}, lambda row: of_difference(row.over_control)),
        columns=("row", "control", *_DIFFERENCE_COLUMNS),
        rows=tuple((row.name, row.control, *_difference_words(row.over_control)) for row in rows),
    )


def _difference_words(differences: Mapping[str, Difference]) -> tuple[str, ...]:
    found = [differences[name] for name in ("f1", "ap")]
    return _seeds_in_words(found[0].seeds), *(
        t for one in found for t in (in_words(one.value, sign=True), _small(one.p), _small(one.p_holm))
    )


def _seeds_in_words(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _small(p: float) -> str:
    return _UNKNOWN if not math.isfinite(p) else f"{p:.4f}"


def _parts(result: StudyResult, what: str) -> Table | None:
    """F1 and AP of every row, a column a fold or domain."""
    parts = result.by_fold if what == "Fold" else result.by_domain
    if len(parts) < (2 if result.pooled is not None else 1):
        return None
    cells = {(row.name, name): row for name, comparison in parts.items() for row in comparison.rows}
    columns = tuple(f"{name or '(not named)'} ({comparison.figures} figures)" for name, comparison in parts.items())
    most = max(len(row.seeds) for row in cells.values())
    rows: list[tuple[str, ...]] = []
    for asked in result.study.rows:
        found = [cells.get((asked.name, name)) for name in parts]
        if any(row is not None for row in found):
            rows.append((asked.name, *(_UNKNOWN if row is None else _part_cell(row, most) for row in found)))
    return Table(
        title=f"By {what.lower()}: F1 [95 %]; AP", about=drawn(parts), columns=("row", *columns), rows=tuple(rows)
    )


def _part_cell(row: Row, most: int) -> str:
    """A row in a part, with its seeds where others have more."""
    fewer = "" if len(row.seeds) == most else f" (seed {_seeds_in_words(row.seeds)})"
    return f"{in_words(row.figures['f1'])}; {in_words(row.figures['ap']).split(' ', maxsplit=1)[0]}{fewer}"


def _windows(result: StudyResult) -> Table | None:
    """CHS-NET's tables 2 (training part) and 3 (test part), of every row."""
    rows: list[tuple[str, ...]] = []
    for name, kinds in result.windows.items():
        for (part, counted, network, threshold), (tp, fn, fp, tn) in kinds.items():
            words = f"{network}, {threshold}" if threshold else network
            shares = (
                *(_share(tp, tp + fn), _share(fp, fp + tn, rest=True)),
                *(_share(tp, tp + fp), _share(2 * tp, 2 * tp + fp + fn)),
            )
            rows.append((name, part, counted, words, *(f"{count:,.0f}" for count in (tp, fn, fp, tn)), *shares))
    return Table(
        title="Windows: what each network takes for figures",
        about="Counts are sums over folds, means over seeds. The screening network keeps what exceeds the mining "
        "threshold (in a row of its own the gate, where that is another in a fold), the cascade what both networks "
        "keep; detections are what is left after suppression. Columns as in the paper's tables 2 and 3.",
        columns=(
            *("row", "part", "counted", "network", "TP", "FN", "FP", "TN"),
            *("recall of figures", "recall of negatives", "precision", "F1"),
        ),
        rows=tuple(rows),
    )


def _share(part: float, whole: float, *, rest: bool = False) -> str:
    """A share in words; of what is left where `rest`."""
    if not whole:
        return _UNKNOWN
    return f"{1 - part / whole if rest else part / whole:.4f}"


def _seeds(result: StudyResult) -> Table | None:
    """How far trainings of one row lie apart."""
    if result.pooled is None or len(result.study.seeds) < 2:
        return None
    seeds = result.study.seeds
    rows = tuple((row.name, *(_seed_cell(row.seed_figures.get(seed)) for seed in seeds)) for row in result.pooled.rows)
    return Table(title="By seed: F1; AP", columns=("row", *(f"seed {seed}" for seed in seeds)), rows=rows)


def _seed_cell(figures: Mapping[str, float] | None) -> str:
    return _UNKNOWN if figures is None else f"{figures['f1']:.3f}; {figures['ap']:.3f}"


def _costs(result: StudyResult) -> Table | None:
    rows = tuple(
        (
            row.name,
            _minutes(cost.training_s),
            _minutes(cost.detection_s),
            ", ".join(f"{stage.name} {stage.multiply_adds / 1e6:.1f}" for stage in cost.stages),
            f"{sum(stage.weights for stage in cost.stages):,}",
            "; ".join(cost.machines),
        )
        for row in result.study.rows
        if (cost := result.costs.get(row.name)) is not None
    )
    return Table(
        title="What it took",
        about="Wall time of one training (with what its run trains for other rows) and of its test cases, mean over "
        "folds and seeds; other work may have run beside, and of a training that was interrupted the parts count that "
        "were done in one go. Multiply-adds are of one patch as it is.",
        columns=("row", "training, min", "test cases, min", "million multiply-adds a patch", "weights", "machine"),
        rows=rows,
    )


def _minutes(seconds: float | None) -> str:
    return _UNKNOWN if seconds is None else f"{seconds / 60:.1f}"


def _rows(result: StudyResult) -> Table:
    study = result.study
    return Table(
        title="The rows",
        columns=("row", "recipe", "overrides", "detector", "what it is"),
        rows=tuple(
            (
                row.name,
                study.recipe_of(row).rsplit("/", maxsplit=1)[-1],
                "; ".join((*study.set, *row.set)),
                row.detector,
                row.about,
            )
            for row in study.rows
        ),
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
