"""A trained detector that can be handed over: a proposer, stages, thresholds; a folder of TOML and safetensors.

`detect`, `evaluate`, the report and the exports know nothing of the recipe a detector came from.
"""

from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w
from pydantic import ValidationError

from mitosieve.errors import DetectorError, InputError, did_you_mean
from mitosieve.models.box import detector_folder, read_content
from mitosieve.network.kept import KeptNetwork
from mitosieve.run import layout
from mitosieve.run.folder import hash_file, write_atomic
from mitosieve.sieve.config import BALANCED, Calibration, DetectorConfig, GraphKind, Stage
from mitosieve.sieve.reference import Reference
from mitosieve.slide.stain import StainProfile
from mitosieve.upstairs import notebook

if TYPE_CHECKING:
    from mitosieve.detection import Detections

if TYPE_CHECKING:
    from torch import nn

    Network = nn.Module | KeptNetwork
    """One as it was trained, or as a folder keeps it."""
else:
    Network = Any


@dataclass(frozen=True, kw_only=True, repr=False)
class Detector:
    """A loaded detector.

    Attributes:
        config: what detector.toml says.
        networks: for each stage its networks, as they were trained or as a folder keeps them.
        reference: what its training's slides are like; None where it does not say.
        digest: sha256 of the detector.toml that it was loaded from, which names those of its weights; empty where it
            was not loaded. Other thresholds than the file's do not change it.
    """

    config: DetectorConfig
    networks: tuple[tuple[Network, ...], ...]
    reference: Reference | None = None
    digest: str = ""

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
        networks = tuple(_kept(config, number, folder) for number in range(len(config.stages)))
        return cls(
            config=config,
            networks=networks,
            reference=_load_reference(config, folder / layout.REFERENCE),
            digest=hash_file(folder / layout.DETECTOR_CONFIG),
        )

    def detect(self, slides: Any, **choices: Any) -> "Detections":  # noqa: ANN401 - see `notebook.detecting.Slides`
        """On a slide's path, several, an opened slide or a cohort; `mpp=`, `compute=`, `progress=` (`detect_on`)."""
        return notebook("detecting").detect_on(self, slides, **choices)

    def __repr__(self) -> str:
        stages = " > ".join(
            f"{stage.name} ({stage.network.kind}{f' x {len(networks)}' if len(networks) > 1 else ''})"
            for stage, networks in zip(self.config.stages, self.networks, strict=True)
        )
        return f"Detector({stages}, threshold {self.config.threshold:.3f})"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.describe())}</pre>"

    def save(self, folder: Path, *, half: bool = False) -> Path:
        """Write the folder: weights first, detector.toml, which names their hashes, last: it exists only when whole.

        Int8 graphs are left out: they are made and measured of weights as they lie in a folder (`int8_folder`).

        Args:
            folder: to be written.
            half: see `save_weights`.
        """
        stages = tuple(
            _save_stage(stage, networks, folder, self.config.kinds_of(number), half=half)
            for number, (stage, networks) in enumerate(zip(self.config.stages, self.modules, strict=True))
        )
        digest = None if self.reference is None else hash_file(self.reference.save(folder / layout.REFERENCE))
        whole = self.config.model_copy(update={"stages": stages, "reference_sha256": digest, "int8": None})
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

    def check_engine(self, engine: str) -> None:
        """Refuse to score by graphs that the detector has not.

        Raises:
            DetectorError: int8 is asked for, and it was not measured for this detector.
        """
        if engine == "int8" and self.config.int8 is None:
            raise DetectorError(
                "the detector has no int8 graphs, whose cost would have been measured",
                remedy="leave out --engine int8, or make them: bench/quantize.py",
            )

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

    def with_scale(self, slope: float, offset: float) -> "Detector":
        """The same detector whose last stage's logits are multiplied and raised so."""
        last = self.config.stages[-1].model_copy(update={"slope": slope, "offset": offset})
        return self._with(stages=(*self.config.stages[:-1], last))

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
            f"{_turned(stage, len(networks))}{_fusion(stage, len(networks))}"
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


def _kept(config: DetectorConfig, number: int, folder: Path) -> tuple[KeptNetwork, ...]:
    """A stage's networks as the folder keeps them, every file held against its hash."""
    stage, int8 = config.stages[number], config.int8
    graphs: dict[bool, bytes] = {}
    for kind, name in stage.graphs.items():
        _check_hash(folder / name, stage.graphs_sha256.get(kind, ""), "the graph is missing")
        graphs[kind == "map"] = (folder / name).read_bytes()
    for name, digest in zip(stage.weights, stage.sha256, strict=True):
        _check_hash(folder / name, digest, "the weight file is missing")
    whole: list[bytes | None] = [None if int8 is None else b""] * len(stage.weights)
    for row, (name, digest) in enumerate(() if int8 is None else int8.files(number)):
        _check_hash(folder / name, digest, "the int8 graph is missing")
        whole[row] = (folder / name).read_bytes()
    return tuple(
        KeptNetwork(stage.network, (folder / name).read_bytes(), graphs, str(folder / name), int8=made)
        for name, made in zip(stage.weights, whole, strict=True)
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
    content = read_content(path)
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


def _turned(stage: Stage, networks: int) -> str:
    """How often a stage looks at what may be a figure, for people; nothing where once."""
    if stage.turns == 1:
        return ""
    return "each network another turn, " if stage.looks == "one" and networks > 1 else f"{stage.turns} turns, "


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
