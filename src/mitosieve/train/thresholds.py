"""How a detector's thresholds are chosen: one rule in every recipe, applied once, on validation cases alone.

Where the rule's thresholds are numbers, validation is only looked at, and a fold may have none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from mitosieve.cohort.cohort import Cohort
from mitosieve.detection import Detections
from mitosieve.export.table import write_detections
from mitosieve.patch.frames import FrameStore
from mitosieve.run import layout
from mitosieve.score.evaluation import choose_threshold
from mitosieve.score.sweep import Threshold
from mitosieve.sieve.cascade import Sieved, Slide, detect, gates_on
from mitosieve.sieve.detector import Detector, DetectorConfig
from mitosieve.train.job import Job
from mitosieve.train.known_slides import reference_of

Share = Annotated[float, Field(ge=0, le=1)]


class OperatingRule(BaseModel):
    """Where the operating threshold comes from; all that a detector of one stage needs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operating: Share | Literal["validation"] = "validation"
    """Of the last stage; "validation" takes the one of best F1 on the validation cases, by the official rule."""

    @property
    def chosen(self) -> tuple[str, ...]:
        """Which of the thresholds come from validation, by their keys."""
        return ("operating",) if self.operating == "validation" else ()


class ThresholdRule(OperatingRule):
    """Where the thresholds of a cascade come from: numbers, or the validation cases."""

    gate: Share | Literal["validation"] = "validation"
    """Of the first of several stages; "validation" takes, of `gates`, the one whose survivors reach the best F1."""
    gates: tuple[Share, ...] = Field(default=(0.05, 0.1, 0.2, 0.3, 0.5, 0.8), min_length=1)
    """Gates that are tried."""

    @property
    def chosen(self) -> tuple[str, ...]:
        """Which of the thresholds come from validation, by their keys."""
        return (*(("gate",) if self.gate == "validation" else ()), *super().chosen)


def operating_threshold(found: Detections, cohort: Cohort, cases: tuple[str, ...]) -> Threshold:
    """The operating threshold that validation cases choose: that of the best pooled F1.

    Raises:
        SplitError: the cases have no figure.
    """
    return choose_threshold(found, cohort, cases=cases)


def hand_over(
    job: Job,
    folder: str,
    config: DetectorConfig,
    networks: Sequence[Sequence[nn.Module]],
    store: FrameStore,
    rule: OperatingRule,
) -> Detector:
    """Trained networks as a detector in the run: brought to the training's stain, thresholds by the rule.

    Args:
        job: of the run.
        folder: of the detector in the run.
        config: proposer and stages; thresholds and stain target that it has are replaced.
        networks: of each stage.
        store: frames that the networks learned from.
        rule: of the recipe.
    """
    return choose_thresholds(job, folder, stained(config, networks, store), rule)


def stained(config: DetectorConfig, networks: Sequence[Sequence[nn.Module]], store: FrameStore) -> Detector:
    """Trained networks as a detector that brings slides to the stain of the frames they learned from."""
    target = store.load_target()
    known = config.model_copy(update={"stain_target": None if target is None else target.to_json()})
    return Detector(config=known, networks=tuple(map(tuple, networks)))


def choose_thresholds(
    job: Job,
    folder: str,
    detector: Detector,
    rule: OperatingRule,
    *,
    measure: Callable[[Detector], object] | None = None,
) -> Detector:
    """Detect on the validation cases, set the thresholds that are to come from there, keep what was found, and save.

    Where the fold has no validation case, the rule's numbers are set and nothing is detected. What the run's slides are
    like goes into the detector's folder too.

    Args:
        job: of the run.
        folder: of the detector in the run; made whole already, it is only loaded.
        detector: whatever thresholds it has are replaced.
        rule: of the recipe.
        measure: told the detector with its thresholds before it is kept: once that is whole, nothing is done again.
    """
    if job.file(f"{folder}/{layout.DETECTOR_CONFIG}").exists():
        return Detector.load(job.file(folder))
    ready, counts = _chosen(job, folder, detector, rule)
    if measure is not None:
        measure(ready)
    return keep(job, folder, ready, counts)


def _chosen(
    job: Job, folder: str, detector: Detector, rule: OperatingRule
) -> tuple[Detector, dict[str, NDArray[np.int64]]]:
    """The detector with its thresholds, and of each validation slide how the first stage scored its places."""
    gated = rule if isinstance(rule, ThresholdRule) and len(detector.config.stages) > 1 else None
    ready = detector
    if gated is not None:
        ready = ready.with_gate(min(gated.gates) if gated.gate == "validation" else gated.gate)
    if rule.operating != "validation":
        ready = ready.with_threshold(rule.operating)
    if not job.fold.validation:
        return ready, {}
    found, sieved = _detected(job, ready)
    if gated is not None and gated.gate == "validation":
        reached = _f1_of_gates(job, found, gated.gates, _bounds(job, ready, sieved))
        ready = ready.with_gate(max(gated.gates, key=lambda gate: (np.nan_to_num(reached[gate], nan=-1.0), -gate)))
        found, sieved = _detected(job, ready)
    if rule.operating == "validation":
        chosen = operating_threshold(found, job.cohort, job.fold.validation)
        ready = ready.with_threshold(chosen.threshold)
        if not chosen.f1 > 0:  # NaN too
            job.note(
                f"the threshold {chosen.threshold:.3g} of {folder} says nothing: of {len(found)} detections "
                "on the validation cases none is a figure; train longer, or add validation cases"
            )
    write_detections(job.file(layout.validation_of(folder)), found.at_threshold(ready.config.threshold))
    return ready, {name: slide.counts for name, slide in sieved.items()}


def keep(
    job: Job, folder: str, detector: Detector, counts: Mapping[str, NDArray[np.int64]], *, scores_of: str = "validation"
) -> Detector:
    """Save a detector in the run, with what the run's slides are like.

    Args:
        job: of the run.
        folder: of the detector in the run.
        detector: whose thresholds are chosen.
        counts: see `known_slides.reference_of`.
        scores_of: see there.
    """
    known = reference_of(job, detector, counts, scores_of=scores_of)
    return Detector.load(replace(detector, reference=known).save(job.file(folder)))


def _detected(job: Job, detector: Detector) -> tuple[Detections, dict[str, Sieved]]:
    """Detections on the labelled validation slides, and what else was seen of each."""
    seen: dict[str, Sieved] = {}
    cases, compute, cohort = job.fold.validation, job.compute, job.cohort.labelled

    def on_slide(slide: Slide, sieved: Sieved) -> None:
        seen[slide.slide_id] = sieved

    found = detect(detector, cohort, cases=cases, compute=compute, progress=job.progress, on_slide=on_slide)
    return found, seen


Bounds = tuple[float, float]
"""Lowest and highest gate that a slide can have, whatever is chosen."""


def _bounds(job: Job, detector: Detector, sieved: Mapping[str, Sieved]) -> dict[str, Bounds]:
    """Between what a budget leaves the chosen gate on each validation slide; of no slide without a budget.

    Args:
        job: of the run.
        detector: at the lowest gate.
        sieved: what it saw of the slides.
    """
    if all(stage.per_mm2 is None for stage in detector.config.stages):
        return {}
    bounds: dict[str, Bounds] = {}
    for name, slide in sieved.items():
        with job.cohort.open(name) as opened:
            roi = job.cohort.entry(name).roi
            own, *_ = gates_on(detector.with_gate(1.0), opened, compute=job.compute, roi=roi)
        bounds[name] = (own if slide.gates[0] == own else 0.0, own)  # a large slide has its own, whatever is chosen
    return bounds


def _f1_of_gates(
    job: Job, found: Detections, gates: Sequence[float], bounds: Mapping[str, Bounds]
) -> dict[float, float]:
    """The best F1 on validation of what comes through each gate.

    Judged on detections at the lowest gate: their strongest window must pass. The chosen gate is then run for real.

    Args:
        job: of the run.
        found: at the lowest of the gates.
        gates: that are tried.
        bounds: of slides that have another gate than the chosen one, as a budget leaves it.
    """

    def best_f1(gate: float) -> float:
        needed = {name: min(max(gate, low), high) for name, (low, high) in bounds.items()}
        passes = found.stage_score[:, 0] >= [needed.get(str(name), gate) for name in found.slide_id]
        survivors = found[passes]
        return operating_threshold(survivors, job.cohort, job.fold.validation).f1

    return {gate: best_f1(gate) for gate in gates}
