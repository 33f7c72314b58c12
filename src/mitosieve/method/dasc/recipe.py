"""All numbers of a DASC training, stage by stage; the defaults are those of DASC's public code where it has them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mitosieve.method.dasc.labels import LabelConfig
from mitosieve.method.dasc.objectives import SdsclConfig
from mitosieve.method.dasc.rules.levels import LevelConfig
from mitosieve.method.dasc.rules.memory import MemoryConfig
from mitosieve.method.dasc.rules.verdict import VerdictConfig
from mitosieve.network.resnet import Head, ResNetConfig
from mitosieve.patch.augment.distortion import DistortionConfig, reach_px
from mitosieve.patch.frames import FrameConfig
from mitosieve.patch.view import View
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.propose.proposer import ComponentProposer, NucleiProposer
from mitosieve.train import OperatingRule, Share, TrainConfig

Part = Literal["search", "memory", "levels", "contrast"]
"""The stages NS, DMU, DLE and SDSCL by name, in their order."""

Control = Literal["search", "memory", "levels", "contrast", "rule"]
"""A part that is taken out; or "rule": the other of the two noise rules."""


class SearchConfig(BaseModel):
    """Negative search; the defaults are those of DASC's public code where it has them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Off: negatives are drawn at random, `per_figure` for each figure."""
    per_figure: int = Field(default=4, ge=1, le=100)
    """Random candidates of a slide that the screening network learns from, for each of its figures."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """Candidates scored above it are false positives."""
    imposters: bool = True
    """Marked imposters are negatives whatever the screening network says. Ours: the method knows no imposters, so
    where this is off, cells so marked are candidates as all others are."""
    most: Annotated[int, Field(ge=1)] | None = None
    """Keep at most so many false positives, drawn at random; None keeps all, as the public code does."""
    stages: Annotated[int, Field(ge=1, le=4)] = 4
    """Of the screening network."""
    augment: DistortionConfig = DistortionConfig()
    train: TrainConfig = TrainConfig(batch_size=128, epochs=100, rates=((0.0, 1e-4),))
    """An epoch shows each figure once; one of the public code's 25 shows each in four patches."""


class MemoryStage(BaseModel):
    """Dynamic memory units: how they are trained and read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Off: every label is clean."""
    stages: Annotated[int, Field(ge=1, le=4)] = 4
    """Of the networks of both branches."""
    head: Head = "pooled"
    """Of their three decisions; the public code's is "maximum"."""
    memory: MemoryConfig = MemoryConfig()
    verdict: VerdictConfig = VerdictConfig()
    balanced: bool = True
    """Show the rarer class as often as the other in each epoch; else it would be forgotten for being rare."""
    train: TrainConfig = TrainConfig(batch_size=512, epochs=100, rates=((0.0, 1e-4),))

    @model_validator(mode="after")
    def _consistent(self) -> "MemoryStage":
        self.train.whole_epochs(warm_up=self.memory.warm_up if self.enabled else 0)
        return self


class LevelStage(BaseModel):
    """Difficulty levels: how they are learned and which are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Off: every hard label is kept, at the level that its mixture component gives."""
    stages: Annotated[int, Field(ge=1, le=4)] = 3
    head: Head = "pooled"
    """Of the network that tells levels; the public code's is "maximum"."""
    levels: LevelConfig = LevelConfig()
    train: TrainConfig = TrainConfig(batch_size=32, epochs=70, rates=((0.0, 1e-4),))

    @model_validator(mode="after")
    def _consistent(self) -> "LevelStage":
        self.train.whole_epochs(warm_up=self.levels.warm_up if self.enabled else 0)
        return self


class ContrastStage(BaseModel):
    """Contrastive training: its loss and schedule."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Off: plain cross-entropy of the same labels in as many steps; the location loss stays."""
    stages: Annotated[int, Field(ge=1, le=4)] = 3
    loss: SdsclConfig = SdsclConfig()
    train: TrainConfig = TrainConfig(batch_size=128, epochs=99, rates=((0.0, 1e-4),))

    @model_validator(mode="after")
    def _consistent(self) -> "ContrastStage":
        self.train.whole_epochs(warm_up=self.loss.warm_up if self.enabled else 0)
        return self


class OutOfFoldStage(BaseModel):
    """Networks that score labels of slides they have not seen, for the audit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    parts: int = Field(default=3, ge=2, le=20)
    """By case; by slide where there are fewer cases."""
    stages: Annotated[int, Field(ge=1, le=4)] = 3
    train: TrainConfig = TrainConfig(batch_size=128, epochs=25, rates=((0.0, 1e-4),))

    @model_validator(mode="after")
    def _consistent(self) -> "OutOfFoldStage":
        self.train.whole_epochs()
        return self


class DascRecipe(BaseModel):
    """All numbers of one DASC training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["dasc"] = "dasc"
    seed: int = Field(default=1, ge=0)
    frame: FrameConfig = FrameConfig()
    proposer: Annotated[ComponentProposer | NucleiProposer, Field(discriminator="kind")] = ComponentProposer()
    """Names the candidates, in training as in detection."""
    labels: LabelConfig = LabelConfig()
    network: ResNetConfig = ResNetConfig()
    """Shape; each stage says its own depth."""
    initial: Path | None = None
    """safetensors file with the first weights of all bodies, keys of the common public ResNet-18; None is random."""
    weak: DistortionConfig = DistortionConfig()
    strong: DistortionConfig = DistortionConfig()
    search: SearchConfig = SearchConfig()
    memory: MemoryStage = MemoryStage()
    levels: LevelStage = LevelStage()
    contrast: ContrastStage = ContrastStage()
    out_of_fold: OutOfFoldStage = OutOfFoldStage()
    controls: tuple[Control, ...] = ()
    """Parts of the method that are taken out, one at a time, each for a detector of its own; "rule" puts the other
    noise rule in the place of `memory.verdict.rule`."""
    thresholds: OperatingRule = OperatingRule()
    curve_background: int = Field(default=2000, ge=1)
    """Candidates of the validation cases that the curves are drawn from, beside all their marks."""
    locate_above: Share = 0.9
    """See `Stage.locate_above`."""
    locate_within_um: float = Field(default=5.0, gt=0, le=100)
    """See `Stage.locate_within_um`."""
    locate_least_px: int = Field(default=0, ge=0, le=10**6)
    """See `Stage.locate_least_px`."""
    merge_um: float = Field(default=7.5, ge=0, le=100)
    """See `DetectorConfig.merge_um`. Below the official radius it is `DetectorConfig.suppress_um` too: peaks farther
    apart are two detections, as in the public code."""
    keep_above: float = Field(default=0.05, ge=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> "DascRecipe":
        if self.network.input_px % 2:
            raise ValueError(
                f"network.input_px {self.network.input_px} is odd: a patch (view.patch_px) has an even side"
            )
        if len(set(self.controls)) < len(self.controls):
            raise ValueError("a part can be taken out only once")
        needed = ["memory" if part == "rule" else part for part in self.controls]
        off = [part for part in needed if not getattr(self, part).enabled]
        if off:
            raise ValueError(f"what is off cannot be taken out: {', '.join(off)}")
        if "levels" in self.controls and not self.memory.enabled:
            raise ValueError("levels cannot be taken out where memory is off: there are none")
        return self

    @property
    def deepest(self) -> int:
        """Residual stages of the deepest network."""
        parts = (self.search, self.memory, self.levels, self.contrast, self.out_of_fold)
        return max(part.stages for part in parts if part.enabled or part is self.contrast)

    @property
    def margin_px(self) -> int:
        """Of the rendered frames."""
        side = self.network.input_px
        return max(reach_px(augment, side) for augment in (self.weak, self.strong, self.search.augment))

    @property
    def view(self) -> View:
        return View(views="one", patch_px=self.network.input_px)

    @property
    def plan(self) -> Plan:
        """How candidates are named."""
        return Plan(frame=self.frame, proposer=self.proposer, views=(self.view,), reach_um=0.0, stain_target=None)

    def with_control(self, control: Control) -> "DascRecipe":
        """The same with one part switched off, or with the other noise rule."""
        if control == "rule":
            other = "literal" if self.memory.verdict.rule == "fraction" else "fraction"
            verdict = self.memory.verdict.model_copy(update={"rule": other})
            return self.model_copy(
                update={"memory": self.memory.model_copy(update={"verdict": verdict}), "controls": ()}
            )
        return self.without(control)

    def without(self, part: Part) -> "DascRecipe":
        """The same with one part switched off."""
        stage = getattr(self, part).model_copy(update={"enabled": False})
        return self.model_copy(update={part: stage, "controls": ()})
