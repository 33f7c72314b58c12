"""Which places of a slide are worth a network's look: the choices a detector can make. Configurations only."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mitosieve.sieve.propose.components import ComponentConfig
from mitosieve.sieve.propose.nuclei import ContrastConfig


class GridProposer(BaseModel):
    """Looks at every cell of a stride grid: the sliding window of CHS-NET."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["grid"] = "grid"
    stride_px: int = Field(default=32, ge=2, le=256, multiple_of=2)
    """Side of a cell, px at the frame's mpp. A figure lies within half of it from a window's centre; 32 gives 16 px,
    the largest shift that training has shown to the network."""
    min_darkness: float = Field(default=0.0, ge=0, le=3)
    """Cells whose darkest spot is lighter are skipped; 0 skips none. Darkness is the red channel's optical density,
    -ln((v + 1) / 256), smoothed with sigma 1 um."""


class NucleiProposer(BaseModel):
    """Looks at the spots that are darkest against their surroundings: a fixed number per mm2 of a slide's tissue."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["nuclei"] = "nuclei"
    contrast: ContrastConfig = ContrastConfig()


class ComponentProposer(BaseModel):
    """Looks at every blob of haematoxylin above the slide's own threshold: the candidates of DASC.

    How many there are is the slide's affair. A clump of nuclei is one blob, and its place may be none of its nuclei's.
    The defaults are DASC's for inference; for training it takes 1.25 um2 and merges within 13.75 um.

    Source: DASC's public code; that the threshold is Otsu's on the slide's sample is a reconstruction.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["components"] = "components"
    components: ComponentConfig = ComponentConfig(min_area_um2=0.4375, merge_um=2.5)


class DenseProposer(BaseModel):
    """Runs the first stage's network over whole tiles and looks where its map has a maximum.

    The network must be fully convolutional without padding, so that its map says what it says of the patch there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["dense"] = "dense"
    spacing_um: float = Field(default=4.0, gt=0, le=50)
    """Of two places nearer than this in x and y only the one of higher score is looked at further."""


Proposer = Annotated[GridProposer | NucleiProposer | ComponentProposer | DenseProposer, Field(discriminator="kind")]


def describe(proposer: Proposer, frame_mpp: float) -> str:
    """One line for people and reports."""
    if isinstance(proposer, GridProposer):
        dark = f", cells of darkness {proposer.min_darkness:g} or more" if proposer.min_darkness else ""
        return f"grid, stride {proposer.stride_px * frame_mpp:g} um{dark}"
    if isinstance(proposer, NucleiProposer):
        contrast = proposer.contrast
        return (
            f"nuclei, {contrast.per_mm2:g} per mm2 of tissue by {contrast.channel} contrast at {contrast.mpp:g} um/px"
        )
    if isinstance(proposer, ComponentProposer):
        blobs = proposer.components
        return (
            f"haematoxylin components of {blobs.min_area_um2:g} um2 or more, merged within {blobs.merge_um:g} um, "
            f"at {blobs.mpp:g} um/px"
        )
    return f"dense, maxima at least {proposer.spacing_um:g} um apart"
