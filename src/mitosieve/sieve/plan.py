"""What is fixed before a tile is looked at: a detector's plan and a slide's survey.

Knows no networks and reads no tile.
"""

from dataclasses import dataclass

from mitosieve.patch.frames import FrameConfig, Look
from mitosieve.patch.view import View
from mitosieve.sieve.propose.contract import PlaceProposer
from mitosieve.sieve.traits import SlideTraits
from mitosieve.slide.overview import Overview
from mitosieve.slide.stain import StainProfile
from mitosieve.slide.tissue import Tissue


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All of a detector that reading needs.

    Attributes:
        frame: resolution and stain.
        proposer: which places.
        views: what each stage's network sees.
        reach_um: how far outside an ROI a place can still matter.
        stain_target: profile that slides are brought to.
        has_budget: whether a stage says what it can afford, so that a slide's sample is asked for.
    """

    frame: FrameConfig
    proposer: PlaceProposer
    views: tuple[View, ...]
    reach_um: float
    stain_target: StainProfile | None
    has_budget: bool = False

    @property
    def mpp(self) -> float:
        """Um per px of the proposer's plane, in which tiles are counted."""
        return self.proposer.plane_mpp(self.frame.mpp, self.views[0])

    @property
    def largest_patch_um(self) -> float:
        """Side of the largest patch that any stage's network sees."""
        return max(view.patch_px * view.mpp_in(self.frame.mpp) for view in self.views)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What is fixed for a slide before any tile is looked at.

    Attributes:
        look: transform and background.
        overview: the slide seen whole, and its tissue.
        cut: the proposer's number for this slide (`PlaceProposer.cut`).
        traits: its stain, sharpness and resolution, to be compared with the training's.
    """

    look: Look
    overview: Overview
    cut: float
    traits: SlideTraits

    @property
    def tissue(self) -> Tissue:
        return self.overview.tissue
