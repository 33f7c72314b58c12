"""Proposes nuclei: the spots that are darkest against their surroundings, so many per mm2 of a slide's tissue."""

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mitosieve.geometry import rescale_points
from mitosieve.patch.cutting import margin_for
from mitosieve.sieve.propose.contract import PlaceProposer, Sample, Tile, View
from mitosieve.sieve.propose.spots import MOVE_UM, ContrastConfig, contrast_cut, contrast_maxima, reach_px, recentre


class NucleiProposer(PlaceProposer):
    """Looks at the spots that are darkest against their surroundings: a fixed number per mm2 of a slide's tissue."""

    own_colours: ClassVar[bool] = True
    settles: ClassVar[bool] = True

    kind: Literal["nuclei"] = "nuclei"
    contrast: ContrastConfig = ContrastConfig()

    def describe(self, frame_mpp: float) -> str:
        contrast = self.contrast
        name = f"relative {contrast.channel}" if contrast.floor_od else contrast.channel
        return f"nuclei, {contrast.per_mm2:g} per mm2 of tissue by {name} contrast at {contrast.mpp:g} um/px"

    def plane_mpp(self, frame_mpp: float, first: View) -> float:
        return self.contrast.mpp

    def margin_px(self, patch_px: int, mpp: float) -> int:
        """Contrast must be that of the whole slide."""
        return max(margin_for(patch_px), reach_px(self.contrast))

    @property
    def settle_um(self) -> float:
        return MOVE_UM

    def cut(self, sample: Sample) -> float:
        """The contrast from which on spots are as many as `per_mm2` asks for."""
        return contrast_cut([self._spots(tile)[1] for tile in sample.tiles()], sample.area_mm2, self.contrast)

    def places(self, tile: Tile, cut: float) -> NDArray[np.float64]:
        """Spots of a contrast of `cut` or more, strongest first; ties by y, then x."""
        center, value = self._spots(tile)
        return rescale_points(center[value >= cut], mpp_from=tile.mpp, mpp_to=tile.frame_mpp)

    def settle(self, pixels: NDArray[np.uint8], center_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """A spot lies on the darkest chromatin, a mark on the middle of the cell."""
        return recentre(pixels, center_px, self.contrast)

    def _spots(self, tile: Tile) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Spots of a core near tissue, px of the plane on the slide's lattice, and their contrast; uncut."""
        local, value = contrast_maxima(tile.plane.pixels, self.contrast)
        center = local + np.array(tile.plane.origin_px)
        owned = tile.core.holds(center) & tile.is_near(center, tile.mpp)
        return center[owned], value[owned]


TRAVELLING = NucleiProposer(
    tissue="glass",
    contrast=ContrastConfig(small_um=1.2, large_um=6.0, emphasis=3.0, floor_od=0.4, per_mm2=2000.0),
)
"""For slides of any laboratory: clumps of chromatin against the cell round them, rather than nuclei against tissue.

Chosen in coarse steps by recall on MITOS-ATYPIA-14's figures and on crops round figures of eight domains (MIDOG 2021,
TUPAC16, MIDOG++), with the figures of BreCaHAD and ICPR 2012 in sight. With any one source left out, the best of 64
settings has relative contrast. `bench/proposer_sources.py` has the numbers.
"""
