"""CHS-NET's places (section 3.4): figures with their variants, and windows of a stride grid that may be negative."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from mitosieve.annotation import Label
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.geometry import inside_roi, rescale_points, um_from_px
from mitosieve.method.cascade.windows import WindowConfig, negative_centers
from mitosieve.patch.augment.variant import paper_variants
from mitosieve.patch.frames import FrameStore
from mitosieve.run.seed import derive_generator
from mitosieve.train.places import Origin, PatchIndex, Places


@dataclass(frozen=True, kw_only=True)
class WindowRule:
    """Figures as they are marked, windows on a grid as background. A `PlaceRule`.

    Where a slide has a ROI, windows must lie wholly inside it: outside nothing is known. A figure marked there is not
    learned, and keeps windows away all the same.

    Attributes:
        store: gives the size of the rendered slides.
        windows: how negatives are cut.
        translate_px: largest shift of a figure's fixed variants.
        varied: slides whose figures come in the paper's 42 fixed variants; on others each figure stands once.
        seed: of the run.
    """

    store: FrameStore
    windows: WindowConfig
    translate_px: float
    varied: frozenset[str]
    seed: int

    def places(self, cohort: Cohort, entry: SlideEntry) -> Places:
        """Figures, then background, of one slide."""
        mpp = self.store.config.mpp
        figures_l0 = cohort.annotations.of_slide(entry.slide_id).with_label(Label.MITOTIC_FIGURE).center_l0
        searched = np.flatnonzero(inside_roi(entry.roi, figures_l0)).tolist()
        pieces = [self._variants(entry, number, figures_l0[number]) for number in searched]
        figures_px = rescale_points(figures_l0, mpp_from=entry.mpp_xy, mpp_to=mpp)
        generator = derive_generator(self.seed, f"window jitter of {entry.slide_id}")
        centers_px = negative_centers(self.store.size_px(entry.slide_id), figures_px, self.windows, generator)
        centers_l0 = rescale_points(centers_px, mpp_from=mpp, mpp_to=entry.mpp_xy)
        if entry.roi is not None:
            reach_l0 = self.windows.patch_px / 2 * mpp / np.array(entry.mpp_xy)
            low, high = centers_l0 - reach_l0, centers_l0 + reach_l0
            shapely.prepare(entry.roi)
            centers_l0 = centers_l0[shapely.covers(entry.roi, shapely.box(*low.T, *high.T))]
        pieces.append(PatchIndex.of(slide_id=entry.slide_id, center_l0=centers_l0, origin=Origin.BACKGROUND, mpp=mpp))
        return Places.of_index(PatchIndex.concatenate(pieces))

    def _variants(self, entry: SlideEntry, number: int, center_l0: NDArray[np.float64]) -> PatchIndex:
        """One figure, in its fixed variants where it has any."""
        mpp = self.store.config.mpp
        shift, angle = np.zeros((1, 2)), np.zeros(1)
        if entry.slide_id in self.varied:
            generator = derive_generator(self.seed, f"paper variants of {entry.slide_id}", number)
            shift, angle = paper_variants(generator, translate_px=self.translate_px)
        shift_l0 = um_from_px(1, mpp) * shift / entry.mpp_xy
        return PatchIndex.of(
            slide_id=entry.slide_id, center_l0=center_l0 + shift_l0, origin=Origin.FIGURE, mpp=mpp, angle_deg=angle
        )
