"""What every slide can do, whatever its file: pixels by place and resolution, and which resolution is believed.

Knows nothing of file formats, cohorts, patches or networks.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from mitosieve.errors import ResolutionError
from mitosieve.geometry import Mpp, Region, lattice, xy
from mitosieve.slide.rendering import NEAR, Axis, halved, sample, source_of

MIN_MPP, MAX_MPP = 0.05, 20.0
"""um per px outside which a stated resolution is taken for a mistake (no scanner in use is near either end)."""

MAX_DENSITY_MPP = 2.0
"""A resolution from a picture's print density (dpi) is believed from MIN_MPP to this: 72 dpi would be 353 um per px."""

SQUARE_TO = 0.01
"""Pixels whose sides differ by at most this fraction are square."""

CACHE_BYTES = 128 * 2**20
"""Decoded tiles kept per slide, so that overlapping reads decode each tile once."""

MAX_READ_PX = 2**24
"""px of a level that are held at once; a larger region is rendered by parts, with the same result."""


class OtherPicture(str):
    """A note of a file of which other programs may show another picture than is read, or this one turned or scaled:
    whoever has marks on it must know. Other notes move no mark.
    """

    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class SlideFacts:
    """What a file says of itself, before anything is believed.

    Attributes:
        format: e.g. "JPEG", "TIFF, tiled, JPEG".
        size_l0: width, height in px.
        mpp_xy: um per px in x and y as the file states it; None where it states none, or an absurd one.
        mpp_source: where the resolution stands, e.g. "TIFF resolution tag"; empty where none.
        levels: (width, height) of each pyramid level, largest first.
        notes: anything a user should know, one sentence each; an `OtherPicture` where marks may lie elsewhere.
        corner_l0: where level 0 begins on the canvas that the file states, in level-0 px of that.
        canvas_l0: width, height of that canvas, where level 0 is a part of it; programs count positions on either.
    """

    format: str
    size_l0: tuple[int, int]
    mpp_xy: tuple[float, float] | None = None
    mpp_source: str = ""
    levels: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = field(default=())
    corner_l0: tuple[int, int] = (0, 0)
    canvas_l0: tuple[int, int] | None = None

    @property
    def mpp(self) -> float | None:
        """The mean of x and y, um per px; None where none is stated."""
        return None if self.mpp_xy is None else sum(self.mpp_xy) / 2

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each fact, for people."""
        stated = "not stated: give --mpp"
        if self.mpp_xy is not None:
            x, y = self.mpp_xy
            stated = f"{x:g} um/px ({self.mpp_source})" if x == y else f"{x:g} x {y:g} um/px ({self.mpp_source})"
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
        mpp: um per px of level 0, one number or (x, y).
        levels: (width, height) of each level in px, level 0 first, each smaller than the one before.

    Attributes:
        notes: what whoever reads a count of it must know of the file, one sentence each; set by `open_slide`.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, *, slide_id: str, path: Path, mpp: Mpp, levels: tuple[tuple[int, int], ...]) -> None:
        self.slide_id = slide_id
        self.path = path
        self.levels = levels
        self.size_l0 = levels[0]
        self.mpp_xy = xy(mpp)
        self.mpp = sum(self.mpp_xy) / 2
        self._axes_of: dict[float, tuple[int, Axis, Axis]] = {}

    is_concurrent = False
    """Whether several threads may read at once."""

    @abstractmethod
    def read_level(self, level: int, region: Region) -> NDArray[np.uint8]:
        """Pixels (h, w, 3) RGB as stored, of a region in px of that level, inside it.

        Raises:
            SlideError: the pixels cannot be read.
        """

    def read_means(self, level: int, region: Region, halvings: tuple[int, int]) -> NDArray[np.uint8]:
        """Pixels of a region of a level, averaged by two so often in x and y (`rendering.halved`).

        Raises:
            SlideError: the pixels cannot be read.
        """
        return halved(self.read_level(level, region), *halvings)

    def read_l0(self, region: Region) -> NDArray[np.uint8]:
        """Pixels (h, w, 3) RGB of a region that lies inside the slide, as stored.

        Raises:
            SlideError: the pixels cannot be read.
        """
        return self.read_level(0, region)

    def close(self) -> None:  # noqa: B027 - most images hold nothing open
        """Release the file; reading afterwards is an error."""

    @property
    def bounds(self) -> Region:
        return Region(x=0, y=0, w=self.size_l0[0], h=self.size_l0[1])

    def downsample(self, level: int) -> tuple[float, float]:
        """Level-0 px per px of a level, in x and y: the whole number that explains its size, else the exact ratio."""
        return whole_ratio(self.size_l0, self.levels[level])

    def level_for(self, mpp: float) -> int:
        """The coarsest level that is not coarser than `mpp` by over 1 %."""
        fine = [
            number
            for number in range(len(self.levels))
            if all(d * side <= mpp * (1 + NEAR) for d, side in zip(self.downsample(number), self.mpp_xy, strict=True))
        ]
        return max(fine, default=0)

    def read(self, region: Region | None = None, mpp: float | None = None) -> NDArray[np.uint8]:
        """Pixels of a region at a resolution.

        From the coarsest level that is fine enough: averaged over 2 x 2 px as long as at least a factor of 2 is left,
        then sampled. Where less than a factor of 1.5 lies between level 0 and `mpp`, level 0 is sampled bilinearly and
        nothing else.

        Args:
            region: level-0 px, inside the slide; None is the whole slide.
            mpp: um per px of the answer, whose pixels are square; None is level 0 as stored.

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
        if mpp is None or self.is_stored_at(mpp):
            return self.read_l0(region)
        return self.read_block(lattice(region, mpp_l0=self.mpp_xy, mpp=mpp), mpp)

    def is_stored_at(self, mpp: float) -> bool:
        """Whether level 0 has this resolution, to a millionth."""
        return all(abs(mpp / side - 1) < 1e-6 for side in self.mpp_xy)

    def read_block(self, wanted: Region, mpp: float) -> NDArray[np.uint8]:
        """Pixels (h, w, 3) RGB of a block of the slide's lattice at `mpp`, inside the lattice; see `read`.

        Raises:
            SlideError: the pixels cannot be read.
        """
        answer = np.empty((wanted.h, wanted.w, 3), dtype=np.uint8)
        level, x, y = self._axes(mpp)
        for block in self._blocks(wanted, source_of(wanted, x, y), level):
            source = source_of(block, x, y)
            means = self.read_means(level, source, (x.halvings, y.halvings))
            pixels = sample(means, source, block, x, y)
            top, left = block.y - wanted.y, block.x - wanted.x
            answer[top : top + block.h, left : left + block.w] = pixels
        return answer

    def _axes(self, mpp: float) -> tuple[int, Axis, Axis]:
        """The level that is read for a resolution, and how its x and y become those of the lattice."""
        if mpp not in self._axes_of:
            level = self.level_for(mpp)
            x, y = (
                Axis(scale=mpp / side / down, size=size, averaged=level > 0)
                for side, down, size in zip(self.mpp_xy, self.downsample(level), self.levels[level], strict=True)
            )
            self._axes_of[mpp] = level, x, y
        return self._axes_of[mpp]

    def thumbnail(self, mpp: float) -> NDArray[np.uint8]:
        """The whole slide at a coarse resolution, by parts: uint8 (h, w, 3) RGB, the same as `read(None, mpp)`.

        Memory is that of the answer and of MAX_READ_PX px, also where the slide has no level but its first.

        Raises:
            SlideError: the pixels cannot be read.
        """
        return self.read(None, mpp)

    def piece_px(self, level: int) -> tuple[int, int]:
        """Width and height of the pieces in which a level is stored and decoded."""
        return self.levels[level]

    def _blocks(self, wanted: Region, source: Region, level: int) -> Iterator[Region]:
        """Parts of a block of the lattice of which each needs about MAX_READ_PX px of the level, or less.

        Squares, but whole rows where the level is stored in whole rows, so that few pieces are decoded twice.
        """
        if wanted.area_px2 == 0:
            return
        if source.area_px2 <= MAX_READ_PX:
            yield wanted
            return
        rows_only = self.piece_px(level)[0] >= source.w
        wide = source.w if rows_only else min(source.w, math.isqrt(MAX_READ_PX))
        w = max(1, wanted.w * wide // source.w)
        h = max(1, wanted.h * (MAX_READ_PX // wide) // source.h)
        for y in range(wanted.y, wanted.y + wanted.h, h):
            for x in range(wanted.x, wanted.x + wanted.w, w):
                yield Region(x=x, y=y, w=w, h=h).clip(wanted)

    def __enter__(self) -> "Slide":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def whole_ratio(size_l0: tuple[int, int], size: tuple[int, int]) -> tuple[float, float]:
    """Level-0 px per px of a level in x and y: the whole number that explains its size, else the exact ratio.

    A writer that halves again and again drops or adds a part of a pixel each time; its pixels still cover a whole
    number of level-0 px, and the ratio of the sizes would move the far edge by up to a pixel of the level.
    """
    ratio = (size_l0[0] / size[0], size_l0[1] / size[1])
    whole = round(math.sqrt(ratio[0] * ratio[1]))
    if all(abs(long / whole - short) < 1 for long, short in zip(size_l0, size, strict=True)):
        return float(whole), float(whole)
    return ratio


def resolve_mpp(stated: float | None, facts: SlideFacts, path: Path) -> float:
    """The resolution to use: what the user states, else what the file states, else a refusal.

    Returns:
        um per px; the mean of x and y where the file states different ones.

    Raises:
        ResolutionError: neither states one between MIN_MPP and MAX_MPP.
    """
    return sum(resolve_mpp_xy(stated, facts, path)) / 2


def resolve_mean(stated: Mpp | None, facts: SlideFacts, path: Path) -> tuple[float, tuple[float, float] | None]:
    """The mean of the resolution to use, and that of x and y where they differ; as `resolve_mpp_xy`."""
    sides = resolve_mpp_xy(stated, facts, path)
    return sum(sides) / 2, None if sides[0] == sides[1] else sides


def resolve_mpp_xy(stated: Mpp | None, facts: SlideFacts, path: Path) -> tuple[float, float]:
    """The resolution to use in x and y: what the user states, else what the file states, else a refusal.

    One stated number means square pixels, except where it is the mean of what the file states for x and y (to 0.1 %),
    as a cohort records it: then the file's two are used.

    Raises:
        ResolutionError: neither states one between MIN_MPP and MAX_MPP.
    """
    remedy = "state it: --mpp 0.25, or --mpp FILE.csv with the columns slide,mpp"
    if stated is None and facts.mpp_xy is None:
        raise ResolutionError("states no resolution (um per px), and none is guessed", where=path, remedy=remedy)
    used = facts.mpp_xy if stated is None else xy(stated)
    assert used is not None
    if not all(MIN_MPP <= mpp <= MAX_MPP for mpp in used):
        raise ResolutionError(
            f"has a resolution of {sum(used) / 2:g} um per px, which is not between {MIN_MPP} and {MAX_MPP}",
            where=path,
            remedy=remedy.replace("state it", "state the true one"),
        )
    from_file = facts.mpp_xy
    if from_file is None or from_file[0] == from_file[1] or isinstance(stated, tuple):
        return used
    return from_file if abs(sum(used) / sum(from_file) - 1) < 1e-3 else used


def believed_mpp(x_um: float, y_um: float, *, largest: float) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """What to make of a resolution that a file states for x and y.

    Args:
        x_um: um per px along a row.
        y_um: um per px along a column.
        largest: above this it is taken for a print size or a placeholder.

    Returns:
        um per px of x and y, the mean for both where they differ by at most 1 %; or None with a note that says why it
        is not believed.
    """
    if not (MIN_MPP <= x_um <= largest and MIN_MPP <= y_um <= largest):
        stated = f"{x_um:.4g}" if f"{x_um:.4g}" == f"{y_um:.4g}" else f"{x_um:.4g} x {y_um:.4g}"
        return None, (f"a stated resolution of {stated} um per px is no scanner's and is ignored",)
    if abs(x_um / y_um - 1) > SQUARE_TO:
        return (x_um, y_um), (f"pixels are oblong, {x_um:.4g} x {y_um:.4g} um; they are read as square ones",)
    mean = (x_um + y_um) / 2
    return (mean, mean), ()
