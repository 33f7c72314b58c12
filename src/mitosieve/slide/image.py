"""What every slide can do, whatever its file: pixels by place and resolution, and which resolution is believed.

Knows nothing of file formats, cohorts, patches or networks.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from mitosieve.errors import ResolutionError
from mitosieve.geometry import Region, lattice

MIN_MPP, MAX_MPP = 0.05, 20.0
"""um per px outside which a stated resolution is taken for a mistake (no scanner in use is near either end)."""

MAX_DENSITY_MPP = 2.0
"""A resolution from a picture's print density (dpi) is believed from MIN_MPP to this: 72 dpi would be 353 um per px."""

MAX_READ_PX = 2**26
"""Level-0 px that are held at once; a larger region is rendered by parts, with the same result."""

SMOOTH_ABOVE = 1.5
"""Shrinking by more than this blurs first; below it, bilinear sampling alone keeps chromatin texture best."""


@dataclass(frozen=True, kw_only=True)
class SlideFacts:
    """What a file says of itself, before anything is believed.

    Attributes:
        format: e.g. "JPEG", "TIFF, tiled, JPEG".
        size_l0: width, height in px.
        mpp: um per px as the file states it; None where it states none, or an absurd one.
        mpp_source: where the resolution stands, e.g. "TIFF resolution tag"; empty where none.
        levels: (width, height) of each pyramid level, largest first.
        notes: anything a user should know, one sentence each.
    """

    format: str
    size_l0: tuple[int, int]
    mpp: float | None = None
    mpp_source: str = ""
    levels: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = field(default=())

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each fact, for people."""
        stated = "not stated: give --mpp" if self.mpp is None else f"{self.mpp:g} um/px ({self.mpp_source})"
        return [
            ("format", self.format),
            ("size", f"{self.size_l0[0]} x {self.size_l0[1]} px"),
            ("resolution", stated),
            ("levels", ", ".join(f"{w} x {h}" for w, h in self.levels) or "one"),
            *(("note", note) for note in self.notes),
        ]


class Slide(ABC):
    """An opened image.

    Args:
        slide_id: name in records; by default the file's stem.
        path: the file.
        size_l0: width, height of level 0.
        mpp: um per px of level 0.
    """

    def __init__(self, *, slide_id: str, path: Path, size_l0: tuple[int, int], mpp: float) -> None:
        self.slide_id = slide_id
        self.path = path
        self.size_l0 = size_l0
        self.mpp = mpp

    @abstractmethod
    def read_l0(self, region: Region) -> NDArray[np.uint8]:
        """Pixels (h, w, 3) RGB of a region that lies inside the slide.

        Raises:
            SlideError: the pixels cannot be read.
        """

    def close(self) -> None:  # noqa: B027 - most images hold nothing open
        """Release the file; reading afterwards is an error."""

    @property
    def bounds(self) -> Region:
        return Region(x=0, y=0, w=self.size_l0[0], h=self.size_l0[1])

    def read(self, region: Region | None = None, mpp: float | None = None) -> NDArray[np.uint8]:
        """Pixels of a region at a resolution.

        Args:
            region: level-0 px, inside the slide; None is the whole slide.
            mpp: um per px of the answer; None is level 0.

        Returns:
            uint8 (h, w, 3) RGB: the pixels of the slide's lattice at `mpp` whose centres lie inside `region`
            (`geometry.lattice`), so that reading by parts equals reading whole up to one grey level of rounding.

        Raises:
            ValueError: the region leaves the slide; what lies outside is for the caller to fill.
            SlideError: the pixels cannot be read.
        """
        region = self.bounds if region is None else region
        if region.clip(self.bounds) != region:
            raise ValueError(f"{region} is not inside the slide {self.slide_id} of {self.size_l0} px")
        if mpp is None or abs(mpp / self.mpp - 1) < 1e-6:
            return self.read_l0(region)
        if region.area_px2 > MAX_READ_PX and region.h > 1:
            top = Region(x=region.x, y=region.y, w=region.w, h=region.h // 2)
            rest = Region(x=region.x, y=region.y + top.h, w=region.w, h=region.h - top.h)
            return np.concatenate([self.read(top, mpp), self.read(rest, mpp)])
        return self._render(region, mpp)

    def _render(self, region: Region, mpp: float) -> NDArray[np.uint8]:
        """Blur against aliasing where pixels get larger, then sample at the lattice's pixel centres."""
        scale = mpp / self.mpp
        target = lattice(region, mpp_l0=self.mpp, mpp=mpp)
        blur = 0.4 * scale if scale > SMOOTH_ABOVE else 0.0
        margin = 2 + int(np.ceil(scale + 4 * blur))
        source_region = region.grow(margin).clip(self.bounds)
        source = self.read_l0(source_region)
        if blur:
            source = np.asarray(cv2.GaussianBlur(source, (0, 0), blur, borderType=cv2.BORDER_REPLICATE), dtype=np.uint8)
        columns = (np.arange(target.x, target.x + target.w) + 0.5) * scale - 0.5 - source_region.x
        rows = (np.arange(target.y, target.y + target.h) + 0.5) * scale - 0.5 - source_region.y
        return _sample(source, columns, rows)

    def __enter__(self) -> "Slide":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _sample(source: NDArray[np.uint8], columns: NDArray[np.floating], rows: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Bilinear samples at the crossings of columns and rows; outside the source its edge repeats.

    By bands of rows, because remap is limited to 32,767 px a side and its maps cost eight bytes a pixel.
    """
    answer = np.empty((len(rows), len(columns), 3), dtype=np.uint8)
    for top in range(0, len(rows), 1024):
        for left in range(0, len(columns), 8192):
            xs, ys = columns[left : left + 8192], rows[top : top + 1024]
            x0, y0 = max(0, int(xs[0]) - 2), max(0, int(ys[0]) - 2)
            piece = source[y0 : int(ys[-1]) + 4, x0 : int(xs[-1]) + 4]
            map_x, map_y = np.meshgrid((xs - x0).astype(np.float32), (ys - y0).astype(np.float32))
            answer[top : top + len(ys), left : left + len(xs)] = cv2.remap(
                piece, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
    return answer


def resolve_mpp(stated: float | None, facts: SlideFacts, path: Path) -> float:
    """The resolution to use: what the user states, else what the file states, else a refusal.

    Raises:
        ResolutionError: neither states one between MIN_MPP and MAX_MPP.
    """
    mpp = stated if stated is not None else facts.mpp
    if mpp is None:
        raise ResolutionError(
            "states no resolution (um per px), and none is guessed",
            where=path,
            remedy="state it: --mpp 0.25, or --mpp FILE.csv with the columns slide,mpp",
        )
    if not MIN_MPP <= mpp <= MAX_MPP:
        raise ResolutionError(
            f"has a resolution of {mpp:g} um per px, which is not between {MIN_MPP} and {MAX_MPP}",
            where=path,
            remedy="state the true one: --mpp 0.25, or --mpp FILE.csv with the columns slide,mpp",
        )
    return mpp


def believed_mpp(x_um: float, y_um: float, *, largest: float) -> tuple[float | None, tuple[str, ...]]:
    """What to make of a resolution that a file states for x and y.

    Args:
        x_um: um per px along a row.
        y_um: um per px along a column.
        largest: above this it is taken for a print size or a placeholder.

    Returns:
        The mean of both, or None with a note that says why it is not believed: absurd, or differing by over 1 %.
    """
    if not (MIN_MPP <= x_um <= largest and MIN_MPP <= y_um <= largest):
        return None, (f"a stated resolution of {x_um:.4g} um per px is no scanner's and is ignored",)
    if abs(x_um / y_um - 1) > 0.01:
        return None, (f"pixels are stated to be {x_um:.4g} x {y_um:.4g} um; a resolution needs square pixels",)
    return (x_um + y_um) / 2, ()
