"""What a person sees in a terminal: tables, bars, the path of the result. Silent bars where nobody watches."""

import contextlib
import shlex
import time
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from mitosieve.errors import plural
from mitosieve.run.log import EVERY_S
from mitosieve.run.progress import FOLDS, NOTE, SLIDES, STAGE, Fact
from mitosieve.run.progress import Progress as Show
from mitosieve.run.words import Words
from mitosieve.score.printed import MEASURES, domain_notes, in_digits

if TYPE_CHECKING:
    from mitosieve.count.trust import Trust

out_console = Console(highlight=False, soft_wrap=True)
err_console = Console(stderr=True, highlight=False, soft_wrap=True)


VERBOSE_S = 5.0
"""With --verbose a line comes so often."""


@dataclass
class Voice:
    """How much is said: --quiet leaves the result's path, warnings and errors; --verbose says every step."""

    quiet: bool = False
    verbose: bool = False


voice = Voice()
"""Of this process; set by the options of a command."""


def be_quiet(asked: bool) -> None:
    """For --quiet."""
    voice.quiet = asked


def be_verbose(asked: bool) -> None:
    """For --verbose."""
    voice.verbose = asked


def split_command(cohort: Path) -> str:
    """What comes after a cohort was made."""
    return f"mitosieve split {shlex.quote(str(cohort))} --folds 5 --out split.json"


def train_command(cohort: Path, split: Path, fold: str, *, validates: bool) -> str:
    """What comes after a split was made: a recipe that takes it; most choose their thresholds on validation cases."""
    recipe = "swift" if validates else "chsnet-paper"
    place, file, name = (shlex.quote(str(one)) for one in (cohort, split, fold))
    return f"mitosieve train {recipe} {place} --split {file} --fold {name} --out run"


def tell_next(text: str) -> None:
    """The last line for a person: what to do next; on the error stream, so that scripts read the path alone."""
    if not voice.quiet:
        warn(f"next: {text}")


def say(path: Path | str) -> None:
    """Print where the result is, or what it is where it is one sentence, alone on a line, for people and scripts."""
    out_console.print(str(path), markup=False)


def warn(text: str) -> None:
    """Print a line to the error stream."""
    err_console.print(text, markup=False)


def print_table(rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> None:
    """A table in a terminal; tab-separated lines elsewhere; nothing where it is to be quiet."""
    if voice.quiet:
        return
    if not out_console.is_terminal:
        for row in (columns, *rows):
            out_console.file.write("\t".join(str(cell) for cell in row) + "\n")  # print would expand the tabs
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    out_console.print(table)


def print_lines(rows: Sequence[tuple[str, str]]) -> None:
    """A name and a sentence a line."""
    width = max((len(name) for name, _ in rows), default=0)
    for name, sentence in rows:
        out_console.print(f"{name:<{width}}  {sentence}", markup=False)


def print_rounds(content: dict[str, Any]) -> None:
    """What each screening network kept of its training patches (mining.json), as the paper's table 2 is laid out."""
    columns = ("FP", "TP", "FN", "recall_positive", "recall_negative", "precision", "F1")
    rows = [
        [row["network"], *(f"{row[c]:.4f}" if isinstance(row[c], float) else row[c] for c in columns)]
        for row in content["rounds"]
    ]
    print_table(rows, ("kept above the mining threshold", *columns))


def print_budget(content: dict[str, Any]) -> None:
    """What the second stage can afford, what passes without, and the recall that it costs (budget.json)."""
    columns = ("places_per_mm2", "per_mm2", "threshold", "gate", "figures", "recall", "recall_within", "lost")
    print_table([[f"{content[name]:.4g}" for name in columns]], columns)


def print_balance(content: dict[str, Any]) -> None:
    """What a negative search kept of each kind, and how the screening network scores it (negatives.json)."""
    kinds = [kind for kind in ("figure", "imposter", "background") if kind in content]
    rows = [
        [kind, content[kind]["kept"], content[kind]["of"], *content[kind].get("score_quantiles", ("", "", ""))]
        for kind in kinds
    ]
    print_table(rows, ("label", "kept", "of", "score, lowest tenth", "median", "highest tenth"))


def print_verdicts(content: dict[str, Any]) -> None:
    """Labels of each class by verdict and level (verdicts.json), and what is to be known of them."""
    classes = [name for name in ("figures", "others") if name in content]
    columns = tuple(content[classes[0]]) if classes else ()
    print_table([[name, *(content[name][column] for column in columns)] for name in classes], ("labels", *columns))
    for note in content.get("notes", ()):
        warn(f"note: {note}")


def print_regimes(content: dict[str, Any]) -> None:
    """The content of regimes.json: each regime's validation F1, the chosen one marked; notes to the error stream."""
    chosen = content["chosen"]["regime"]
    rows: list[list[object]] = []
    for number, part in enumerate(content["rounds"], start=1):
        last = number == len(content["rounds"])
        for score in part["regimes"]:
            mark = "chosen" if last and score["regime"] == chosen else f"round {number}"
            rows.append([mark, *_regime_row(score)])
    rows += [[control["name"], *_regime_row(control["score"])] for control in content["controls"]]
    columns = (
        "regime",
        "labelled",
        "unlabelled",
        "cap",
        "imposters",
        "patches",
        "used",
        "validation F1",
        "lowest, highest",
    )
    print_table(rows, columns)
    for note in content["notes"]:
        warn(f"note: {note}")


def _regime_row(score: dict[str, Any]) -> list[object]:
    regime = score["regime"]
    return [
        f"{regime['labelled']:.3g}",
        f"{regime['unlabelled']:.3g}",
        f"{regime['cap']:.3g}",
        f"x {regime['imposter_weight']}",
        score["patches"],
        f"{score['used_fraction']:.1%}",
        f"{score['mean']:.3f}",
        f"{score['low']:.3f}, {score['high']:.3f}",
    ]


def print_scores(metrics: dict[str, Any]) -> None:
    """The content of metrics.json as a table, pooled and by domain; its notes to the error stream."""
    rows = [("pooled", metrics["pooled"]), *((row["domain"], row) for row in metrics["per_domain"])]
    print_table(
        [(name, row["tp"], row["fp"], row["fn"], *(_measure(row, k) for k in MEASURES)) for name, row in rows],
        ("part", "found", "false", "missed", *MEASURES),
    )
    for note in (*metrics["notes"], *domain_notes(metrics)):
        warn(f"note: {note}")


def _measure(row: dict[str, Any], name: str) -> str:
    return in_digits(row[name], row.get(f"{name}_interval"), row.get(f"{name}_wilson"))


def _in_short(mm2: str) -> str:
    return f"{float(mm2):.4f}" if mm2 else mm2


def print_counts(rows: Sequence[dict[str, str]], *, with_roi: Collection[str] = ()) -> None:
    """The counts of slides as a table; only the first hundred, and what was seen without tissue to the error stream.

    Args:
        rows: of summary.csv.
        with_roi: slides that were looked at within a ROI alone: of their other tissue nothing is known.
    """
    columns = {
        "slide_id": "slide",
        "tissue_mm2": "tissue mm2",
        "figures": "figures",
        "figures_per_mm2": "per mm2",
        "hotspot_area_mm2": "hotspot mm2",
        "hotspot_figures": "in hotspot",
        "nottingham_mitotic_score": "mitotic score",
    }
    if out_console.is_terminal and not any(row["nottingham_mitotic_score"] for row in rows):
        del columns["nottingham_mitotic_score"]  # scripts read the same columns always
    shown = [row if row["hotspot_shape"] != "none" else {**row, "hotspot_area_mm2": ""} for row in rows[:100]]
    shown = [{**row, "tissue_mm2": _in_short(row["tissue_mm2"])} for row in shown]
    print_table([[row[name] for name in columns] for row in shown], tuple(columns.values()))
    if len(rows) > 100:
        warn(f"... and {plural(len(rows) - 100, 'more slide')}, see summary.csv")
    noted = [row for row in rows if row["hotspot_note"]]
    if noted:
        warn(f"note: no hotspot on {len(noted)} of {plural(len(rows), 'slide')}: there is no more tissue than its area")
    bare = [row for row in rows if row["tissue_mm2"] and float(row["tissue_mm2"]) == 0]
    for some, found, shown in ((False, "was found on", "on"), (True, "within the ROI of", "within the ROI of")):
        here = [row for row in bare if (row["slide_id"] in with_roi) == some]
        empty, odd = ([row["slide_id"] for row in here if (row["figures"] != "0") == any_] for any_ in (False, True))
        if empty:
            warn(f"note: no tissue {found} {plural(len(empty), 'slide')}, so no figure: {', '.join(empty[:5])}")
        if odd:
            warn(
                f"note: the overview shows no tissue {shown} {plural(len(odd), 'slide')} with figures, so there is no "
                f"density: {', '.join(odd[:5])}"
            )


def print_trust(trust: "Trust") -> None:
    """What is known of the detector, to the error stream: what it learnt from, its test F1, what speaks against it.

    Where it is to be quiet only the last.
    """
    if not voice.quiet:
        warn(trust.line)
    for told in trust.warnings:
        warn(f"warning: {told}")


def warn_of_strange(rows: Sequence[dict[str, str]], *, known: bool) -> None:
    """Slides coarser than the network or unlike the training's, the first hundred, to the error stream.

    Args:
        rows: of summary.csv.
        known: whether the detector says what its training's slides are like.
    """
    if not known:
        warn(
            "note: the detector does not say what its training's slides are like (it has no reference.json): "
            "nothing is known of how like them these are"
        )
    strange = [row for row in rows if row["warning"]]
    for row in strange[:100]:
        warn(f"warning: {row['slide_id']}: {row['warning']}")
    if len(strange) > 100:
        warn(f"... and {plural(len(strange) - 100, 'more slide')} with warnings, see summary.csv")


def tell_notes(rows: Sequence[dict[str, str]]) -> None:
    """What must be known of the slides' files, those of which the same is to be said together, to the error stream.

    Args:
        rows: of summary.csv.
    """
    by_note: dict[str, list[str]] = {}
    for row in rows:
        if row["note"]:
            by_note.setdefault(row["note"], []).append(row["slide_id"])
    for note, names in list(by_note.items())[:100]:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        warn(f"note: {', '.join(names[:3])}{more}: {note}")
    if len(by_note) > 100:
        warn(f"... and {plural(len(by_note) - 100, 'more note')}, see summary.csv")


class _Memory(ProgressColumn):
    """Memory of this process and those it started, looked up every other second."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = 0.0
        self._text = Text("")

    def render(self, task: Task) -> Text:
        del task
        now = time.monotonic()
        if now - self._seen > 2:
            self._seen, self._text = now, Text(f"{memory_bytes() / 1e9:.1f} GB")
        return self._text


def memory_bytes() -> int:
    """Memory of this process and those it started: shared pages are divided among them where the system can tell."""
    total = 0
    this = psutil.Process()
    for process in (this, *this.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            seen = process.memory_full_info()
            total += getattr(seen, "pss", seen.rss)
    return total


@contextmanager
def progress_bars() -> Generator[Show]:
    """A function to tell progress to: one bar for the whole job in a terminal, else lines; none where it is quiet."""
    if voice.quiet:
        yield _with_notes(_silent)
    elif err_console.is_terminal:
        with _one_bar() as tell:
            yield _with_notes(tell)
    else:
        yield _with_notes(_lines())


def _with_notes(show: Show) -> Show:
    """The same, that puts what a person must know on a line of its own, however quiet it is."""

    def tell(what: str, done: int, total: int, /, **facts: Fact) -> None:
        if what == NOTE:
            warn(f"warning: {facts.get('text')}")
        else:
            show(what, done, total, **facts)

    return tell


def _silent(what: str, done: int, total: int, /, **facts: Fact) -> None:
    """Nobody wants to know."""


def _lines() -> Show:
    """A line to the error stream every half minute; --verbose: every five seconds, and at each step of the work."""
    words, told_s = Words(), [time.monotonic()]

    def tell(what: str, done: int, total: int, /, **facts: Fact) -> None:
        words.take(what, done, total, **facts)
        now = time.monotonic()
        step = voice.verbose and what in (STAGE, SLIDES, FOLDS)
        if step or now - told_s[0] >= (VERBOSE_S if voice.verbose else EVERY_S):
            told_s[0] = now
            warn(str(words))

    return tell


@contextmanager
def _one_bar() -> Generator[Show]:
    """The job's bar, with where it is in words beside it; it goes when the job ends."""
    words = Words()
    columns = (BarColumn(), TimeElapsedColumn(), _Memory(), TextColumn("{task.description}"))
    with Progress(*columns, console=err_console, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def tell(what: str, done: int, total: int, /, **facts: Fact) -> None:
            words.take(what, done, total, **facts)
            completed, of = words.share
            bar.update(task, completed=completed, total=of, description=str(words))
            if voice.verbose and what in (STAGE, SLIDES, FOLDS):
                bar.console.print(str(words), markup=False)

        yield tell
