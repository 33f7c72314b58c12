"""Scores as tables for other programs: CSV with all digits, LaTeX with three. Knows what metrics.json holds."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mitosieve.run.folder import write_atomic

MEASURES = ("f1", "precision", "recall")
COUNTS = ("tp", "fp", "fn")


def write_tables_of(metrics: Path, content: dict[str, Any]) -> None:
    """Write NAME.csv and NAME.tex beside NAME.json of `Evaluation.to_json`: a row for all, then one a domain, each with
    what must be known of it.

    Raises:
        StorageError: a file cannot be written.
    """
    parts = [("pooled", content["pooled"]), *((row["domain"], row) for row in content["per_domain"])]
    columns = ["part", "cases", "slides", *COUNTS]
    for measure in MEASURES:
        columns += [measure, f"{measure}_low", f"{measure}_high"]
    columns += ["interval_unit", "note"]
    drawn = [content["bootstrap"]["unit"], *(row["interval_unit"] for row in content["per_domain"])]
    notes = ["; ".join(content["notes"]), *(row["interval_note"] for row in content["per_domain"])]
    rows = [
        [name, row["cases"], row["slides"], *(row[count] for count in COUNTS)]
        + [value for measure in MEASURES for value in (row[measure], *(row.get(f"{measure}_interval") or (None, None)))]
        + [unit, note]
        for (name, row), unit, note in zip(parts, drawn, notes, strict=True)
    ]
    _write(metrics.with_suffix(".csv"), columns, rows)
    shown = [
        [name, *(row[count] for count in COUNTS), *(in_digits(row[m], row.get(f"{m}_interval")) for m in MEASURES)]
        for name, row in parts
    ]
    note = f"{content['rule']}, {content['radius_um']:g} um; {content['bootstrap']['coverage']:.0%} intervals draw "
    note += ", ".join(
        f"{'nothing' if unit == 'none' else unit} ({name})" for (name, _), unit in zip(parts, drawn, strict=True)
    )
    told = [note, *content["notes"], *domain_notes(content)]
    write_atomic(metrics.with_suffix(".tex"), latex(["part", *COUNTS, *MEASURES], shown, *told))


def drawn_in_words(bootstrap: dict[str, Any]) -> str:
    """What intervals draw, and what a reader must know of them (`Resampled.to_json`)."""
    draws = "" if bootstrap["unit"] == "none" else f"{bootstrap['coverage']:.0%} intervals draw {bootstrap['unit']}"
    return "; ".join(part for part in (draws, bootstrap["note"]) if part)


def domain_notes(content: dict[str, Any]) -> list[str]:
    """What a reader of metrics.json must know of the intervals of domains, where it is not what holds for all."""
    of: dict[str, list[str]] = {}
    for row in content["per_domain"]:
        if row["interval_note"] not in ("", content["bootstrap"]["note"]):
            of.setdefault(row["interval_note"], []).append(row["domain"] or "(not named)")
    return [f"{', '.join(names)}: {note}" for note, names in of.items()]


def write_comparison_tables(out: Path, content: dict[str, Any]) -> None:
    """Write NAME.csv and NAME.tex beside NAME.json of `Comparison.to_json`: scores, then differences, and what must be
    known of them.

    Raises:
        StorageError: a file cannot be written.
    """
    columns = ("detector", "minus", "figure", "value", "low", "high", "interval_unit", "note")
    drawn = content["bootstrap"]
    told = [drawn["unit"], "; ".join(note for note in (drawn["note"], *content["notes"]) if note)]
    rows = [
        [row["name"], "", measure, row[measure], *row[f"{measure}_interval"], *told]
        for row in content["methods"]
        for measure in MEASURES
    ]
    rows += [
        [row["second"], row["first"], row["figure"], row["difference"], *row["interval"], *told]
        for row in content["differences"]
    ]
    _write(out.with_suffix(".csv"), columns, rows)
    shown = [
        [row["name"], *(row[count] for count in COUNTS)]
        + [in_digits(row[measure], row[f"{measure}_interval"]) for measure in MEASURES]
        for row in content["methods"]
    ]
    notes = [drawn_in_words(drawn), *content["notes"]]
    notes.append("the differences with their paired intervals stand in the CSV file")
    write_atomic(out.with_suffix(".tex"), latex(["detector", *COUNTS, *MEASURES], shown, *notes))


def in_digits(
    value: float | None,
    interval: Sequence[float | None] | None = None,
    wilson: Sequence[float | None] | None = None,
) -> str:
    """A share to three digits, with its 95 % interval where there is one, and Wilson's where that is given."""
    if value is None:
        return "-"
    beside = "" if wilson is None or None in wilson else f", Wilson [{wilson[0]:.3f}, {wilson[1]:.3f}]"
    if interval is None or None in interval:
        return f"{value:.3f}{beside}"
    if interval[0] == interval[1]:
        return f"{value:.3f} [all resamples equal]{beside}"
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]{beside}"


def latex(columns: Sequence[str], rows: Sequence[Sequence[Any]], *notes: str) -> str:
    """A tabular of booktabs, whose first column is text, after its notes, a comment each; signs that LaTeX would read
    otherwise are escaped.
    """
    lines = [
        *(f"% {' '.join(note.splitlines())}" for note in notes),
        f"\\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        "\\toprule",
        " & ".join(map(_escaped, columns)) + " \\\\",
        "\\midrule",
        *(" & ".join(_escaped(str(cell)) for cell in row) + " \\\\" for row in rows),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


_SIGNS = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def _escaped(text: str) -> str:
    return "".join(_SIGNS.get(sign, sign) for sign in text)


def _write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([["" if cell is None else cell for cell in row] for row in rows])
    write_atomic(path, text.getvalue())
