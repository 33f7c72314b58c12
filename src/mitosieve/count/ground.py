"""Where tissue was looked at, small enough to be kept with a slide's counts: so the tissue in a region can be measured
whenever the slide is counted again. Knows areas in mm; no slides, no files.
"""

import base64
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.count.hotspot import Hotspot

CELL_UM = 32.0
"""Side of a cell, of which the share of tissue is kept: a hotspot of 2 mm2 has 44 of them along a side. Ours."""

_LINES = 16
"""Lines across a cell along which a circle's part of it is measured."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Tissue in the cells of a lattice from the slide's upper left corner.

    Attributes:
        cell_mm: side of a cell, which is square.
        shape: rows, columns.
        most: pixels in a cell, of which tissue is counted; at most 255.
        packed: the counts, row by row, a byte each; zlib and base64.
        mask_px: rows, columns of the mask, where the last cells have fewer pixels; None in results of before.
    """

    cell_mm: float
    shape: tuple[int, int]
    most: int
    packed: str
    mask_px: tuple[int, int] | None = None

    @classmethod
    def of(cls, mask: NDArray[np.bool_], mpp: float) -> "Ground":
        """Of a mask whose square pixels begin at the slide's upper left corner.

        Args:
            mask: bool (h, w), tissue that was looked at.
            mpp: um per px of it.
        """
        side = min(15, max(1, round(CELL_UM / mpp)))
        rows, columns = (-(-length // side) for length in mask.shape)
        padded = np.zeros((rows * side, columns * side), dtype=np.uint8)
        padded[: mask.shape[0], : mask.shape[1]] = mask
        counts = padded.reshape(rows, side, columns, side).sum(axis=(1, 3), dtype=np.uint8)
        packed = base64.b64encode(zlib.compress(counts.tobytes(), 9)).decode()
        height, width = mask.shape
        return cls(
            cell_mm=side * mpp / 1000,
            shape=(rows, columns),
            most=side * side,
            packed=packed,
            mask_px=(height, width),
        )

    def to_json(self) -> dict[str, Any]:
        known = {"cell_mm": self.cell_mm, "shape": list(self.shape), "most": self.most, "packed": self.packed}
        return known if self.mask_px is None else {**known, "mask_px": list(self.mask_px)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any] | None) -> "Ground | None":
        """What `to_json` gave; None of None, as results of before have it.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        if content is None:
            return None
        rows, columns = content["shape"]
        mask_px = content.get("mask_px")
        made = cls(
            cell_mm=float(content["cell_mm"]),
            shape=(int(rows), int(columns)),
            most=int(content["most"]),
            packed=str(content["packed"]),
            mask_px=None if mask_px is None else (int(mask_px[0]), int(mask_px[1])),
        )
        made._shares()
        return made

    def measured(self, hotspot: Hotspot) -> Hotspot:
        """The same region with the tissue it holds; one that holds no figure has no place to measure."""
        return replace(hotspot, tissue_mm2=self.tissue_mm2(hotspot)) if hotspot.count else hotspot

    def tissue_mm2(self, hotspot: Hotspot) -> float:
        """Tissue in a region, at most its area; cells that its edge or the slide's cuts count by the part inside."""
        shares = self._shares()
        (x, y), (width, height) = hotspot.center_mm, hotspot.size_mm
        across = self._part(np.array([x - width / 2]), np.array([x + width / 2]), 1)
        if hotspot.shape == "circle":
            lines = (np.arange(self.shape[0] * _LINES) + 0.5) * (self.cell_mm / _LINES)
            half = np.sqrt(np.maximum((width / 2) ** 2 - (lines - y) ** 2, 0.0))
            near = (half > 0) & (lines < self._sides_px(0).sum() * self.cell_mm / math.sqrt(self.most))
            along = self._part(x - half[near], x + half[near], 1)
            held = float((along * shares[np.flatnonzero(near) // _LINES]).sum()) * self.cell_mm / _LINES
        else:
            down = self._part(np.array([y - height / 2]), np.array([y + height / 2]), 0)
            held = float((down @ shares @ across.T)[0, 0])
        return min(held, hotspot.area_mm2)

    def _part(self, low: NDArray[np.float64], high: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        """(n, cells) mm of each cell along rows (0) or columns (1) that lie between two ends, and on the slide."""
        ends = np.concatenate([[0.0], np.cumsum(self._sides_px(axis))]) * (self.cell_mm / math.sqrt(self.most))
        inside = np.minimum(ends[1:], high[:, None]) - np.maximum(ends[:-1], low[:, None])
        return np.maximum(inside, 0.0)

    def _sides_px(self, axis: int) -> NDArray[np.float64]:
        """(cells,) pixels of the mask along each cell: all but the last have as many as fit."""
        side, cells = math.sqrt(self.most), self.shape[axis]
        sides = np.full(cells, side)
        if self.mask_px is not None:
            sides[-1:] = self.mask_px[axis] - (cells - 1) * side
        return sides

    def _shares(self) -> NDArray[np.float64]:
        """(rows, columns) of tissue, 0 to 1, of the part of a cell that lies on the slide."""
        counts = np.frombuffer(zlib.decompress(base64.b64decode(self.packed)), dtype=np.uint8).reshape(self.shape)
        px = np.outer(self._sides_px(0), self._sides_px(1))
        if not ((px > 0) & (px <= self.most)).all():
            raise ValueError(f"{self.mask_px} px do not fill {self.shape} cells")
        return counts / px
