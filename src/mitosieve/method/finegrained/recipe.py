"""All numbers of a fine-grained training: what is searched, what is compared, what is handed over."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mitosieve.method.finegrained.regime import Regime, RegimeGrid
from mitosieve.network.config import RotoTranslationConfig
from mitosieve.network.loss import LossConfig
from mitosieve.patch.augment.distortion import DistortionConfig
from mitosieve.patch.frames import FrameConfig
from mitosieve.patch.view import View
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.propose.proposer import NucleiProposer
from mitosieve.train import OperatingRule, Share, TrainConfig, TruthConfig


class FirstConfig(BaseModel):
    """The first networks, which score the pool: figures against imposters and background, nothing mined."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parts: int = Field(default=3, ge=2, le=20)
    """Inner parts by case (by slide where there are fewer cases); each is scored by a network that has not seen it."""
    train: TrainConfig = TrainConfig()


class EnsembleConfig(BaseModel):
    """The networks that are handed over."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: int = Field(default=5, ge=1, le=20)
    """Networks of the chosen regime, each without another part of the slides; 1 learns from all of them."""
    fusion: Literal["mean", "votes"] = "mean"
    """See `Stage.fusion`."""
    votes: int = Field(default=3, ge=1, le=20)
    votes_um: float = Field(default=7.5, gt=0, le=50)
    train: TrainConfig = TrainConfig()


class Control(BaseModel):
    """A comparison: trained like the chosen regime but for what is stated, and kept as a detector of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    about: str = ""
    choice: Literal["hardest", "random"] | None = None
    labelled: Share | None = None
    unlabelled: Share | None = None
    cap: Share | None = None
    imposter_weight: int | None = Field(default=None, ge=0, le=100)
    network: RotoTranslationConfig | None = None

    def regime(self, chosen: Regime) -> Regime:
        """The chosen regime with what this control states instead."""
        stated = self.model_dump(exclude={"name", "about", "network"}, exclude_none=True)
        return Regime.model_validate({**chosen.model_dump(), **stated})


class FineGrainedRecipe(BaseModel):
    """All numbers of one training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["finegrained"] = "finegrained"
    seed: int = Field(default=1, ge=0)
    frame: FrameConfig = FrameConfig(stain="none")
    """Colours stay as they are: the organisers say of the 2021 entry that it normalised no stain."""
    proposer: NucleiProposer = NucleiProposer()
    truth: TruthConfig = TruthConfig()
    crop_share: Share = 0.5
    """Share of the figures, and of the negatives, of a batch that come from crops, where the cohort holds crops."""
    network: RotoTranslationConfig = RotoTranslationConfig()
    loss: LossConfig = LossConfig(kind="cross-entropy")
    augment: DistortionConfig = DistortionConfig()
    hidden: Share = 0.0
    """Share of the labelled training slides whose marks are hidden, so that they serve as unlabelled ones."""
    unlabelled: bool = True
    """Whether the unlabelled slides of the training cases are used."""
    peak_um: float = Field(default=7.5, ge=0, le=100)
    """Of candidates this near to each other on a slide the one of highest score is chosen before the others."""
    first: FirstConfig = FirstConfig()
    search: RegimeGrid = RegimeGrid()
    trial: TrainConfig = TrainConfig()
    """Training of each network of the search and of the controls: the same number of steps for every regime."""
    controls: tuple[Control, ...] = ()
    ensemble: EnsembleConfig = EnsembleConfig()
    thresholds: OperatingRule = OperatingRule()
    curve_background: int = Field(default=1500, ge=1)
    """Validation background that the curves along a training are drawn from, beside all figures."""
    merge_um: float = Field(default=7.5, ge=0, le=100)
    """See `DetectorConfig.merge_um`."""
    keep_above: float = Field(default=0.05, ge=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> "FineGrainedRecipe":
        names = [control.name for control in self.controls]
        sizes = {c.network.input_px for c in self.controls if c.network is not None} | {self.network.input_px}
        if len(sizes) > 1:
            raise ValueError(f"all networks must see patches of one size, not {sorted(sizes)} px")
        if len(set(names)) < len(names) or "chosen" in names:
            raise ValueError("controls must have different names, none of them 'chosen'")
        for name, train in (("first", self.first.train), ("trial", self.trial), ("ensemble", self.ensemble.train)):
            if train.patch_visits is None:
                raise ValueError(f"the {name} training needs patch_visits: regimes are compared after equal steps")
        if self.ensemble.fusion == "votes" and self.ensemble.votes > self.ensemble.members:
            raise ValueError(f"{self.ensemble.votes} votes of {self.ensemble.members} members cannot be had")
        return self

    @property
    def view(self) -> View:
        """What every network sees of a place."""
        return View(views="one", patch_px=self.network.input_px)

    @property
    def plan(self) -> Plan:
        """How places are named."""
        return Plan(frame=self.frame, proposer=self.proposer, views=(self.view,), reach_um=0.0, stain_target=None)

    @property
    def part_counts(self) -> tuple[int, ...]:
        """Numbers of inner parts that trainings leave out one of."""
        members = self.ensemble.members
        return (self.first.parts, *((members,) if members > 1 else ()))
