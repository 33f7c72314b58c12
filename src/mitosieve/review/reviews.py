"""What readers decided about a result: the reviewed count beside the automatic one, and how far they agree."""

from dataclasses import dataclass
from itertools import combinations

from mitosieve.review.agreement import Agreement, agree
from mitosieve.review.cell import Cell, cells_of
from mitosieve.review.counted import ReviewedCount, reviewed_count
from mitosieve.review.result import FoundResult, decisions_of, left_out
from mitosieve.review.searched import searched_areas


@dataclass(frozen=True, kw_only=True)
class Reviews:
    """What readers decided.

    Attributes:
        counts: of each slide that was done, by name.
        agreements: of each two readers.
        cells: that were judged, in the order of their first decision.
        readers: in the order of their first decision.
        left_out: what is said of decisions on slides that were not done, which count nowhere; empty without any.
    """

    counts: dict[str, ReviewedCount]
    agreements: tuple[Agreement, ...]
    cells: tuple[Cell, ...]
    readers: tuple[str, ...]
    left_out: str

    @classmethod
    def of(cls, result: FoundResult, readers: tuple[str, ...] = (), *, only_judged: bool = False) -> "Reviews":
        """Of a result that somebody looked at.

        Args:
            result: of detect.
            readers: whose decisions count; empty is all.
            only_judged: whether slides on which no cell was judged are left out of the counts.

        Raises:
            InputError: nobody decided anything, or one of the readers did not.
        """
        result.require_decisions()
        every = decisions_of(result.decisions, readers, result.folder)
        chosen = [one for one in every if one.slide_id in result.slides]
        cells = cells_of(chosen, {name: slide.mpp_xy for name, slide in result.slides.items()}, near=result.near)
        names = tuple(dict.fromkeys(decision.reader for decision in chosen))
        searched = searched_areas(chosen)
        judged = {cell.slide_id for cell in cells}
        counted = [name for name in result.slides if name in judged or not only_judged]
        return cls(
            counts={name: reviewed_count(result, name, cells) for name in counted},
            agreements=tuple(agree(cells, first, second, searched) for first, second in combinations(names, 2)),
            cells=tuple(cells),
            readers=names,
            left_out=left_out(every, {one.slide_id for one in every} - result.slides.keys()),
        )
