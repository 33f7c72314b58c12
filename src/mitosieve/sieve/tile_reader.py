"""Reads a slide for a detector: where there is tissue, which places are worth a look, and their patches.

Runs in readers, so it knows no networks (and imports no torch). What it answers depends on the slide, the
plan and the tile asked for, never on what was asked before.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from mitosieve.geometry import Region, lattice, mm2_from_px2, rescale_points, tiles_over
from mitosieve.patch.cutting import cut_patches
from mitosieve.patch.frames import Frame, Look, look_at, render_block
from mitosieve.run.clock import Clock
from mitosieve.sieve.near_tissue import ALIGN_PX, bounds_in, grown, is_near
from mitosieve.sieve.plan import Plan, Survey
from mitosieve.sieve.propose.contract import Tile
from mitosieve.sieve.traits import measure_slide
from mitosieve.slide.overview import look_over, sample_blocks
from mitosieve.slide.slide import Slide

TILE_PX = 2048
"""Side of a tile's core, px of the proposer's plane."""

CHUNK = 2048
"""Places whose patches are cut and scored together."""

TISSUE_REACH_UM = 24.0
"""Places this far from the tissue of the overview still count as tissue: its pixels are coarse and its edge is pale."""

DENSE = 4
"""Places whose patches together have at least a quarter of the area of the rectangle round them are cut from that."""

IN_FLIGHT = 3
"""Tiles that a reader has begun and not ended: one being read, one read and waiting, one being scored. So many rendered
tiles it keeps.
"""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a tile's core holds.

    Attributes:
        center_px: (N, 2) places on the slide's lattice at the frame's mpp.
        images: input of the first stage for the first CHUNK places.
        plane: pixels for a dense network, which proposes itself; then there are no places and no images.
        everywhere: as it was asked (`Find`).
    """

    center_px: NDArray[np.float64]
    images: NDArray[np.uint8]
    plane: Frame | None = None
    everywhere: bool = False


@dataclass(frozen=True, kw_only=True)
class Find:
    """Asks for the places of a tile; answered by `Found`.

    Attributes:
        core: the tile.
        everywhere: whether places outside the ROI are wanted too: a sample stands for the slide.
    """

    core: Region
    everywhere: bool = False


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Asks for a stage's input at places of a tile, (N, 2) at the frame's mpp; answered by images (N, s, s, C)."""

    core: Region
    stage: int
    center_px: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Keep:
    """Asks which places of a tile, (N, 2) at the frame's mpp, can matter; answered by (N,) bool.

    Attributes:
        core: the tile.
        center_px: the places.
        everywhere: see `Find`.
    """

    core: Region
    center_px: NDArray[np.float64]
    everywhere: bool = False


@dataclass(frozen=True, kw_only=True)
class Settle:
    """Asks for places of a tile, (N, 2) at the frame's mpp, moved onto their cells; answered by places (N, 2). Asked
    last, of no place where none is to be moved: the tile is let go.
    """

    core: Region
    center_px: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What stands for a slide.

    Attributes:
        blocks: of the proposer's plane, which can be asked for as tiles can.
        area_mm2: tissue in them.
        tissue_mm2: of the whole slide.
    """

    blocks: tuple[Region, ...]
    area_mm2: float
    tissue_mm2: float


Request = Find | Cut | Keep | Settle
Answer = Found | NDArray[np.uint8] | NDArray[np.float64] | NDArray[np.bool_]


class TileReader:
    """One slide seen by one detector's plan.

    Args:
        slide: opened.
        plan: of the detector.
        survey: of the slide.
        roi: area in level-0 px outside which nothing is wanted; None is the whole slide.
    """

    def __init__(self, slide: Slide, plan: Plan, survey: Survey, roi: BaseGeometry | None = None) -> None:
        self.slide = slide
        self.plan = plan
        self.survey = survey
        self.roi = roi
        self._near_tissue = None if plan.proposer.everywhere else grown(survey.tissue, TISSUE_REACH_UM)
        self.clock = Clock()
        sides = [view.patch_px for view in plan.views if view.mpp_in(plan.frame.mpp) == plan.mpp]
        self._margin = plan.proposer.margin_px(max(sides, default=0), plan.mpp)
        self._colours = survey.look.raw if plan.proposer.own_colours else survey.look
        self._held: OrderedDict[Region, Frame] = OrderedDict()

    def bands(self) -> list[list[Region]]:
        """Tiles, row by row: parts of the proposer's plane that partition what is to be looked at.

        A tile is cut down to the rectangle round its tissue, so that glass is not read, unless the proposer looks
        everywhere.
        """
        whole = self._whole(self.plan.mpp)
        rows: dict[int, list[Region]] = {}
        for tile in tiles_over(whole, core=TILE_PX, margin=0):
            near = self._near_tissue
            core = tile.core if near is None else bounds_in(near, tile.core, self.plan.mpp)
            if core is not None and (self.roi is None or self._meets_roi(core)):
                rows.setdefault(tile.core.y, []).append(core)
        return [rows[y] for y in sorted(rows)]

    def sample(self) -> Sample:
        """The blocks on which the slide's cut was set; none where no stage has a budget: finding them takes as long as
        reading some tiles.
        """
        if not self.plan.has_budget:
            return Sample(blocks=(), area_mm2=0.0, tissue_mm2=0.0)
        taken = _TissueSample(self.slide, self.plan, self.survey)
        tissue_mm2 = self.survey.tissue.area_mm2
        return Sample(blocks=tuple(taken.blocks), area_mm2=taken.area_mm2, tissue_mm2=tissue_mm2)

    def answer(self, request: Request) -> Answer:
        """What was asked for."""
        if isinstance(request, Find):
            return self.find(request.core, everywhere=request.everywhere)
        if isinstance(request, Settle):
            return self.settle(request.core, request.center_px)
        if isinstance(request, Keep):
            return self.keep(request.center_px, everywhere=request.everywhere)
        return self.cut(request.core, request.stage, request.center_px)

    def find(self, core: Region, *, everywhere: bool = False) -> Found:
        """Places that a tile's core owns, with the input of the first stage for the first of them; see `Find`."""
        if self.plan.proposer.dense:
            nothing = np.zeros((0, 0, 0, 3), dtype=np.uint8)
            plane = self._frame_of(core)
            return Found(center_px=np.zeros((0, 2)), images=nothing, plane=plane, everywhere=everywhere)
        centers = self.places(core, everywhere=everywhere)
        return Found(center_px=centers, images=self.cut(core, 0, centers[:CHUNK]))

    def places(self, core: Region, *, everywhere: bool = False) -> NDArray[np.float64]:
        """Places (N, 2) that a tile's core owns, on the lattice at the frame's mpp; not for a dense proposer."""
        plane = self._frame_of(core)
        with self.clock.part("propose"):
            center = self.plan.proposer.places(self._tile(core, plane), self.survey.cut)
        return center[self.keep(center)] if self.roi is not None and not everywhere else center

    def cut(self, core: Region, stage: int, center_px: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Network input of a stage at places of a tile.

        Args:
            core: the tile that owns the places.
            stage: number of the stage.
            center_px: (N, 2) on the lattice at the frame's mpp.

        Returns:
            uint8 (N, s, s, C).
        """
        view = self.plan.views[stage]
        mpp = view.mpp_in(self.plan.frame.mpp)
        places = rescale_points(center_px, mpp_from=self.plan.frame.mpp, mpp_to=mpp)
        frame = self._frame_of(core) if mpp == self.plan.mpp and len(places) else None
        with self.clock.part("cut"):
            if frame is None:
                patches, own = self._patches(places, mpp, view.patch_px), True
            else:
                patches = cut_patches(frame, places, patch_px=view.patch_px)
                own = self.plan.proposer.own_colours
        with self.clock.part("stain"):
            return view.images(self.survey.look.stained(patches) if own else patches)

    def settle(self, core: Region, center_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places of a tile moved onto the middle of their cell, where the proposer can tell; asked last of it."""
        proposer = self.plan.proposer
        if not proposer.settles or len(center_px) == 0:
            self._held.pop(core, None)
            return center_px
        mpp = self.plan.frame.mpp
        raw = self._frame_of(core) if proposer.own_colours else self._render(core, self.survey.look.raw)
        with self.clock.part("propose"):
            origin = np.array(raw.origin_px)
            local = rescale_points(center_px, mpp_from=mpp, mpp_to=self.plan.mpp) - origin
            moved = proposer.settle(raw.pixels, local) + origin
        self._held.pop(core, None)
        return rescale_points(moved, mpp_from=self.plan.mpp, mpp_to=mpp)

    def keep(self, center_px: NDArray[np.float64], *, everywhere: bool = False) -> NDArray[np.bool_]:
        """Which places (N, 2), at the frame's mpp, can matter: near tissue, and near the ROI unless `everywhere`."""
        mpp = self.plan.frame.mpp
        near = self._near_tissue
        kept = np.ones(len(center_px), dtype=bool) if near is None else is_near(near, (center_px + 0.5) * mpp)
        if self.roi is not None and not everywhere:
            places = shapely.points(rescale_points(center_px, mpp_from=mpp, mpp_to=self.slide.mpp_xy))
            kept &= shapely.dwithin(self.roi, places, self._roi_reach_l0())
        return kept

    def raw_tile(self, core: Region) -> Tile:
        """A core as the proposer sees it, rendered anew in the slide's own colours, and not kept."""
        return self._tile(core, self._render(core, self.survey.look.raw))

    def _tile(self, core: Region, plane: Frame) -> Tile:
        mpp, frame_mpp = self.plan.mpp, self.plan.frame.mpp
        whole = self._whole(mpp)
        return Tile(core=core, whole=whole, plane=plane, mpp=mpp, frame_mpp=frame_mpp, near=self._near_tissue)

    def _patches(self, places: NDArray[np.float64], mpp: float, side: int) -> NDArray[np.uint8]:
        """Patches where the plane has another resolution, in the slide's own colours: from one block where places are
        dense, else one by one.
        """
        patches = np.empty((len(places), side, side, 3), dtype=np.uint8)
        if len(places) == 0:
            return patches
        reach = side / 2 + 1
        low, high = np.floor(places.min(axis=0) - reach), np.ceil(places.max(axis=0) + reach)
        if (high - low + 1).prod() <= DENSE * len(places) * side**2:
            return cut_patches(self._block(low, high, mpp), places, patch_px=side)
        for row, place in enumerate(places):
            block = self._block(np.floor(place - reach), np.ceil(place + reach), mpp)
            patches[row] = cut_patches(block, place[None], patch_px=side)[0]
        return patches

    def _block(self, low: NDArray[np.float64], high: NDArray[np.float64], mpp: float) -> Frame:
        """Pixels from `low` to `high`, both included."""
        wanted = Region(x=int(low[0]), y=int(low[1]), w=int(high[0] - low[0]) + 1, h=int(high[1] - low[1]) + 1)
        return render_block(self.slide, wanted, mpp=mpp, look=self.survey.look.raw)

    def _render(self, core: Region, look: Look) -> Frame:
        """A core of the plane with what its places need all round, starting at a multiple of ALIGN_PX."""
        x, y = ((edge - self._margin) // ALIGN_PX * ALIGN_PX for edge in (core.x, core.y))
        right, bottom = core.x + core.w + self._margin, core.y + core.h + self._margin
        with self.clock.part("read"):
            return render_block(self.slide, Region(x=x, y=y, w=right - x, h=bottom - y), mpp=self.plan.mpp, look=look)

    def _frame_of(self, core: Region) -> Frame:
        """The rendered tile in the proposer's colours, kept or made again: a tile is always rendered alike.

        Where these are the slide's own, patches are stained when they are cut: together they have a third of its px.
        """
        if core not in self._held:
            self._held[core] = self._render(core, self._colours)
            while len(self._held) > IN_FLIGHT:
                self._held.popitem(last=False)
        return self._held[core]

    def _whole(self, mpp: float) -> Region:
        return lattice(self.slide.bounds, mpp_l0=self.slide.mpp_xy, mpp=mpp)

    def _roi_reach_l0(self) -> float:
        reach_um = self.plan.proposer.roi_reach_um(self.plan.mpp) + self.plan.reach_um
        return reach_um / min(self.slide.mpp_xy)

    def _meets_roi(self, core: Region) -> bool:
        corners = np.array([[core.x, core.y], [core.x + core.w, core.y + core.h]], dtype=float) - 0.5
        (x0, y0), (x1, y1) = rescale_points(corners, mpp_from=self.plan.mpp, mpp_to=self.slide.mpp_xy)
        return bool(shapely.dwithin(self.roi, shapely.box(x0, y0, x1, y1), self._roi_reach_l0()))


class _TissueSample:
    """A slide's sample, in the slide's own colours (see `propose.contract.Sample`).

    Args:
        slide: opened.
        plan: of the detector.
        bare: the slide's survey but for its cut.
    """

    def __init__(self, slide: Slide, plan: Plan, bare: Survey) -> None:
        self._slide = slide
        self._plan = plan
        self._bare = bare

    @cached_property
    def blocks(self) -> list[Region]:
        return sample_blocks(self._slide, self._bare.tissue, self._plan.mpp)

    @property
    def area_mm2(self) -> float:
        tissue, mpp = self._bare.tissue, self._plan.mpp
        return sum(tissue.fraction(block, mpp) * mm2_from_px2(block.area_px2, mpp) for block in self.blocks)

    def tiles(self) -> Iterator[Tile]:
        reader = TileReader(self._slide, self._plan, self._bare)
        return (reader.raw_tile(block) for block in self.blocks)

    def planes(self) -> Iterator[NDArray[np.uint8]]:
        look, mpp = self._bare.look.raw, self._plan.mpp
        return (render_block(self._slide, block, mpp=mpp, look=look).pixels for block in self.blocks)


def survey(slide: Slide, plan: Plan) -> Survey:
    """Look a slide over: tissue from its overview; stain, cut and traits from fixed samples of its tissue."""
    overview = look_over(slide, plan.proposer.tissue)
    traits = measure_slide(slide, overview.tissue, plan.frame.mpp)
    bare = Survey(look=look_at(slide, plan.stain_target, overview), overview=overview, cut=0.0, traits=traits)
    return replace(bare, cut=plan.proposer.cut(_TissueSample(slide, plan, bare)))
