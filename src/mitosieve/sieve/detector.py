"""A trained detector that can be handed over: a proposer, stages, thresholds; a folder of TOML and safetensors.

`detect`, `evaluate`, the report and the exports know nothing of the recipe a detector came from.
"""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mitosieve.calibration import Calibration, Share
from mitosieve.errors import DetectorError, InputError, did_you_mean
from mitosieve.models.box import detector_folder
from mitosieve.network.config import ChsNetConfig, NetworkConfig, ResNetConfig, map_stride_px
from mitosieve.network.kept import KeptNetwork
from mitosieve.patch.frames import FrameConfig
from mitosieve.patch.view import View
from mitosieve.run import layout
from mitosieve.run.folder import hash_file, write_atomic
from mitosieve.sieve.near_tissue import ALIGN_PX
from mitosieve.sieve.propose.proposer import GridProposer, Proposer
from mitosieve.sieve.reference import Reference
from mitosieve.slide.stain import StainProfile

if TYPE_CHECKING:
    from torch import nn

    Network = nn.Module | KeptNetwork
    """One as it was trained, or as a folder keeps it."""
else:
    Network = Any

DETECTOR_FORMAT = 1
"""Version of the folder's layout."""

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
    turns: Literal[1, 4, 8] = 1
    """Orientations whose logits are averaged: the patch as it is, its four right-angled turns, or these and their
    mirror images. A cell has no upright."""
    turn_above: float = Field(default=0.05, ge=0, le=1)
    """Places whose score as they are is lower keep it: only what may be a figure is worth eight looks."""
    fusion: Literal["mean", "votes"] = "mean"
    """What several networks say together. "mean" is the sigmoid of their mean logit. "votes" calls a place at a score
    where at least `votes` networks reach that score somewhere within `votes_um` of it: so were detections of an
    ensemble fused in Lafarge and Koelzer's MIDOG 2021 entry, as its organisers tell (arXiv 2204.03742, sections
    3.1-3.5: a required number of agreeing detections). How near agreeing detections lie is our reading."""
    votes: int = Field(default=1, ge=1, le=100)
    """Networks that must agree; of fusion "votes" alone."""
    votes_um: float = Field(default=7.5, gt=0, le=50)
    """Distance within which networks agree: the official matching radius; of fusion "votes" alone."""
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
    reference_sha256: str | None = None
    """Hash of reference.json; None where the detector does not say what its training's slides are like, as those of
    before do not."""

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
        if self.proposer.dense:
            stride = map_stride_px(first.network)
            if first.turns > 1 or first.views != "one":
                raise ValueError("a dense proposer's first stage takes one view and no turns: it runs as a map")
            if stride is None or ALIGN_PX % stride:
                raise ValueError(
                    "a dense proposer runs the first stage's networks as maps: "
                    f"they are of kind swift or rototranslation and their stride divides {ALIGN_PX}"
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


@dataclass(frozen=True, kw_only=True)
class Detector:
    """A loaded detector.

    Attributes:
        config: what detector.toml says.
        networks: for each stage its networks, as they were trained or as a folder keeps them.
        reference: what its training's slides are like; None where it does not say.
    """

    config: DetectorConfig
    networks: tuple[tuple[Network, ...], ...]
    reference: Reference | None = None

    def __post_init__(self) -> None:
        for stage, networks in zip(self.config.stages, self.networks, strict=False):
            if stage.fusion == "votes" and len(networks) < stage.votes:
                raise DetectorError(
                    f"stage {stage.name}: {stage.votes} votes of {len(networks)} network(s) cannot be had",
                    remedy="give fewer votes, or more networks",
                )

    @classmethod
    def load(cls, named: str | Path) -> "Detector":
        """Read a detector that comes with the package, a detector folder, or the detector of a run folder.

        Args:
            named: text may be a name of `mitosieve models`, which goes before a folder of that name; a Path, or text
                with a separator in it ("./swift"), is a folder.

        Raises:
            DetectorError: missing (with the nearest name), of another version, with an unknown key, or altered.
        """
        folder = detector_folder(named)
        config = _read_config(folder / layout.DETECTOR_CONFIG)
        networks = tuple(_kept(stage, folder) for stage in config.stages)
        return cls(config=config, networks=networks, reference=_load_reference(config, folder / layout.REFERENCE))

    def save(self, folder: Path, *, half: bool = False) -> Path:
        """Write the folder: weights first, detector.toml, which names their hashes, last: it exists only when whole.

        Args:
            folder: to be written.
            half: see `save_weights`.
        """
        stages = tuple(
            _save_stage(stage, networks, folder, self.config.kinds_of(number), half=half)
            for number, (stage, networks) in enumerate(zip(self.config.stages, self.modules, strict=True))
        )
        digest = None if self.reference is None else hash_file(self.reference.save(folder / layout.REFERENCE))
        whole = self.config.model_copy(update={"stages": stages, "reference_sha256": digest})
        write_atomic(folder / layout.CARD, _card(whole))
        write_atomic(folder / layout.DETECTOR_CONFIG, tomli_w.dumps(whole.model_dump(mode="json", exclude_none=True)))
        return folder

    @property
    def modules(self) -> "tuple[tuple[nn.Module, ...], ...]":
        """The networks in torch, in evaluation mode."""
        return tuple(
            tuple(one.module if isinstance(one, KeptNetwork) else one.eval() for one in networks)
            for networks in self.networks
        )

    @property
    def stage_names(self) -> tuple[str, ...]:
        return tuple(stage.name for stage in self.config.stages)

    @property
    def stain_target(self) -> StainProfile | None:
        return None if self.config.stain_target is None else StainProfile.from_json(self.config.stain_target)

    def with_threshold(self, threshold: float) -> "Detector":
        """The same detector at another operating threshold, which has no name."""
        last = self.config.stages[-1].model_copy(update={"threshold": threshold})
        return self._with(stages=(*self.config.stages[:-1], last), operating_points=None)

    def at_point(self, name: str) -> "Detector":
        """The same detector at one of its named operating points.

        Raises:
            InputError: it has none of this name; those it has are told.
        """
        points = self.config.points
        if name not in points:
            raise InputError(
                f"this detector has no operating point '{name}'",
                remedy=f"{did_you_mean(name, list(points))}it has {', '.join(points)}; --threshold takes any number",
            )
        return self if name == BALANCED else self.with_threshold(points[name])

    def with_points(self, points: dict[str, float], calibration: Calibration | None = None) -> "Detector":
        """The same detector at `points["balanced"]`, with named operating points and what its scores are worth."""
        moved = self.with_threshold(points[BALANCED])
        return moved._with(operating_points=points, calibration=calibration)

    def with_gate(self, threshold: float) -> "Detector":
        """The same detector with another threshold of its first stage."""
        first = self.config.stages[0].model_copy(update={"threshold": threshold})
        return self._with(stages=(first, *self.config.stages[1:]))

    def _with(self, **changes: Any) -> "Detector":  # noqa: ANN401 - values of the configuration
        config = self.config.model_copy(update=changes)
        return replace(self, config=DetectorConfig.model_validate(config.model_dump()))

    def describe(self) -> str:
        """One line a part, for people."""
        config = self.config
        lines = [f"proposer: {config.proposer.describe(config.frame.mpp)}"]
        lines += [
            f"stage {stage.name}: {stage.network.kind}, {len(networks)} network(s) of "
            f"{_num_weights(networks[0]):,} weights, "
            f"patch {stage.patch_px * stage.mpp_in(config.frame.mpp):g} um "
            f"at {stage.mpp_in(config.frame.mpp):g} um/px, "
            f"{f'{stage.turns} turns, ' if stage.turns > 1 else ''}{_fusion(stage, len(networks))}"
            f"{_placing(stage)}"
            f"threshold {stage.threshold:.3f}"
            for stage, networks in zip(config.stages, self.networks, strict=True)
        ]
        if config.operating_points is not None:
            told = ", ".join(f"{name} {value:.3f}" for name, value in config.points.items())
            lines.append(f"operating points: {told}")
        return "\n".join([*lines, f"suppression: {config.suppress_um:g} um"])


def _load_reference(config: DetectorConfig, path: Path) -> Reference | None:
    if config.reference_sha256 is None:
        return None
    _check_hash(path, config.reference_sha256, "the file that says what the training's slides are like is missing")
    return Reference.load(path)


def _check_hash(path: Path, digest: str, missing: str) -> None:
    if not path.exists():
        raise DetectorError(missing, where=path, remedy="copy the whole folder again")
    if hash_file(path) != digest:
        raise DetectorError(
            "was altered: its sha256 is not the one in detector.toml", where=path, remedy="copy the whole folder again"
        )


def _kept(stage: Stage, folder: Path) -> tuple[KeptNetwork, ...]:
    """A stage's networks as the folder keeps them, every file held against its hash."""
    graphs: dict[bool, bytes] = {}
    for kind, name in stage.graphs.items():
        _check_hash(folder / name, stage.graphs_sha256.get(kind, ""), "the graph is missing")
        graphs[kind == "map"] = (folder / name).read_bytes()
    for name, digest in zip(stage.weights, stage.sha256, strict=True):
        _check_hash(folder / name, digest, "the weight file is missing")
    return tuple(
        KeptNetwork(stage.network, (folder / name).read_bytes(), graphs, str(folder / name)) for name in stage.weights
    )


def _num_weights(network: Network) -> int:
    return network.num_weights if isinstance(network, KeptNetwork) else sum(p.numel() for p in network.parameters())


def _save_stage(
    stage: Stage, networks: "tuple[nn.Module, ...]", folder: Path, kinds: tuple[GraphKind, ...], *, half: bool
) -> Stage:
    """Write a stage's weights and graphs; gives the stage with their names and hashes."""
    from mitosieve.network.graph import onnx_without_weights
    from mitosieve.network.registry import save_weights

    names = tuple(f"{stage.name}{'' if i == 0 else f'_{i + 1}'}.safetensors" for i in range(len(networks)))
    for name, network in zip(names, networks, strict=True):
        save_weights(network, folder / name, half=half)
    graphs: dict[GraphKind, str] = {}
    for kind in kinds:
        graph = onnx_without_weights(networks[0], dense=kind == "map")
        if graph is not None:
            graphs[kind] = f"{stage.name}{'-map' if kind == 'map' else ''}.onnx"
            write_atomic(folder / graphs[kind], graph)
    written = {
        "weights": names,
        "sha256": tuple(hash_file(folder / name) for name in names),
        "graphs": graphs,
        "graphs_sha256": {kind: hash_file(folder / name) for kind, name in graphs.items()},
    }
    return stage.model_copy(update=written)


def _read_config(path: Path) -> DetectorConfig:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DetectorError(
            "there is no detector here",
            where=path,
            remedy="name a detector folder, a run whose training has ended, or one that `mitosieve models` lists",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DetectorError(f"is not TOML ({error})", where=path) from error
    if content.get("format") != DETECTOR_FORMAT:
        raise DetectorError(
            f"is a detector of format {content.get('format')}; this version reads format {DETECTOR_FORMAT}",
            where=path,
            remedy="use the version of mitosieve that made it (made_by), or train again",
        )
    try:
        config = DetectorConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DetectorError(f"{key}: {first['msg']}", where=path) from error
    if any(len(stage.weights) != len(stage.sha256) or not stage.weights for stage in config.stages):
        raise DetectorError(
            "a stage lacks weight files or their hashes", where=path, remedy="copy the whole folder again"
        )
    return config


def _placing(stage: Stage) -> str:
    """Where a stage's detections lie, for people; nothing where they lie where was looked."""
    if stage.locate == "place":
        return ""
    least = f"{stage.locate_least_px} px of {stage.locate_above:g} or more asked for, " if stage.locate_least_px else ""
    return f"placed at the peak of its map, {least}"


def _fusion(stage: Stage, networks: int) -> str:
    """How a stage's networks are fused, for people; nothing of a single network's mean."""
    if stage.fusion == "votes":
        return f"{stage.votes} of {networks} networks agreeing within {stage.votes_um:g} um, "
    return f"mean of {networks} networks, " if networks > 1 else ""


def _card(config: DetectorConfig) -> str:
    stages = "\n".join(
        f"- {stage.name}: {stage.network.kind}, {_fusion(stage, len(stage.weights))}threshold {stage.threshold:.4f}"
        for stage in config.stages
    )
    return (
        "# Mitotic figure detector\n\n"
        f"Made by {config.made_by or 'mitosieve'}. "
        f"Looks at {config.frame.mpp:g} um/px, stain: {config.frame.stain}.\n\n"
        f"{stages}\n\n"
        "Scores are not calibrated probabilities. Trained on the cases that the run's split names; on other tumours,\n"
        "species, scanners and laboratories expect it to do worse, and measure before use.\n\n"
        "**Research use only, not for diagnosis.**\n"
    )
