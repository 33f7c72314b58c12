"""Which methods there are, and all that the rest of the house asks of one: a new method is a folder and a line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from mitosieve.method.cascade.chsnet import ChsNetRecipe, run_chsnet
from mitosieve.method.cascade.chsnet import detector_config as chsnet_detector
from mitosieve.method.cascade.chsnet import shapes as chsnet_shapes
from mitosieve.method.cascade.swift import SwiftRecipe, run_swift
from mitosieve.method.cascade.swift import detector_config as swift_detector
from mitosieve.method.dasc.method import DascRecipe, run_dasc
from mitosieve.method.dasc.method import detector_config as dasc_detector
from mitosieve.method.dasc.method import provenance as dasc_provenance
from mitosieve.method.finegrained.method import FineGrainedRecipe, run_finegrained
from mitosieve.method.finegrained.method import detector_config as finegrained_detector
from mitosieve.method.sieve.method import SieveRecipe, run_sieve
from mitosieve.method.sieve.method import detector_config as sieve_detector
from mitosieve.run import layout
from mitosieve.sieve.detector import Detector, DetectorConfig
from mitosieve.train.job import Job
from mitosieve.train.thresholds import OperatingRule

Recipe = ChsNetRecipe | DascRecipe | FineGrainedRecipe | SieveRecipe | SwiftRecipe
"""Any method's recipe."""


def _nothing(recipe: Any) -> dict[str, Any]:  # noqa: ANN401 - any method's recipe
    return {}


def _thresholds(recipe: Any) -> str:  # noqa: ANN401 - any method's recipe
    """Thresholds that are no numbers."""
    rule: OperatingRule = recipe.thresholds
    return " and ".join(f"thresholds.{key}" for key in rule.chosen)


def _without_validation(recipe: Any) -> str:  # noqa: ANN401 - any method's recipe
    """Thresholds come from training cases, out of fold."""
    return ""


def _search(recipe: Any) -> str:  # noqa: ANN401 - any method's recipe
    """All that a search does is choose by validation."""
    return "the search for a regime"


def _of_chsnet(recipe: ChsNetRecipe) -> tuple[str, ...]:
    refined = ("refined network",) if recipe.mining.enabled or recipe.cascade.enabled else ()
    return ("patches", "screening network", "hard example mining", *refined, "thresholds on validation")


def _of_dasc(recipe: DascRecipe) -> tuple[str, ...]:
    memory = ("memory units (DMU)", "difficulty levels (DLE)") if recipe.memory.enabled else ()
    first, last = ("candidates", "negative search (NS)"), ("for the audit", "thresholds on validation")
    return (*first, *memory, "contrastive training (SDSCL)", *last)


def _of_finegrained(recipe: FineGrainedRecipe) -> tuple[str, ...]:
    return ("patches", "first networks", "search", "controls", "ensemble", "thresholds on validation")


def _of_swift(recipe: SwiftRecipe) -> tuple[str, ...]:
    return ("proposals", "screening network", "hard example mining", "refined network", "thresholds on validation")


def _of_sieve(recipe: SieveRecipe) -> tuple[str, ...]:
    networks = [part for stage in recipe.names for part in (f"{stage} networks", f"{stage} scores out of fold")]
    return ("places", *networks[:-1], "out-of-fold detections")


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to train a detector.

    Attributes:
        recipe: class of its recipe; all numbers of a training.
        run: trains what a recipe says, in the job's run folder.
        detector: what a recipe trains, but for weights and thresholds; raises what no detector can be, so that a recipe
            is refused when it is read, not when all is trained.
        provenance: what a resumed run must agree with beside the recipe's values; raises what can be refused early.
        chosen: what of a recipe is chosen on validation cases, in words; empty where a fold may do without them.
        tables: files that it leaves for people beside the scores, in the order they are shown.
        stages: the parts of the work of a recipe, as its clock is told them (`Job.timed`), for people who wait.
        renamed: keys that recipes of before had, and what they are called now.
        shapes: network and view of each stage, for a training that goes on from a detector, whose weights its stages
            then begin with (networks that judge out of fold begin at random, and the run says so); None where none can.
        no_start: why none can.
    """

    recipe: type[BaseModel]
    run: Callable[[Any, Job], Detector]
    detector: Callable[[Any], DetectorConfig]
    provenance: Callable[[Any], dict[str, Any]] = _nothing
    chosen: Callable[[Any], str] = _thresholds
    tables: tuple[str, ...] = ()
    stages: Callable[[Any], tuple[str, ...]]
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])
    shapes: Callable[[Any], dict[str, Any]] | None = None
    no_start: str = ""


METHODS: dict[str, Method] = {
    "chsnet": Method(
        recipe=ChsNetRecipe,
        run=run_chsnet,
        detector=chsnet_detector,
        tables=(layout.MINING,),
        stages=_of_chsnet,
        renamed={
            "cascade.screening_threshold": "thresholds.gate",
            "cascade.refined_threshold": "thresholds.operating",
        },
        shapes=chsnet_shapes,
    ),
    "dasc": Method(
        recipe=DascRecipe,
        run=run_dasc,
        detector=dasc_detector,
        provenance=dasc_provenance,
        tables=(layout.NEGATIVES, layout.VERDICTS_SUMMARY),
        stages=_of_dasc,
        renamed={"threshold": "thresholds.operating"},
        no_start="its memory follows each label from the first epoch on; `initial` names weights to begin with",
    ),
    "finegrained": Method(
        recipe=FineGrainedRecipe,
        run=run_finegrained,
        detector=finegrained_detector,
        chosen=_search,
        tables=(layout.REGIMES,),
        stages=_of_finegrained,
        renamed={"threshold": "thresholds.operating", "crop_apart_um": "truth.crop_apart_um"},
        no_start="it compares regimes that all begin alike",
    ),
    "sieve": Method(
        recipe=SieveRecipe,
        run=run_sieve,
        detector=sieve_detector,
        chosen=_without_validation,
        stages=_of_sieve,
        no_start="its thresholds come from networks that have not seen the patient, and a start may have",
    ),
    "swift": Method(
        recipe=SwiftRecipe,
        run=run_swift,
        detector=swift_detector,
        tables=(layout.MINING, layout.BUDGET),
        stages=_of_swift,
        renamed={"screening_threshold": "thresholds.gate", "refined_threshold": "thresholds.operating"},
        shapes=lambda recipe: {name: (part.network, part.view) for name, part in recipe.parts.items()},
    ),
}


def run_recipe(recipe: Recipe, job: Job) -> Detector:
    """Train what the recipe says, in the job's run folder; a run whose detector is whole is only loaded."""
    done = job.file(layout.DETECTOR)
    if (done / layout.DETECTOR_CONFIG).exists():
        return Detector.load(done)
    return METHODS[recipe.method].run(recipe, job)
