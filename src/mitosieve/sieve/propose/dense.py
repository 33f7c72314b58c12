"""Proposes the maxima of the first stage's map: its network runs over whole tiles."""

from typing import ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mitosieve.patch.cutting import margin_for
from mitosieve.sieve.near_tissue import ALIGN_PX
from mitosieve.sieve.propose.contract import PlaceProposer, View


class DenseProposer(PlaceProposer):
    """Runs the first stage's network over whole tiles and looks where its map has a maximum.

    The network must be fully convolutional without padding, so that its map says what it says of the patch there.
    """

    dense: ClassVar[bool] = True

    kind: Literal["dense"] = "dense"
    spacing_um: float = Field(default=4.0, gt=0, le=50)
    """Of two places nearer than this in x and y only the one of higher score is looked at further."""

    def describe(self, frame_mpp: float) -> str:
        return f"dense, maxima at least {self.spacing_um:g} um apart"

    def plane_mpp(self, frame_mpp: float, first: View) -> float:
        return first.mpp_in(frame_mpp)

    def margin_px(self, patch_px: int, mpp: float) -> int:
        """A maximum of the core is compared with its neighbours beyond."""
        return margin_for(patch_px) + int(np.ceil(self.spacing_um / mpp)) + ALIGN_PX

    def peaks(self, score: NDArray[np.floating], mpp: float, stride_px: int) -> NDArray[np.bool_]:
        """Where a map is largest of all within `spacing_um` in x and y, and at least of its neighbours."""
        steps = max(1, int(self.spacing_um / mpp / stride_px))
        before = np.ones((2 * steps + 1, 2 * steps + 1), dtype=np.uint8)
        before.ravel()[before.size // 2 :] = 0  # of equal scores the first by y, then x, is the maximum
        after = np.ascontiguousarray(before[::-1, ::-1])
        return (score > cv2.dilate(score, before)) & (score >= cv2.dilate(score, after))
