"""Which open decisions can still change the score of a slide's hotspot. Points in mm alone; no slides, no readers.

The score rises with the count of the region that holds most figures. An open point is *deciding* where there is some
answer to all the other open points for which its own answer changes the score. Once all deciding points are decided,
no answer to the other open ones changes the score; and none of them can be left out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mitosieve.count.hotspot import Shape, find_hotspot

MOST_STEPS = 2000
"""Of a search for the answers of the others; beyond it a point counts as deciding, and the result as not exact."""

Points = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Field:
    """Where the region may lie, and what it is.

    Attributes:
        size_mm: width, height of the slide.
        area_mm2: of the region.
        shape: of the region.
    """

    size_mm: tuple[float, float]
    area_mm2: float
    shape: Shape

    def most(self, point_mm: Points) -> int:
        """Points in the region that holds most."""
        return find_hotspot(point_mm, size_mm=self.size_mm, area_mm2=self.area_mm2, shape=self.shape).count

    def most_with(self, point_mm: Points, through_mm: Points) -> int:
        """Points in the region that holds most of those that hold the point `through_mm`, which is counted once; 0
        where no region holds it.
        """
        weight = len(point_mm) + 1  # more than all others together: a region with it beats any without
        whole = np.concatenate([np.tile(through_mm, (weight, 1)), point_mm])
        return max(0, self.most(whole) - weight + 1)

    @property
    def reach_mm(self) -> float:
        """No region holds two points farther apart than this along an axis."""
        side = float(np.sqrt(self.area_mm2 * 4 / 3))
        return min(max(self.size_mm), max(side, self.area_mm2 / min(self.size_mm), 1.2 * float(np.sqrt(self.area_mm2))))


def deciding(
    fixed_mm: Points, open_mm: Points, field: Field, score: Callable[[int], object]
) -> tuple[NDArray[np.bool_], bool]:
    """Which of the open points are deciding.

    Args:
        fixed_mm: (F, 2) points that are figures.
        open_mm: (O, 2) points that may be.
        field: the region and where it may lie.
        score: of a count; anything that can be compared.

    Returns:
        (O,) which are deciding, and whether that is exact. Where the search for the others' answers was cut short at
        MOST_STEPS, the point is among them.
    """
    least, most = field.most(fixed_mm), field.most(np.concatenate([fixed_mm, open_mm]))
    cuts = [count for count in range(least, most) if score(count) != score(count + 1)]
    found, is_exact = np.zeros(len(open_mm), dtype=np.bool_), True
    for cut in cuts:
        for number in np.flatnonzero(~found).tolist():
            answer = _Search(fixed_mm, open_mm, field, cut).decides(number)
            found[number] = answer is not False
            is_exact &= answer is not None
    return found, is_exact


class _Search:
    """Looks for answers of the others under which a point lifts the largest count from `cut` to one more."""

    def __init__(self, fixed_mm: Points, open_mm: Points, field: Field, cut: int) -> None:
        self._fixed, self._open, self._field, self._cut = fixed_mm, open_mm, field, cut

    def decides(self, number: int) -> bool | None:
        """Whether there are such answers; None where the search was cut short.

        Only open points near this one can help, for they must share a region with it; all others are taken as none.
        What is taken as a figure must keep every region at `cut` or below; a region through the point must reach `cut`
        without it.
        """
        here = self._open[number]
        self._through = here[None]
        self._near_fixed = self._fixed[self._is_near(self._fixed, here, 2)]
        helping = np.flatnonzero(self._is_near(self._open, here, 1))
        helping = helping[helping != number]
        helping = helping[np.argsort(np.abs(self._open[helping] - here).max(axis=1), kind="stable")]
        return self._search(helping)

    def _is_near(self, points: Points, here: Points, reaches: int) -> NDArray[np.bool_]:
        away = np.abs(points - here).max(axis=1) if len(points) else np.zeros(0)
        return away <= reaches * self._field.reach_mm * (1 + 1e-9)

    def _search(self, helping: NDArray[np.intp]) -> bool | None:
        """Depth first, the nearest as figures first: `taken` are figures, any of `left` may be."""
        waiting = [(np.zeros(0, dtype=np.intp), helping)]
        for _ in range(MOST_STEPS):
            if not waiting:
                break
            taken, left = waiting.pop()
            base = np.concatenate([self._near_fixed, self._open[taken]])
            if self._field.most_with(base, self._through) > self._cut:
                return True
            if self._field.most_with(np.concatenate([base, self._open[left]]), self._through) <= self._cut:
                continue
            waiting.append((taken, left[1:]))
            if self._field.most_with(base, self._open[left[:1]]) <= self._cut:  # every region stays at the cut or below
                waiting.append((np.append(taken, left[:1]), left[1:]))
        return None if waiting else False
