"""What all readers together say of each cell: their votes, and the majority. Knows no file."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mitosieve.annotation import Label
from mitosieve.geometry import Mpp, xy
from mitosieve.review.decision import Decision, Verdict
from mitosieve.review.log import readers_of, standing
from mitosieve.review.pairing import SAME_CELL_UM

Near = Callable[[str, tuple[float, float], float], Sequence[tuple[str, float, float, float, bool]]]
"""Gives id, x, y and score of a result's detections on a slide that lie within so many um of a place, or little
farther, and whether each was called a figure."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell that at least one reader judged.

    Attributes:
        key: id of the detection, or of the decision that added it first.
        slide_id: its slide.
        x_px, y_px: level-0 px.
        score: of the detection; None of an added cell.
        is_added: whether no detection is known to be there.
        is_passed_over: whether a reader who looked through its place and said nothing said no: all who judged it added
            it, on nothing that was called a figure.
        detector: hash of the detector whose result was looked at.
        votes: what each reader says of it now, in the order of the readers' first decisions.
        keys: what each reader's vote is about: the detection, or the cell that this reader added there; a later verdict
            about it takes the vote's place.
        at: when the last of them decided, ISO 8601, UTC.
    """

    key: str
    slide_id: str
    x_px: float
    y_px: float
    score: float | None
    is_added: bool
    detector: str
    is_passed_over: bool = False
    votes: dict[str, Verdict] = field(default_factory=dict[str, Verdict])
    keys: dict[str, str] = field(default_factory=dict[str, str])
    at: str = ""

    @property
    def figure_share(self) -> float | None:
        """Share of the readers who are sure that call it a figure; None where nobody is sure."""
        sure = [vote for vote in self.votes.values() if vote != "unsure"]
        return sure.count("figure") / len(sure) if sure else None

    @property
    def label(self) -> Label | None:
        """What most of the readers who are sure call it; None in a tie, or where nobody is sure."""
        share = self.figure_share
        if share is None or share == 0.5:
            return None
        return Label.MITOTIC_FIGURE if share > 0.5 else Label.IMPOSTER

    @property
    def is_rejected(self) -> bool:
        """Whether most of the readers who are sure call it no figure."""
        return self.label is Label.IMPOSTER

    def with_vote(self, decision: Decision, verdict: Verdict | None = None, at: str = "") -> "Cell":
        """The same with what a reader decided, or with the verdict that is meant where the reader added it twice, by a
        second decision `at`.
        """
        said = verdict or decision.verdict
        assert said is not None
        assert decision.key is not None
        votes: dict[str, Verdict] = {**self.votes, decision.reader: said}
        keys = {**self.keys, decision.reader: decision.key}
        return replace(self, votes=votes, keys=keys, at=max(self.at, decision.at, at))


def cells_of(
    decisions: Iterable[Decision],
    mpp_of: Mapping[str, Mpp],
    *,
    readers: tuple[str, ...] | None = None,
    near: Near | None = None,
) -> list[Cell]:
    """The judged cells, in the order of their first decision.

    Readers judge the same detection by its id. A cell that a reader added is the nearest cell within SAME_CELL_UM that
    this reader had not judged before, whoever judged or added it, or the detection there that nobody judged: the reader
    did not see it, or took the shorter way. Where the reader judges that detection later, the verdict stands. Else it
    is a cell of its own. What a reader added twice within SAME_CELL_UM is one (`added_before`).

    Args:
        decisions: of all readers, in the order of the file.
        mpp_of: um per level-0 px of each slide that decisions are about.
        readers: whose decisions count; None for all.
        near: the detections of the result that decisions are about; None where it is none, or not at hand.
    """
    every = list(decisions)
    cells: dict[str, Cell] = {}
    waiting: list[tuple[str, Decision]] = []
    added = {decision.id for decision in every if decision.kind == "added"}
    for reader in readers_of(every) if readers is None else readers:
        for key, decision in standing(every, reader).items():
            if key in added:
                waiting.append((key, decision))
            else:
                cells[key] = cells.get(key, _cell(key, decision, is_added=False)).with_vote(decision)
    judged_before = _judged_before(every)
    for key, decision, verdict, at in _once(waiting, mpp_of):
        own = judged_before.get((decision.reader, key), frozenset())
        one = cells.get(key) or _nearest(cells, decision, mpp_of, near, own) or _cell(key, decision, is_added=True)
        if decision.reader not in one.votes:  # else by a verdict on the detection after the addition
            cells[one.key] = one.with_vote(decision, verdict, at)
    first = {key: number for number, key in reversed(list(enumerate(decision.key for decision in every)))}
    told = (
        cell.key if cell.key in first else min(cell.keys.values(), key=first.__getitem__) for cell in cells.values()
    )
    place = {one: first[key] for one, key in zip(cells, told, strict=True)}
    return sorted(cells.values(), key=lambda cell: place[cell.key])


def added_before(decision: Decision, others: Iterable[Decision], mpp: Mpp) -> Decision | None:
    """The first cell that the same reader added within SAME_CELL_UM of an added one: they are one cell, by a click too
    many.

    Args:
        decision: about an added cell.
        others: what stands of added cells, of any readers and slides.
        mpp: um per level-0 px of the slide.
    """
    (mx, my), here = xy(mpp), _cell("", decision, is_added=True)
    return next(
        (
            one
            for one in others
            if (one.slide_id, one.reader) == (decision.slide_id, decision.reader)
            and one.x_px is not None
            and one.y_px is not None
            and np.hypot((one.x_px - here.x_px) * mx, (one.y_px - here.y_px) * my) <= SAME_CELL_UM
        ),
        None,
    )


_BY_WEIGHT: tuple[Verdict, ...] = ("imposter", "unsure", "figure")
"""Of two verdicts on what was added twice the later one here is meant: a reader rejects the second to be rid of it."""


def _once(
    waiting: Sequence[tuple[str, Decision]], mpp_of: Mapping[str, Mpp]
) -> list[tuple[str, Decision, Verdict, str]]:
    """Key, decision, verdict and time of the added cells; what a reader added twice is its first, with the verdict that
    is meant: not all that may be said of a cell may be said by adding it.
    """
    kept: list[tuple[str, Decision, Verdict, str]] = []
    for key, decision in waiting:
        near = [one[1] for one in kept]
        said: Verdict = decision.verdict or "unsure"
        first = added_before(decision, near, mpp_of[decision.slide_id])
        if first is None:
            kept.append((key, decision, said, decision.at))
            continue
        place = near.index(first)
        known, _, before, at = kept[place]
        meant = max((before, said), key=_BY_WEIGHT.index)
        kept[place] = known, first, meant, max(at, decision.at)
    return kept


def _judged_before(every: Sequence[Decision]) -> dict[tuple[str, str], frozenset[str]]:
    """What a reader had judged when adding a cell, by reader and the cell's key; not what was taken back."""
    undone = {decision.undoes for decision in every if decision.kind == "undo"}
    judged: dict[str, set[str]] = {}
    before: dict[tuple[str, str], frozenset[str]] = {}
    for decision in every:
        own = judged.setdefault(decision.reader, set())
        if decision.kind == "added":
            before[decision.reader, decision.id] = frozenset(own)
        elif decision.kind == "verdict" and decision.key is not None and decision.id not in undone:
            own.add(decision.key)
    return before


def _cell(key: str, decision: Decision, *, is_added: bool) -> Cell:
    assert decision.x_px is not None
    assert decision.y_px is not None
    return Cell(
        key=key,
        slide_id=decision.slide_id,
        x_px=float(decision.x_px),
        y_px=float(decision.y_px),
        score=None if is_added else decision.score,
        is_added=is_added,
        is_passed_over=is_added,
        detector=decision.detector,
    )


def _nearest(
    cells: Mapping[str, Cell],
    decision: Decision,
    mpp_of: Mapping[str, Mpp],
    found: Near | None,
    own: frozenset[str],
) -> Cell | None:
    """The cell that a reader's added one is: near, and none of those that the same reader added, or judged before."""
    here = _cell("", decision, is_added=True)
    mpp = xy(mpp_of[decision.slide_id])

    def distance_um(cell: Cell) -> float:
        return float(np.hypot((cell.x_px - here.x_px) * mpp[0], (cell.y_px - here.y_px) * mpp[1]))

    def is_open(cell: Cell) -> bool:
        reader = decision.reader
        by_id = cell.keys.get(reader) == cell.key and not cell.is_added
        return reader not in cell.votes or (by_id and cell.key not in own)

    others = [cell for cell in cells.values() if cell.slide_id == decision.slide_id and is_open(cell)]
    for key, x, y, score, called in () if found is None else found(here.slide_id, (here.x_px, here.y_px), SAME_CELL_UM):
        if key not in cells:
            known = {"is_added": False, "is_passed_over": not called}
            others.append(replace(here, key=key, x_px=x, y_px=y, score=score, **known))
    near = min(others, key=distance_um, default=None)
    return near if near is not None and distance_um(near) <= SAME_CELL_UM else None
