"""Numbers of one sieve training."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mitosieve.network.loss import LossConfig
from mitosieve.network.swift import SwiftConfig
from mitosieve.patch.augment.distortion import DistortionConfig
from mitosieve.patch.frames import FrameConfig
from mitosieve.patch.view import View
from mitosieve.run import layout
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.propose.proposer import NucleiProposer
from mitosieve.train import BatchConfig, StageRecipe, TruthConfig

Weight = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]

STRONG = "strong"
"""Name of the second stage: several networks, each without a part of the patients."""


class DistortedStage(StageRecipe):
    """A stage whose patches are distorted as fine-grained mining distorts them."""

    augment: DistortionConfig = DistortionConfig()


class MiningRule(BaseModel):
    """Which negatives are false positives, by scores of screening networks that have not seen the patient."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: Share = 0.05
    """The hardest share of the negatives of each source (a regime, as Lafarge and Koelzer search for)."""
    cap: Share = 1.0
    """Negatives of this score or more are not learned from at all: they may be figures that nobody marked. 1 keeps
    all."""
    choice: Literal["hardest", "random"] = "hardest"
    """Or, a control, as many at random."""


class SieveRecipe(BaseModel):
    """All numbers of one sieve training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["sieve"] = "sieve"
    seed: int = Field(default=1, ge=0)
    frame: FrameConfig = FrameConfig(stain="none")
    proposer: NucleiProposer = NucleiProposer()
    truth: TruthConfig = TruthConfig()
    loss: LossConfig = LossConfig(kind="cross-entropy")
    batches: BatchConfig = BatchConfig(balance="source")
    validation: Literal["learned", "unused"] = "learned"
    """Whether the fold's validation cases are learned from too: thresholds come out of fold and need none."""
    parts: int = Field(default=4, ge=2, le=50)
    """Parts of the patients: every network but the screening network of the detector is trained without one of them."""
    screening: DistortedStage = DistortedStage(view=View(mpp=0.5, views="one", patch_px=32), network=SwiftConfig())
    screening_ratio: tuple[Weight, Weight] = (1, 3)
    """Figures : negatives in a batch of a screening network."""
    mining: MiningRule = MiningRule()
    strong: DistortedStage = DistortedStage(
        view=View(views="one", patch_px=64),
        network=SwiftConfig(input_px=64, widths=(32, 64, 96), depths=(1, 1, 1), residual=True),
    )
    strong_ratio: tuple[Weight, Weight, Weight] = (1, 1, 3)
    """Figures : negatives : false positives in a batch of a strong network."""
    gate_per_mm2: float = Field(default=40.0, gt=0, le=1e5)
    """Places a mm2 that go on to the strong networks, on the training slides: the gate is the score that lets so many
    through."""
    calibration: Literal["logistic", "isotonic", "none"] = "logistic"
    """What maps a score to the share of such detections that are figures (`score.calibration`)."""
    merge_um: float = Field(default=7.5, ge=0, le=100)
    """See `DetectorConfig.merge_um`."""
    keep_above: float = Field(default=0.05, ge=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> "SieveRecipe":
        self.batches.check(self.loss)
        return self

    @property
    def stages(self) -> dict[str, DistortedStage]:
        """By name, in the order of a slide's way."""
        return {layout.SCREENING: self.screening, STRONG: self.strong}

    @property
    def plan(self) -> Plan:
        """How places are named."""
        views = tuple(stage.view for stage in self.stages.values())
        return Plan(frame=self.frame, proposer=self.proposer, views=views, reach_um=0.0, stain_target=None)
