"""What a detector is in numbers: its proposer, its stages, its thresholds; all of detector.toml.

Knows no weights, reads no slide.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mitosieve.calibration import Calibration, Share
from mitosieve.models.box import DETECTOR_FORMAT
from mitosieve.network.config import ChsNetConfig, NetworkConfig, ResNetConfig, map_field_px, map_stride_px
from mitosieve.patch.frames import FrameConfig
from mitosieve.patch.view import View
from mitosieve.sieve.int8 import Int8
from mitosieve.sieve.near_tissue import ALIGN_PX
from mitosieve.sieve.propose.proposer import GridProposer, Proposer

GraphKind = Literal["scores", "map"]
"""What a graph computes: scores of patches, or a map of a whole image."""

BALANCED = "balanced"
"""Name of the operating point that every detector has: its last stage's threshold."""


class Stage(View):
    """One network, or several that are fused, over patches of one size."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    network: NetworkConfig = Field(default_factory=ChsNetConfig, discriminator="kind")
    threshold: float = Field(default=0.5, ge=0, le=1)
    """Places with a lower score go no further; for the last stage, the operating threshold."""
    per_mm2: float | None = Field(default=None, gt=0, le=1e5)
    """Places a mm2 of tissue that the stage is given, on a small slide at least (`budget.gates_within`); None is as
    many as pass the stage before."""
    turns: Literal[1, 4, 8] = 1
    """Orientations whose logits are averaged: the patch as it is, its four right-angled turns, or these and their
    mirror images. A cell has no upright."""
    turn_above: float = Field(default=0.05, ge=0, le=1)
    """Places whose score as they are is lower keep it: only what may be a figure is worth eight looks."""
    looks: Literal["all", "one"] = "all"
    """How several networks look: each at all orientations of what may be a figure, or each once, at an orientation of
    its own, whatever its score, which costs far less and measured the same (docs/sieve.md). A single network looks at
    all. Of fusion "mean" alone. Ours."""
    fusion: Literal["mean", "votes"] = "mean"
    """What several networks say together. "mean" is the sigmoid of their mean logit. "votes" calls a place at a score
    where at least `votes` networks reach that score somewhere within `votes_um` of it: so were detections of an
    ensemble fused in Lafarge and Koelzer's MIDOG 2021 entry, as its organisers tell (arXiv 2204.03742, sections
    3.1-3.5: a required number of agreeing detections). How near agreeing detections lie is our reading."""
    votes: int = Field(default=1, ge=1, le=100)
    """Networks that must agree; of fusion "votes" alone."""
    votes_um: float = Field(default=7.5, gt=0, le=50)
    """Distance within which networks agree: the official matching radius; of fusion "votes" alone."""
    carry: float = Field(default=0.0, ge=0, le=10)
    """Weight of the logit of the stage before in the score, beside the 1 of the stage's own networks: two stages see a
    place with different eyes. Of the last stage, and of fusion "mean", alone. Ours."""
    slope: float = Field(default=1.0, gt=0, le=100)
    """What the score's logit is multiplied by in the end; of the stages that may carry. With `offset` it brings what
    several networks say together to the scale of one (`method/sieve/scale.py`)."""
    offset: float = Field(default=0.0, ge=-50, le=50)
    """What is added to that."""
    locate: Literal["place", "activation"] = "place"
    """Where a detection lies: at the place that was looked at, or at the peak of the network's class-activation map of
    that patch (`activation_peak.locate_peaks`), for networks that have one: kind resnet. One stage at most."""
    locate_above: float = Field(default=0.9, ge=0, le=1)
    """Sigmoid of the map from which on an area belongs to a peak (DASC's public code); of locate "activation" alone."""
    locate_within_um: float = Field(default=5.0, gt=0, le=100)
    """A peak farther than this from its place does not move it. Ours: a network that finds figures may still point
    beside them, for its location loss asks for the middle of its marks alone; a candidate lies on its cell already."""
    locate_least_px: int = Field(default=0, ge=0, le=10**6)
    """Px of the patch that an area of the map must have (DASC's public code: 7, at 0.25 um). A place whose map has none
    is dropped, whatever its score; smaller areas beside a large one are no peaks. 0 drops nothing, as do detectors of
    before, which do not name it."""
    weights: tuple[str, ...] = ()
    """safetensors files of the stage's networks, relative to the folder."""
    sha256: tuple[str, ...] = ()
    """Hash of each weight file; an altered file is refused."""
    graphs: dict[GraphKind, str] = Field(default_factory=dict)
    """ONNX files of what the stage's networks compute, which are alike but for their weights; relative to the folder.
    With them nothing needs torch. Roto-translation networks, whose kernels are made of their weights, have none."""
    graphs_sha256: dict[GraphKind, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_voters(self) -> "Stage":
        if self.fusion == "votes" and self.looks == "one":
            raise ValueError('looks "one" is of a mean: with votes each network looks at all orientations')
        if self.fusion == "votes" and 0 < len(self.weights) < self.votes:
            raise ValueError(f"{self.votes} votes of {len(self.weights)} network(s) cannot be had: give fewer votes")
        return self

    @model_validator(mode="after")
    def _has_map(self) -> "Stage":
        if self.locate == "place":
            return self
        if not isinstance(self.network, ResNetConfig):
            raise ValueError(
                f'locate "activation" needs a class-activation map, and networks of kind {self.network.kind} have '
                'none: choose kind resnet, or locate "place"'
            )
        if self.views != "one":
            raise ValueError('locate "activation" finds its peak in the patch itself: choose views "one"')
        if self.fusion == "votes":
            raise ValueError(
                'locate "activation" takes one network\'s map, or the mean of several: choose fusion "mean"; '
                "networks that vote agree on places"
            )
        return self

    @property
    def changes_score(self) -> bool:
        """Whether the stage's score is another than its networks' own."""
        return (self.carry, self.slope, self.offset) != (0, 1, 0)

    @property
    def view(self) -> View:
        """What the stage's networks see of a place."""
        return View(mpp=self.mpp, views=self.views, patch_px=self.patch_px)


class DetectorConfig(BaseModel):
    """All of detector.toml but the weights' bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = DETECTOR_FORMAT
    made_by: str = ""
    """Recipe and version that trained it."""
    frame: FrameConfig = Field(default_factory=FrameConfig)
    proposer: Proposer = Field(default_factory=GridProposer)
    stages: tuple[Stage, ...] = Field(min_length=1)
    merge_um: float = Field(default=12.0, ge=0, le=100)
    """Windows nearer than this to a stronger one belong to its figure; the figure lies at their weighted mean."""
    suppress_um: float = Field(default=7.5, ge=0, le=100)
    """Two figures nearer than this are one: the official matching radius."""
    keep_above: float = Field(default=0.05, ge=0, le=1)
    """Detections below the operating threshold but above this are kept for curves."""
    stain_target: dict[str, Any] | None = None
    """Macenko profile of the training cases that every slide is brought to."""
    operating_points: dict[Annotated[str, Field(pattern=r"^[a-z][a-z-]*$")], Share] | None = None
    """Thresholds that can be asked for by name; "balanced" is among them, and is the last stage's. None where there is
    that one alone."""
    calibration: Calibration | None = None
    """What a score is worth, where out-of-fold detections told; scores, thresholds and curves are not changed by it."""
    int8: Int8 | None = None
    """Graphs in whole numbers, where they were made and measured; they are used when they are asked for alone."""
    reference_sha256: str | None = None
    """Hash of reference.json; None where the detector does not say what its training's slides are like, as those of
    before do not."""

    @model_validator(mode="after")
    def _int8_may_be_used(self) -> "DetectorConfig":
        trouble = "" if self.int8 is None else self.int8.trouble(tuple(stage.sha256 for stage in self.stages))
        if trouble:
            raise ValueError(f"{trouble}: make them anew (bench/quantize.py), or leave them out")
        return self

    @model_validator(mode="after")
    def _has_balanced(self) -> "DetectorConfig":
        if self.operating_points is not None and self.operating_points.get(BALANCED) != self.threshold:
            raise ValueError(
                f"the point {BALANCED} is {self.operating_points.get(BALANCED)} and the last stage's threshold "
                f"{self.threshold}: they are one thing"
            )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> "DetectorConfig":
        first = self.stages[0]
        if any(stage.fusion == "votes" for stage in self.stages[:-1]):
            raise ValueError(
                'only the last stage may have fusion "votes": votes are counted when a slide\'s tiles come together, '
                "and a stage before it decides within a tile"
            )
        if sum(stage.locate == "activation" for stage in self.stages) > 1:
            raise ValueError('only one stage may have locate "activation": a detection has one place')
        if any(stage.changes_score for stage in self.stages[: max(1, len(self.stages) - 1)]):
            raise ValueError("carry, slope and offset are of the last of several stages: gates are each stage's own")
        if self.stages[-1].changes_score and self.stages[-1].fusion == "votes":
            raise ValueError('carry, slope and offset are of a mean: leave them out, or choose fusion "mean"')
        if first.per_mm2 is not None:
            raise ValueError("the first stage is given every place: leave out its per_mm2, or propose fewer places")
        return self

    @model_validator(mode="after")
    def _runs_as_map(self) -> "DetectorConfig":
        first = self.stages[0]
        if not self.proposer.dense:
            return self
        stride = map_stride_px(first.network)
        if first.turns > 1 or first.views != "one":
            raise ValueError("a dense proposer's first stage takes one view and no turns: it runs as a map")
        if stride is None or ALIGN_PX % stride:
            raise ValueError(
                "a dense proposer runs the first stage's networks as maps: "
                f"they are of kind swift or rototranslation and their stride divides {ALIGN_PX}"
            )
        field = map_field_px(first.network)
        if first.patch_px != field:
            raise ValueError(
                f"a dense proposer's first stage has patch_px {first.patch_px} and a network of input_px {field}: they "
                "must be equal, or places would lie beside what is scored"
            )
        return self

    @property
    def threshold(self) -> float:
        """The operating threshold: that of the last stage."""
        return self.stages[-1].threshold

    @property
    def locating(self) -> int | None:
        """Number of the stage that says where detections lie; None where the places that were looked at do."""
        return next((number for number, stage in enumerate(self.stages) if stage.locate == "activation"), None)

    def kinds_of(self, number: int) -> tuple[GraphKind, ...]:
        """What is computed of a stage's networks in detection."""
        located = ("map",) if number == self.locating else ()
        return ("map",) if number == 0 and self.proposer.dense else ("scores", *located)

    @property
    def points(self) -> dict[str, float]:
        """Threshold of each named operating point; of detectors without names, the one that they have."""
        return {BALANCED: self.threshold} if self.operating_points is None else dict(self.operating_points)

    @property
    def floor(self) -> float:
        """Score below which nothing is kept, not even for curves."""
        return min(self.threshold, self.keep_above)
