"""Every training label of a run, ranked by how probably it is wrong: a table, a page to look at, points to correct.

Training cases only. Judges by what the training left behind (`dasc_run`); opens slides for their pictures alone.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mitosieve.audit.dasc_run import ORIGIN_LABEL, VERDICTS, DascRun
from mitosieve.audit.neighbours import NONE, Neighbours, nearest
from mitosieve.audit.pages import render_suspects
from mitosieve.audit.points import AuditedPlace, write_places
from mitosieve.audit.ranking import RankOverlap, cleanlab_verdict, mean_confidence, mean_loss, rank_overlap
from mitosieve.audit.suspects import SHOWN, Place, Suspect, SuspectsView, by_slide
from mitosieve.cohort.place import NO_ROW, in_digits
from mitosieve.errors import RunFolderError
from mitosieve.report.words import day_of
from mitosieve.run import layout
from mitosieve.run.folder import write_atomic, write_json

MOST_CELLS = 60
"""Cells of each direction on the page: at some 50 kB each, with its rival, it stays below 7 MB."""

MOST_BACKGROUND = 100
"""Places without a mark to correct, over all slides: as many as an expert looks at in one sitting."""

LATE = 1 / 3
"""Share of the epochs, the last, that tell what the training ended with."""

TOP_SHARE = 0.05
"""Share of the labels, the first of each ranking, among which shared ones are counted."""

LOOKS_LIKE_IMPOSTER = "figure looks like an imposter"
LOOKS_LIKE_FIGURE = "imposter or background looks like a figure"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What is said of every label: aligned columns in the order of the run's patch index.

    Attributes:
        run: the labels.
        place_l0: (N, 2) float64, x then y in level-0 px: of the mark; of background the patch's centre.
        score: (N,) float64, share of experts who called it a figure; NaN where unknown.
        direction: (N,) str, LOOKS_LIKE_IMPOSTER, LOOKS_LIKE_FIGURE, or empty where nothing speaks against the label.
        rank: (N,) int64, 1 is the most suspicious; ties by slide, y, x.
        loss: (N,) float64, mean -log p(y) over the training, nats; NaN where never visited.
        loss_rank: (N,) int64, 1 is the highest loss; ties as of `rank`, never visited ones last.
        late: (N,) float64, mean p(y) over the last third of the epochs; NaN where not visited in them.
        confidence: (N,) float64, mean p(y) over all epochs; NaN where never visited.
        neighbours: in the embedding, by label figure or not.
        is_issue: (N,) bool, what cleanlab finds wrong.
        quality: (N,) float64, cleanlab's label quality, 0 bad to 1 good.
    """

    run: DascRun
    place_l0: NDArray[np.float64]
    score: NDArray[np.float64]
    direction: NDArray[np.str_]
    rank: NDArray[np.int64]
    loss: NDArray[np.float64]
    loss_rank: NDArray[np.int64]
    late: NDArray[np.float64]
    confidence: NDArray[np.float64]
    neighbours: Neighbours
    is_issue: NDArray[np.bool_]
    quality: NDArray[np.float64]

    @classmethod
    def of(cls, run: DascRun) -> "Audit":
        """Rank the labels of a run.

        A label has a direction where the verdict is noise, or where the training's late confidence in it or the
        out-of-fold probability of it is below one half (our reading: the paper gives no rule for a reader).
        """
        marked = run.mark != NO_ROW
        place, score = run.center_l0.copy(), np.full(len(run), np.nan)
        place[marked] = run.cohort.annotations.center_l0[run.mark[marked]]
        score[marked] = run.cohort.annotations.score[run.mark[marked]]
        late = mean_confidence(run.history, last=LATE)
        agrees = np.where(run.is_figure, run.out_of_fold, 1 - run.out_of_fold)
        against = (run.verdict == "noise") | (late < 0.5) | (agrees < 0.5)  # a NaN is not below
        loss = mean_loss(run.history)
        ties = (place[:, 0], place[:, 1], run.slide_id)
        is_issue, quality = cleanlab_verdict(run.label, run.out_of_fold)
        return cls(
            run=run,
            place_l0=place,
            score=score,
            direction=np.where(against, np.where(run.is_figure, LOOKS_LIKE_IMPOSTER, LOOKS_LIKE_FIGURE), ""),
            rank=_ranked(run.suspicion, ties),
            loss=loss,
            loss_rank=_ranked(np.nan_to_num(loss, nan=-1.0), ties),
            late=late,
            confidence=mean_confidence(run.history),
            neighbours=nearest(run.embedding, run.label),
            is_issue=is_issue,
            quality=quality,
        )

    @property
    def order(self) -> NDArray[np.intp]:
        """(N,) rows from the most suspicious to the least."""
        return np.argsort(self.rank)

    def towards(self, direction: str) -> NDArray[np.intp]:
        """Rows of one direction, the most suspicious first."""
        return self.order[self.direction[self.order] == direction]

    def place(self, row: int) -> Place:
        """Where a label is."""
        return str(self.run.slide_id[row]), float(self.place_l0[row, 0]), float(self.place_l0[row, 1])

    def label(self, row: int) -> str:
        """What a cell was called."""
        return ORIGIN_LABEL[str(self.run.origin[row])]

    def agreements(self) -> tuple[tuple[str, str, RankOverlap], ...]:
        """How much the three rankings agree, each with each."""
        top = max(1, round(TOP_SHARE * len(self.run)))
        rankings = {"suspicion": self.run.suspicion, "loss": self.loss, "cleanlab": 1 - self.quality}
        names = list(rankings)
        pairs = [(first, second) for i, first in enumerate(names) for second in names[i + 1 :]]
        return tuple((a, b, rank_overlap(rankings[a], rankings[b], top=top)) for a, b in pairs)

    def counts(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Label, and its number by verdict in the order of VERDICTS."""
        return tuple(
            (label, tuple(int(((self.run.origin == origin) & (self.run.verdict == v)).sum()) for v in VERDICTS))
            for origin, label in ORIGIN_LABEL.items()
        )


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """What an audit wrote.

    Attributes:
        audit: all that was found.
        out: the folder.
        failed: a sentence for each slide that could not be read; its cells have no picture.
    """

    audit: Audit
    out: Path
    failed: tuple[str, ...]


def audit(folder: Path, out: Path, *, top: int = MOST_CELLS, background: int = MOST_BACKGROUND) -> AuditReport:
    """Audit the training labels of a run into a new folder; equal inputs give equal bytes.

    Writes audit.csv with every label, index.html with the most suspicious ones, and qupath/SLIDE_ID.geojson for every
    slide with all its marks and the most suspicious places without a mark, for `import corrections`; audit.json says
    where the slides are, and suspects.json what the page shows, so that a viewer can show it too.

    Args:
        folder: a run folder of recipe `dasc`.
        out: new or empty.
        top: cells of each direction on the page.
        background: places without a mark in the files for QuPath, over all slides.

    Raises:
        RunFolderError: no run to audit, or `out` holds something.
        FormatError: a file of the run is broken.
        FrameError: files of the run are of different patch indexes, or of cases that it does not train on.
        CohortError: the cohort is gone, or in another state than it was trained on.
        StorageError: `out` cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunFolderError("holds something already", where=out, remedy="choose an empty or new folder for --out")
    found = Audit.of(DascRun.load(folder))
    view = _view(found, top)
    page, failed = render_suspects(view, found.run.cohort)
    points = _points(found, background)
    write_atomic(out / layout.AUDIT, _to_csv(found))
    for slide_id, places in points.items():
        write_places(out / layout.AUDIT_POINTS / layout.file_of(slide_id, ".geojson"), places)
    write_json(out / layout.AUDIT_FACTS, _facts(found))
    write_json(out / layout.AUDIT_SHOWN, SHOWN.dump_python(view, mode="json"))
    write_atomic(out / layout.AUDIT_PAGE, page)
    return AuditReport(audit=found, out=out, failed=failed)


def _facts(found: Audit) -> dict[str, object]:
    """What a viewer needs: where the slides are, their um per px, and their size, by which another image is told."""
    cohort = found.run.cohort
    names = np.unique(found.run.slide_id).tolist()
    slides: dict[str, dict[str, object]] = {}
    for name in names:
        entry = cohort.entry(name)
        oblong = {} if entry.oblong is None else {"mpp_xy": list(entry.oblong)}
        size = {"size_l0": [entry.width_l0, entry.height_l0]} if entry.width_l0 and entry.height_l0 else {}
        slides[name] = {"path": str(cohort.place_of(entry)), "mpp": entry.mpp, **oblong, **size}
    return {"cohort": str(cohort.folder.resolve()), "slides": slides}


def _ranked(value: NDArray[np.float64], ties: tuple[NDArray[np.generic], ...]) -> NDArray[np.int64]:
    """Ranks from 1, the highest value first; ties by the last key of `ties` first, as lexsort takes them."""
    rank = np.empty(len(value), dtype=np.int64)
    rank[np.lexsort((*ties, -value))] = np.arange(1, len(value) + 1)
    return rank


def _to_csv(found: Audit) -> str:
    """One row a label, the most suspicious first; empty where something is not known."""
    run, near, order = found.run, found.neighbours, found.order
    columns: dict[str, Sequence[object]] = {
        "rank": found.rank.tolist(),
        "slide_id": run.slide_id.tolist(),
        "case_id": [run.cohort.entry(slide_id).case_id for slide_id in run.slide_id.tolist()],
        "x": [in_digits(x) for x in found.place_l0[:, 0].tolist()],
        "y": [in_digits(y) for y in found.place_l0[:, 1].tolist()],
        "label": [found.label(row) for row in range(len(run))],
        "score": _digits(found.score),
        "direction": found.direction.tolist(),
        "verdict": run.verdict.tolist(),
        "level": run.level.tolist(),
        "learnable": _yes(run.learnable),
        "kept": _yes(run.kept),
        "suspicion": _digits(run.suspicion),
        "forget_rate": _digits(run.forget_rate),
        "centroid_rate": _digits(run.centroid_rate),
        "confidence_late": _digits(found.late),
        "confidence": _digits(found.confidence),
        "out_of_fold": _digits(run.out_of_fold),
        **_neighbour("same", found, near.same, near.same_similarity),
        **_neighbour("other", found, near.other, near.other_similarity),
        "cleanlab_issue": _yes(found.is_issue),
        "cleanlab_quality": _digits(found.quality),
        "loss": _digits(found.loss),
        "loss_rank": found.loss_rank.tolist(),
        "mark": ["" if row == NO_ROW else str(row) for row in run.mark.tolist()],
        "patch_id": run.patch_id.tolist(),
    }
    text = io.StringIO()
    pd.DataFrame(columns).iloc[order].to_csv(text, index=False, lineterminator="\n")
    return text.getvalue()


def _neighbour(
    name: str, found: Audit, rows: NDArray[np.intp], similarity: NDArray[np.float64]
) -> dict[str, Sequence[object]]:
    places = [("", "", "") if row == NONE else found.place(row) for row in rows.tolist()]
    return {
        f"{name}_slide_id": [place[0] for place in places],
        f"{name}_x": [in_digits(x) if isinstance(x, float) else x for _, x, _ in places],
        f"{name}_y": [in_digits(y) if isinstance(y, float) else y for _, _, y in places],
        f"{name}_similarity": _digits(similarity),
    }


def _digits(values: NDArray[np.float64]) -> list[str]:
    return ["" if np.isnan(value) else f"{value:.6f}" for value in values.tolist()]


def _yes(values: NDArray[np.bool_]) -> list[str]:
    return ["yes" if value else "no" for value in values.tolist()]


def _view(found: Audit, top: int) -> SuspectsView:
    run = found.run
    slides = np.unique(run.slide_id).tolist()
    sections = [(title, found.towards(title)) for title in (LOOKS_LIKE_IMPOSTER, LOOKS_LIKE_FIGURE)]
    shown = [_suspect(found, row) for _, rows in sections for row in rows[:top].tolist()]
    return SuspectsView(
        name=run.folder.resolve().name,
        fold=run.fold,
        cohort=run.cohort.folder.name,
        cases=len({run.cohort.entry(slide_id).case_id for slide_id in slides}),
        slides=len(slides),
        counts=found.counts(),
        verdicts=VERDICTS,
        agreement=tuple((a, b, both.spearman, both.shared, both.top) for a, b, both in found.agreements()),
        totals=tuple((title, len(rows), min(top, len(rows))) for title, rows in sections),
        slides_shown=by_slide(shown),
        day=day_of(run.folder / layout.VERDICTS, run.folder / layout.RUN),
    )


def _suspect(found: Audit, row: int) -> Suspect:
    run, rival = found.run, int(found.neighbours.other[row])
    score = float(found.score[row])
    return Suspect(
        rank=int(found.rank[row]),
        point=_point(found, row),
        score=_known(score),
        verdict=str(run.verdict[row]),
        level=int(run.level[row]),
        suspicion=float(run.suspicion[row]),
        out_of_fold=float(run.out_of_fold[row]),
        history=[_known(value) for value in run.history[:, row].tolist()],
        rival=None if rival == NONE else found.place(rival),
        rival_label="" if rival == NONE else found.label(rival),
        similarity=_known(float(found.neighbours.other_similarity[row])),
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _points(found: Audit, background: int) -> dict[str, list[AuditedPlace]]:
    """By slide, the most suspicious first: all marks, and over all slides so many places that look like figures."""
    marked = found.run.mark != NO_ROW
    unmarked = found.towards(LOOKS_LIKE_FIGURE)
    unmarked = unmarked[~marked[unmarked]][:background]
    wanted = marked.copy()
    wanted[unmarked] = True
    points: dict[str, list[AuditedPlace]] = {}
    for row in found.order[wanted[found.order]].tolist():
        points.setdefault(str(found.run.slide_id[row]), []).append(_point(found, row))
    return dict(sorted(points.items()))


def _point(found: Audit, row: int) -> AuditedPlace:
    run, (slide_id, x, y) = found.run, found.place(row)
    rank, verdict = int(found.rank[row]), str(run.verdict[row])
    measured = {
        "rank": float(rank),
        "suspicion": float(run.suspicion[row]),
        "out of fold": float(run.out_of_fold[row]),
        "late confidence": float(found.late[row]),
        "forget rate": float(run.forget_rate[row]),
        "expert score": float(found.score[row]),
    }
    return AuditedPlace(
        slide_id=slide_id,
        center_l0=(x, y),
        row=int(run.mark[row]),
        label=found.label(row),
        name=f"#{rank} {verdict}",
        facts={"rank": str(rank), "verdict": verdict, "suspicion": f"{run.suspicion[row]:.4f}"},
        measurements={name: round(value, 6) for name, value in measured.items() if np.isfinite(value)},
    )
