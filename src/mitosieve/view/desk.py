"""Where one reader sits: what is looked at, the cells as soon as they are read, and the reader's decisions.

Knows nothing of HTTP. Numbers of slides and rows that a page sends are checked here.
"""

import hashlib
import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.detection import Detections
from mitosieve.errors import InputError, MitosieveError
from mitosieve.review.decision import Decision
from mitosieve.review.log import DecisionLog, readers_of, standing
from mitosieve.view.adding import check_added
from mitosieve.view.placed import RowsByPlace, in_thousandths
from mitosieve.view.shelf import Shelf
from mitosieve.view.viewed import CALLS, Call, Cells, Kind, Viewed

MOST_AT_ONCE = 200
"""Decisions that a page may send together: more than a screen shows."""


class Desk:
    """What the server answers from.

    Args:
        viewed: what is looked at.
        read_cells: reads its cells; is called once, in a thread of its own.
        reader: who decides.
        read_only: whether decisions are refused.

    Attributes:
        edition: stands in addresses of pictures, so that none that a browser has kept is shown of another slide.
    """

    def __init__(
        self, viewed: Viewed, read_cells: Callable[[], Cells], *, reader: str, read_only: bool = False
    ) -> None:
        self.reader = reader
        self._asked_read_only = read_only
        self._deciding = threading.Lock()
        self.show(viewed, read_cells)

    def show(self, viewed: Viewed, read_cells: Callable[[], Cells]) -> None:
        """Look at something else from now on: a slide on which somebody has detected meanwhile."""
        self.viewed = viewed
        self.edition = secrets.token_hex(8)
        self.read_only = self._asked_read_only or viewed.folder is None
        self.shelf = Shelf(viewed.slides)
        self.log = None if viewed.folder is None else DecisionLog.beside(viewed.folder)
        self._numbers = {slide.slide_id: number for number, slide in enumerate(viewed.slides)}
        self._cells: Cells | None = None
        self._places: RowsByPlace | None = None
        self._fault: MitosieveError | None = None
        self._ready = threading.Event()
        threading.Thread(target=self._read, args=(read_cells,), daemon=True).start()

    def _read(self, read_cells: Callable[[], Cells]) -> None:
        try:
            self._cells = read_cells()
            self._places = RowsByPlace(self._cells)
        except MitosieveError as error:
            self._fault = error
        except Exception as error:  # noqa: BLE001 - else every answer would wait for ever
            self._fault = InputError(f"cannot be read ({type(error).__name__}: {error})")
        finally:
            self._ready.set()

    @property
    def identity(self) -> str:
        """Tells what is looked at, its cells too, and ends with who decides; the same when opened again. No path."""
        viewed = self.viewed
        folder = "" if viewed.folder is None else str(viewed.folder.resolve())
        made_of = (folder, viewed.detector_hash, str(viewed.threshold), viewed.cells_hash)
        return f"{_hashed(*made_of, *(slide.slide_id for slide in viewed.slides))}-{self.reader}"

    def differs(self, identity: object) -> str:
        """Why a page that was opened for this identity is not of this desk, and what helps; empty where it is.

        Its rows would be numbers of other cells here, or its decisions would be another reader's.
        """
        if identity == self.identity:
            return ""
        looked_at, _, reader = str(identity).partition("-")
        if looked_at == self.identity.partition("-")[0]:
            return (
                f"another reader decides at this address now, {self.reader}: load the page again to go on as that one; "
                f"what is not saved here can be saved once the viewer runs as {reader} again"
            )
        return "another result is shown at this address now: load the page again"

    @property
    def has_cells(self) -> bool:
        """Whether the cells are read, or failed to be."""
        return self._ready.is_set()

    @property
    def cells(self) -> Cells:
        """The cells; waits until they are read.

        Raises:
            MitosieveError: they cannot be read.
        """
        self._ready.wait()
        if self._fault is not None:
            raise self._fault
        assert self._cells is not None
        return self._cells

    def slide_number(self, value: object) -> int:
        """A slide's number as a page sends it.

        Raises:
            InputError: there is no such slide.
        """
        if not _is_whole(value) or not 0 <= int(str(value)) < len(self.viewed.slides):
            raise InputError("there is no such slide")
        return int(str(value))

    def row(self, slide: int, value: object) -> int:
        """The row of a cell that a page names by its place among those of its slide.

        Raises:
            InputError: there is no such cell.
        """
        rows = self.cells.rows_of(slide)
        if not _is_whole(value) or not 0 <= int(str(value)) < rows.stop - rows.start:
            raise InputError("there is no such cell")
        return rows.start + int(str(value))

    @property
    def has_counts(self) -> bool:
        """Whether it is a result of detect, of which counts are made."""
        return self.viewed.kind is Kind.RESULT

    @property
    def result_folder(self) -> Path:
        """The folder of a result of detect.

        Raises:
            InputError: it is something else.
        """
        if self.viewed.folder is None or not self.has_counts:
            raise InputError("only a result of detect has counts and a report, and an audit a report")
        return self.viewed.folder

    @property
    def audit_folder(self) -> Path | None:
        """The folder of an audit; None where it is something else."""
        return self.viewed.folder if self.viewed.kind is Kind.AUDIT else None

    def called_figures(self, slide: int) -> NDArray[np.bool_]:
        """Which cells of a slide, by their place there, were called figures before anybody looked."""
        return self.cells.call[self.cells.rows_of(slide)] == CALLS.index(Call.FIGURE)

    def detections(self, slide: int, threshold: float | None = None) -> Detections:
        """The detections of a slide; by default at the threshold of the result."""
        cells, rows = self.cells, self.cells.rows_of(slide)
        score = np.nan_to_num(cells.score[rows], nan=0.0)
        return Detections(
            slide_id=np.full(rows.stop - rows.start, self.viewed.slides[slide].slide_id),
            center_l0=cells.center_l0[rows],
            score=score,
            is_figure=self.called_figures(slide) if threshold is None else score >= threshold,
            stage_names=cells.stage_names,
            stage_score=cells.stage_score[rows],
        )

    # decisions

    def decisions(self) -> list[Decision]:
        """All of all readers.

        Raises:
            FormatError: the file is broken.
        """
        return [] if self.log is None else self.log.read()

    @property
    def counting(self) -> frozenset[str]:
        """Slides of which decisions count: those that are here, of a result those that were done. `reviews` and `import
        reviews` leave out the same: what nobody judged of another is not known any more.
        """
        slides = self.viewed.slides
        return frozenset(slide.slide_id for slide in slides if not (self.has_counts and slide.fault))

    def own_since(self, offset: int) -> tuple[list[dict[str, Any]], int]:
        """This reader's decisions after an offset, as a page takes them, and the next offset."""
        if self.log is None:
            return [], 0
        found, after = self.log.since(offset)
        return [self.shown(decision) for decision in found if decision.reader == self.reader], after

    def standing(self, reader: str | None = None) -> dict[str, Decision]:
        """What stands of a reader, by default of this one, by the id of the cell."""
        return standing(self.decisions(), self.reader if reader is None else reader)

    def number_of(self, slide_id: str) -> int | None:
        """The number of a slide by its name; None where it is none of these."""
        return self._numbers.get(slide_id)

    def row_at(self, slide: int, x: float, y: float, cell_id: str) -> int | None:
        """The place among its slide's of the cell at a place that has this id; None where there is none."""
        cells = self.cells
        assert self._places is not None
        row = self._places.find(slide, x, y, cell_id)
        return None if row is None else row - cells.rows_of(slide).start

    def is_background(self, slide: int, x: float, y: float, cell_id: str) -> bool:
        """Whether the cell at a place that has this id is one that an audit shows and that has no mark."""
        row = self.row_at(slide, x, y, cell_id)
        start = self.cells.rows_of(slide).start
        return row is not None and self.cells.call[start + row] == CALLS.index(Call.BACKGROUND)

    def near(self, slide_id: str, place: tuple[float, float], um: float) -> list[tuple[str, float, float, float, bool]]:
        """Id, x, y and score of the detections of a slide within `um` of a place, level-0 px, along x and along y, and
        whether each was called a figure; none of what somebody marked.
        """
        slide = self._numbers.get(slide_id)
        if slide is None or not self.has_counts:
            return []
        cells = self.cells
        assert self._places is not None
        mpp = self.mpp_of[slide_id]
        rows = self._places.near(slide, place, (um / mpp[0], um / mpp[1]))
        called = cells.call[rows] == CALLS.index(Call.FIGURE)
        columns = (cells.center_l0[rows, 0], cells.center_l0[rows, 1], cells.score[rows], called)
        return list(zip(cells.names(rows), *(column.tolist() for column in columns), strict=True))

    @property
    def mpp_of(self) -> dict[str, tuple[float, float]]:
        """Um per level-0 px of each slide by its name; of one that says it nowhere, 0.25."""
        known = ((slide.slide_id, slide.mpp_xy, slide.mpp or 0.25) for slide in self.viewed.slides)
        return {name: mpp_xy or (mpp, mpp) for name, mpp_xy, mpp in known}

    def verdict_of_row(self) -> dict[int, str]:
        """What this reader calls each cell that stands in the table, by its row among all."""
        found: dict[int, str] = {}
        for decision in self.standing().values():
            number = self._numbers.get(decision.slide_id)
            row = self._row_of(decision, number)
            if number is not None and row is not None and decision.verdict is not None:
                found[self.cells.rows_of(number).start + row] = decision.verdict
        return found

    def readers(self) -> tuple[str, ...]:
        """Who has decided so far, on slides that count."""
        counting = self.counting
        return readers_of(decision for decision in self.decisions() if decision.slide_id in counting)

    def decide(self, asked: Sequence[object]) -> list[dict[str, Any]]:
        """Write what a page sends, in its order, each on the disk before the next.

        Raises:
            InputError: decisions are not taken here, or one of them is none; those before it were written.
            StorageError: the file cannot be written.
        """
        if self.read_only or self.log is None:
            raise InputError("decisions are not taken here: it was opened to be looked at only")
        if not 0 < len(asked) <= MOST_AT_ONCE:
            raise InputError(f"send 1 to {MOST_AT_ONCE} decisions")
        with self._deciding:  # two tabs at once: the second sees what the first added
            made = list[Decision]()
            for item in asked:  # all are checked before one is written
                made.append(self._decision(item, made))
            return [self.shown(self.log.append(decision)) for decision in made]

    def shown(self, decision: Decision) -> dict[str, Any]:
        """A decision as a page takes it: with the numbers of its slide, and of its cell among those of the slide."""
        number = self._numbers.get(decision.slide_id)
        row = self._row_of(decision, number)
        return {
            "id": decision.id,
            "kind": decision.kind,
            "slide": number,
            "row": row,
            "key": decision.key,
            "x": decision.x_px,
            "y": decision.y_px,
            "verdict": decision.verdict,
            "undoes": decision.undoes,
            "area": decision.area,
            "at": decision.at,
            "how": decision.how,
            "score": decision.score,
            "uncounted": self.uncounted(decision.slide_id, decision.x_px, decision.y_px),
        }

    def uncounted(self, slide_id: str, x: float | None, y: float | None) -> str:
        """Why no count holds what was decided about a place of a result's slide, level-0 px; empty where one does."""
        number = self.number_of(slide_id)
        if not self.has_counts or number is None or x is None or y is None:
            return ""
        slide = self.viewed.slides[number]
        if slide.fault:  # as `counting` has it, without looking at every slide for every decision
            return "this slide was not done"
        return "" if slide.is_searched(x, y) else "it lies outside the area that was searched"

    def _row_of(self, decision: Decision, number: int | None) -> int | None:
        if number is None or decision.detection_id is None or decision.x_px is None or decision.y_px is None:
            return None
        return self.row_at(number, decision.x_px, decision.y_px, decision.detection_id)

    def _decision(self, item: object, before: Sequence[Decision]) -> Decision:
        """From what a page sends, behind what it sends with it: only what the page may say is taken from it."""
        if not isinstance(item, dict):
            raise InputError("a decision is a JSON object")
        asked: dict[str, Any] = item
        kind = asked.get("kind")
        common = {"kind": kind, "reader": self.reader, "how": self._how(asked.get("how"))}
        if kind == "undo":
            return Decision.now(**common, slide_id=self._undone(asked).slide_id, undoes=asked.get("id"))
        slide = self.slide_number(asked.get("slide"))
        common |= {"slide_id": self.viewed.slides[slide].slide_id, "detector": self.viewed.detector_hash}
        if kind == "looked":
            return Decision.now(**common, area=self._area(asked.get("area")))
        if kind == "added":
            made = Decision.now(**common, x_px=asked.get("x"), y_px=asked.get("y"), verdict=asked.get("verdict"))
            size_l0 = self.viewed.slides[slide].size_l0 or self.shelf.pictures(slide).slide.size_l0
            check_added(made, size_l0, [*self.decisions(), *before], self.mpp_of[made.slide_id])
            return made
        if kind == "verdict" and asked.get("row") is None:
            return self._about_added(asked, common)
        if kind == "verdict":
            return self._about_cell(asked, common, slide)
        raise InputError("a decision is a verdict, added, undo or looked")

    def _how(self, value: object) -> str:
        """By which page; of an audit or a cohort whatever page it was."""
        fixed = {Kind.AUDIT: "audit", Kind.COHORT: "cohort"}.get(self.viewed.kind)
        return fixed or (value if value in ("gallery", "hotspot", "slide") else "slide")  # type: ignore[return-value]

    def _undone(self, asked: dict[str, Any]) -> Decision:
        for decision in reversed(self.decisions()):
            if decision.id == asked.get("id") and decision.reader == self.reader:
                return decision
        raise InputError("there is no such decision of this reader")

    @staticmethod
    def _area(value: object) -> object:
        """Corners as the record wants them; None where single cells were looked at."""
        return value if value is None or isinstance(value, list) else ()

    def _about_added(self, asked: dict[str, Any], common: dict[str, Any]) -> Decision:
        """Another verdict on a cell that this reader added."""
        for decision in self.decisions():
            if decision.kind == "added" and decision.id == asked.get("key") and decision.reader == self.reader:
                place = {"x_px": decision.x_px, "y_px": decision.y_px}
                named = {**common, "slide_id": decision.slide_id}
                return Decision.now(**named, **place, detection_id=decision.id, verdict=asked.get("verdict"))
        raise InputError("there is no such cell")

    def _about_cell(self, asked: dict[str, Any], common: dict[str, Any], slide: int) -> Decision:
        cells, row = self.cells, self.row(slide, asked.get("row"))
        score = float(cells.score[row])
        x, y = in_thousandths(cells.center_l0[row]).tolist()
        return Decision.now(
            **common,
            detection_id=cells.names(np.array([row]))[0],
            x_px=x,
            y_px=y,
            verdict=asked.get("verdict"),
            score=None if np.isnan(score) else score,
        )


def _hashed(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]


def _is_whole(value: object) -> bool:
    text = str(value)
    return not isinstance(value, bool | float) and text.isascii() and text.isdecimal() and len(text) < 10
