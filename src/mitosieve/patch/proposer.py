"""Which places of a slide are worth a network's look: the choices a detector can make. Configurations only."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mitosieve.patch.nuclei import ContrastConfig


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


class DenseProposer(BaseModel):
    """Runs the first stage's network over whole tiles and looks where its map has a maximum.

    The network must be fully convolutional without padding, so that its map says what it says of the patch there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["dense"] = "dense"
    spacing_um: float = Field(default=4.0, gt=0, le=50)
    """Of two places nearer than this in x and y only the one of higher score is looked at further."""


Proposer = Annotated[GridProposer | NucleiProposer | DenseProposer, Field(discriminator="kind")]


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
    return f"dense, maxima at least {proposer.spacing_um:g} um apart"
