"""Numbers of one sieve training."""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mitosieve.network.loss import LossConfig
from mitosieve.patch.augment.distortion import DistortionConfig
from mitosieve.patch.frames import FrameConfig
from mitosieve.run import layout
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.propose.proposer import NucleiProposer
from mitosieve.train import BatchConfig, StageRecipe, TruthConfig

Weight = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]

STRONG = "strong"
"""Name of the last stage: several networks, each without a part of the patients."""


class MiningRule(BaseModel):
    """Which negatives are a stage's false positives, by networks of the stage before that have not seen the patient."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: Share = 0.05
    """The hardest share of the negatives of each source (a regime, as Lafarge and Koelzer search for)."""
    cap: Share = 1.0
    """Negatives of this score or more are not learned from at all: they may be figures that nobody marked. 1 keeps
    all."""
    choice: Literal["hardest", "random"] = "hardest"
    """Or, a control, as many at random."""


class SieveStage(StageRecipe):
    """A stage whose patches are distorted as fine-grained mining distorts them.

    The first stage sees every place and has no false positives to learn from.
    """

    augment: DistortionConfig = DistortionConfig()
    ratio: tuple[Weight, Weight, Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]] = (1, 1, 3)
    """Figures : negatives : false positives in a batch."""
    mining: MiningRule = MiningRule()
    looks: Literal["all", "one"] = "all"
    """See `Stage.looks`; a single network, as out of fold, looks at all orientations."""
    carry: float = Field(default=0.0, ge=0, le=10)
    """See `Stage.carry`."""
    per_mm2: float | None = Field(default=None, gt=0, le=1e5)
    """Places a mm2 that the stage is given, on the training slides: the gate of the stage before is the score that lets
    so many through; a slide to be detected on has its own (`Stage.per_mm2`). None, of the first stage alone: all."""


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
    """Parts of the patients: of each stage a network is trained without each. The detector takes those of the last
    stage, and of the others one more that all patients teach."""
    dealt: Literal["patients", "domains"] = "patients"
    """What is dealt to the parts whole: a patient; or, to learn what a detector is worth where it has learned nothing,
    a domain, with all domains that share a patient with it. Then out-of-fold scores are leave-domains-out scores, and
    thresholds are chosen from them."""
    screening: SieveStage
    refined: SieveStage
    strong: SieveStage
    calibration: Literal["logistic", "isotonic", "none"] = "logistic"
    """What maps a score to the share of such detections that are figures (`score.calibration`)."""
    merge_um: float = Field(default=7.5, ge=0, le=100)
    """See `DetectorConfig.merge_um`."""
    keep_above: float = Field(default=0.05, ge=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> "SieveRecipe":
        self.batches.check(self.loss)
        if self.screening.per_mm2 is not None or self.screening.ratio[2] > 0:
            raise ValueError("the screening stage sees every place and mines none: leave out per_mm2, end ratio with 0")
        for name, stage in list(self.stages.items())[1:]:
            if stage.per_mm2 is None or stage.ratio[2] == 0:
                raise ValueError(
                    f"{name} needs per_mm2, what it can afford, and a part of false positives in its ratio"
                )
        return self

    @property
    def stages(self) -> dict[str, SieveStage]:
        """By name, in the order of a slide's way."""
        return {layout.SCREENING: self.screening, layout.REFINED: self.refined, STRONG: self.strong}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the stages, in the order of a slide's way."""
        return tuple(self.stages)

    def affordable(self, stage: str) -> float:
        """Places a mm2 that a stage other than the first is given."""
        per_mm2 = self.stages[stage].per_mm2
        return math.inf if per_mm2 is None else per_mm2

    @property
    def plan(self) -> Plan:
        """How places are named."""
        views = tuple(stage.view for stage in self.stages.values())
        return Plan(frame=self.frame, proposer=self.proposer, views=views, reach_um=0.0, stain_target=None)
