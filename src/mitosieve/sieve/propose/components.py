"""Proposes every blob of haematoxylin above a slide's own threshold: the candidates of DASC."""

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mitosieve.geometry import rescale_points
from mitosieve.patch.cutting import margin_for
from mitosieve.sieve.propose.contract import PlaceProposer, Sample, Tile, View
from mitosieve.sieve.propose.haematoxylin import (
    ComponentConfig,
    component_reach_px,
    find_components,
    nucleus_threshold,
)

SUBPIXEL = 64
"""Steps of a pixel in which a component's middle is counted."""


class ComponentProposer(PlaceProposer):
    """Looks at every blob of haematoxylin above the slide's own threshold: the candidates of DASC.

    How many there are is the slide's affair. A clump of nuclei is one blob, and its place may be none of its nuclei's.
    The defaults are DASC's for inference; for training it takes 1.25 um2 and merges within 13.75 um.

    Source: DASC's public code; that the threshold is Otsu's on the slide's sample is a reconstruction.
    """

    own_colours: ClassVar[bool] = True

    kind: Literal["components"] = "components"
    components: ComponentConfig = ComponentConfig(min_area_um2=0.4375, merge_um=2.5)

    def describe(self, frame_mpp: float) -> str:
        blobs = self.components
        return (
            f"haematoxylin components of {blobs.min_area_um2:g} um2 or more, merged within {blobs.merge_um:g} um, "
            f"at {blobs.mpp:g} um/px"
        )

    def plane_mpp(self, frame_mpp: float, first: View) -> float:
        return self.components.mpp

    def margin_px(self, patch_px: int, mpp: float) -> int:
        """Components must be whole."""
        return max(margin_for(patch_px), component_reach_px(self.components))

    def cut(self, sample: Sample) -> float:
        """The haematoxylin OD below which a pixel is of no component."""
        return nucleus_threshold(list(sample.planes()), self.components)

    def places(self, tile: Tile, cut: float) -> NDArray[np.float64]:
        """Middles of components, by y, then x, moved to half-integers of the plane.

        There a patch of even side is cut without interpolation. Of the middles only whole steps of 1 / SUBPIXEL count,
        so that a tile's rounding errors move none over a pixel's edge.
        """
        local = find_components(tile.plane.pixels, cut, self.components).center_px
        center = np.round((local + np.array(tile.plane.origin_px)) * SUBPIXEL) / SUBPIXEL
        center = np.floor(center) + 0.5
        center = rescale_points(center[tile.core.holds(center)], mpp_from=tile.mpp, mpp_to=tile.frame_mpp)
        return center[tile.is_near(center, tile.frame_mpp)]
