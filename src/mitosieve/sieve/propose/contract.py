"""What a proposer must offer, and what it gets to see. A proposer is one frozen configuration with its behaviour.

The tile reader renders, owns the caches and cuts patches; which places are worth a look is the proposer's affair alone.
A proposer keeps nothing: it is sent to reader processes inside a plan, so its file imports no torch either.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mitosieve.geometry import Region
from mitosieve.patch.frames import Frame
from mitosieve.patch.view import View
from mitosieve.sieve.near_tissue import is_near
from mitosieve.slide.tissue import Tissue, TissueRule


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A tile as a proposer sees it.

    Attributes:
        core: what the tile owns, px of the plane on the slide's lattice.
        whole: the slide, in the same px.
        plane: pixels of the core with a margin of `margin_px` or more all round.
        mpp: um per px of the plane.
        frame_mpp: um per px in which places are told.
        near: tissue and its surroundings; None where a proposer looks everywhere.
    """

    core: Region
    whole: Region
    plane: Frame
    mpp: float
    frame_mpp: float
    near: Tissue | None

    def is_near(self, center_px: NDArray[np.float64], mpp: float) -> NDArray[np.bool_]:
        """Which places (N, 2), px at `mpp`, lie near tissue, (N,)."""
        if self.near is None:
            return np.ones(len(center_px), dtype=np.bool_)
        return is_near(self.near, (center_px + 0.5) * mpp)


class Sample(Protocol):
    """Blocks of a slide's tissue that stand for all of it, in the slide's own colours; rendered only when asked for."""

    @property
    def area_mm2(self) -> float:
        """Tissue in all blocks."""
        ...

    def tiles(self) -> Iterator[Tile]:
        """Each block with the proposer's margin."""
        ...

    def planes(self) -> Iterator[NDArray[np.uint8]]:
        """Pixels (h, w, 3) of each block alone."""
        ...


class PlaceProposer(BaseModel, ABC):
    """A proposer: its fields are what TOML says of it, its methods what it does.

    A new one has a file of its own, a field `kind: Literal[...]`, and a name in the union of `proposer.py`. It gives
    `places`, or where it is `dense`, `peaks`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dense: ClassVar[bool] = False
    """Whether the first stage's network runs over whole tiles and its map has the places (`peaks`, not `places`)."""
    everywhere: ClassVar[bool] = False
    """Whether glass is looked at too; else only tiles near tissue are read."""
    own_colours: ClassVar[bool] = False
    """Whether its tiles have the slide's own colours; else those that the networks see."""
    settles: ClassVar[bool] = False
    """Whether `settle` moves places."""

    tissue: TissueRule = "otsu"
    """How tissue is told from glass, for places and for areas; detectors of before know only `otsu`."""

    @abstractmethod
    def describe(self, frame_mpp: float) -> str:
        """One line for people and reports."""

    @abstractmethod
    def plane_mpp(self, frame_mpp: float, first: View) -> float:
        """Um per px of the plane in which it looks and tiles are counted.

        Args:
            frame_mpp: um per px of the detector's frame.
            first: what the first stage's networks see.
        """

    @abstractmethod
    def margin_px(self, patch_px: int, mpp: float) -> int:
        """Px of the plane that a tile needs round its core: for patches, and for its places to be the whole slide's.

        Args:
            patch_px: side of the largest patch that is cut from the plane; 0 is none.
            mpp: um per px of the plane.
        """

    def roi_reach_um(self, mpp: float) -> float:
        """How far outside an ROI a place can lie whose figure is inside, apart from what settling and merging move.

        Args:
            mpp: um per px of the plane.
        """
        return 0.0

    @property
    def settle_um(self) -> float:
        """How far `settle` moves a place at most."""
        return 0.0

    def cut(self, sample: Sample) -> float:
        """One number for a slide, fixed before any tile is looked at; 0 where there is none."""
        return 0.0

    def places(self, tile: Tile, cut: float) -> NDArray[np.float64]:
        """Places (N, 2) near tissue that a tile's core owns, on the slide's lattice at the frame's mpp.

        A place must not depend on which tile it is looked for in, and just one tile may own it.

        Args:
            tile: of the plane, its colours as `own_colours` says.
            cut: of the slide.
        """
        raise NotImplementedError(f"a {type(self).__name__} names no places in pixels")

    def peaks(self, score: NDArray[np.floating], mpp: float, stride_px: int) -> NDArray[np.bool_]:
        """Where a map (H, W) of the first stage's scores has a place, (H, W).

        Args:
            score: of a tile with its margin.
            mpp: um per px of the plane.
            stride_px: px of the plane from one value of the map to the next.
        """
        raise NotImplementedError(f"a {type(self).__name__} names no places in a map")

    def settle(self, pixels: NDArray[np.uint8], center_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places moved onto the middle of their cell.

        Args:
            pixels: (h, w, 3) the plane of a tile with its margin, in the slide's own colours.
            center_px: (N, 2) px of `pixels`.

        Returns:
            (N, 2), in the same px.
        """
        return center_px
