"""How a network sees a place: resolution, side, and one picture or two. Pixels of patches in, network input out."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mitosieve.patch.cutting import two_views
from mitosieve.slide.slide import MAX_MPP, MIN_MPP


class View(BaseModel):
    """What is cut round a place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mpp: float | None = Field(default=None, ge=MIN_MPP, le=MAX_MPP)
    """um per px of the patch; None is the frame's."""
    views: Literal["one", "two"] = "two"
    """How a patch becomes the network's input: "one" as it is; "two" the patch halved, then its centre (CHS-NET)."""
    patch_px: int = Field(default=128, ge=8, le=1024, multiple_of=2)
    """Side of the patch, px at `mpp`."""

    @model_validator(mode="after")
    def _consistent(self) -> "View":
        if self.views == "two" and self.patch_px % 4:
            raise ValueError("patch_px must be a multiple of 4 where a patch is shown as two views")
        return self

    def images(self, patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The network's input, uint8 (B, s, s, C), of patches (B, patch_px, patch_px, 3)."""
        return two_views(patches) if self.views == "two" else patches

    def mpp_in(self, frame_mpp: float) -> float:
        return frame_mpp if self.mpp is None else self.mpp
